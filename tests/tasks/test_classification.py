"""The loss counts what is known, predictions follow the logits, and what is found is judged and drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models.cam import boxes_from_maps
from jaxseg.tasks import classification
from jaxseg.types import JaxsegError

CLASSES = ("a", "b", "c")


def batch_and_outputs(several):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3)).astype(np.float32) * 3
    category = rng.integers(0, 2, (6, 3)) if several else rng.integers(0, 3, 6)
    category = category.astype(np.int32)
    category[1] = -1
    batch = {
        "image": rng.random((6, 32, 40, 3)).astype(np.float32),
        "category": category,
        "valid": np.arange(6) < 5,
        "instances": {
            "boxes": np.tile(np.array([[4, 4, 20, 20]], np.float32), (6, 2, 1)),
            "classes": np.full((6, 2), 3, np.int32),
            "valid": np.ones((6, 2), bool),
        },
    }
    return batch, {"logits": jnp.asarray(logits), "maps": jnp.asarray(rng.normal(size=(6, 4, 5, 3)), jnp.float32)}


def test_one_class_a_picture():
    batch, outputs = batch_and_outputs(several=False)
    task = classification(CLASSES, top=2)
    z = np.asarray(outputs["logits"], np.float64)
    nll = np.log(np.exp(z).sum(1)) - z[np.arange(6), batch["category"]]
    loss, terms = task.loss(outputs, batch)
    np.testing.assert_allclose(loss, nll[[0, 2, 3, 4]].mean(), rtol=1e-5)
    assert set(terms) == {"class"}
    predictions = task.predict(outputs, batch)
    np.testing.assert_array_equal(np.argmax(predictions["present"], 1), z.argmax(1))
    found = task.metric.compute(task.metric.update(task.metric.init(), predictions, batch))
    assert found["pictures"] == 4
    assert found[task.main_metric] == np.mean(z.argmax(1)[[0, 2, 3, 4]] == batch["category"][[0, 2, 3, 4]])
    assert "top2_accuracy" in found


def test_several_classes_a_picture():
    batch, outputs = batch_and_outputs(several=True)
    task = classification(CLASSES, several=True)
    z, y = (np.asarray(x, np.float64)[[0, 2, 3, 4]] for x in (outputs["logits"], batch["category"]))
    expected = -np.mean(y * np.log(1 / (1 + np.exp(-z))) + (1 - y) * np.log(1 - 1 / (1 + np.exp(-z))))
    np.testing.assert_allclose(task.loss(outputs, batch)[0], expected, rtol=1e-4)
    predictions = task.predict(outputs, batch)
    np.testing.assert_array_equal(predictions["present"], outputs["logits"] >= 0)
    found = task.metric.compute(task.metric.update(task.metric.init(), predictions, batch))
    assert found["answers"] == 12
    assert task.main_metric in found
    with pytest.raises(JaxsegError, match="no category \\[B\\]: one class a picture"):
        classification(CLASSES).loss(outputs, batch)


def test_what_is_localized_is_judged_and_drawn():
    batch, outputs = batch_and_outputs(several=True)
    task = classification(CLASSES, several=True, localize=boxes_from_maps)
    predictions = task.predict(outputs, batch)
    np.testing.assert_array_equal(predictions["boxes"][2], boxes_from_maps(outputs["maps"][2], (32, 40))[0])
    found = task.metric.compute(task.metric.update(task.metric.init(), predictions, batch))
    assert found["pairs"] == 5  # class c, in each valid picture
    sheet = task.draw(batch, predictions)
    assert sheet.dtype == np.uint8
    without = task.draw(batch, {**predictions, "boxes": np.zeros((6, 3, 4), np.float32)})
    assert (sheet != without).any()
