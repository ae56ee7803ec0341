import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses, metrics
from jaxseg.models import contextual
from jaxseg.tasks import semantic
from jaxseg.types import VOID, JaxsegError

CLASSES = ("a", "b", "c")


def batch_and_logits(logits_size, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (2, 12, 10)).astype(np.uint8)
    label[0, :3] = VOID
    batch = {"image": np.zeros((2, 12, 10, 3), np.float32), "label": label, "valid": np.ones(2, bool)}
    return batch, jnp.asarray(rng.normal(size=(2, *logits_size, 3)), jnp.float32)


def test_the_loss_is_that_of_the_labels_under_the_scores():
    """Scores of 8x6 for an image of 12x10 are those of its middle: a border of 2 all round."""
    batch, logits = batch_and_logits((8, 6))
    loss, terms = semantic(CLASSES).loss({"logits": logits}, batch)
    np.testing.assert_allclose(loss, losses.cross_entropy(logits, batch["label"][:, 2:-2, 2:-2]), rtol=1e-6)
    assert set(terms) == {"pixel"}
    with pytest.raises(JaxsegError, match="logits of 14x10 are larger than the labels of 12x10"):
        semantic(CLASSES).loss({"logits": jnp.zeros((2, 14, 10, 3))}, batch)


def test_auxiliary_scores_are_trained_with_their_weight():
    batch, logits = batch_and_logits((12, 10))
    _, auxiliary = batch_and_logits((12, 10), seed=1)
    task = semantic(CLASSES, auxiliary_weight=0.4)
    loss, terms = task.loss({"logits": logits, "aux_early": auxiliary}, batch)
    one, other = (losses.cross_entropy(x, batch["label"]) for x in (logits, auxiliary))
    np.testing.assert_allclose(loss, one + 0.4 * other, rtol=1e-6)
    np.testing.assert_allclose([terms["pixel"], terms["aux_early"]], [one, other], rtol=1e-6)


def test_the_auxiliary_weight_may_change_with_the_step():
    batch, logits = batch_and_logits((12, 10))
    outputs = {"logits": logits, "aux_early": logits}
    plain, _ = semantic(CLASSES).loss({"logits": logits}, batch)
    task = semantic(CLASSES, auxiliary_weight=contextual.auxiliary_weight(every=100))
    for step, weight in ((0, 1.0), (99, 1.0), (100, 0.1), (200, 0.01), (900, 0.01)):
        loss, _ = jax.jit(task.loss)(outputs, batch | {"step": step})
        np.testing.assert_allclose(loss, (1 + weight) * plain, rtol=1e-5)


def test_where_there_are_no_scores_nothing_is_predicted_or_judged():
    batch, logits = batch_and_logits((8, 6))
    task = semantic(CLASSES)
    predictions = task.predict({"logits": logits}, batch)
    inner = np.argmax(np.asarray(logits), -1)
    np.testing.assert_array_equal(predictions["label"][:, 2:-2, 2:-2], inner)
    assert (np.delete(predictions["label"], np.s_[2:10], 1) == VOID).all()
    found = task.metric.compute(task.metric.update(task.metric.init(), predictions, batch))
    truth = batch["label"][:, 2:-2, 2:-2]
    assert found["pixel_accuracy"] == pytest.approx((inner == truth)[truth != VOID].mean())
    assert found["pixels"] == (truth != VOID).sum()


def test_boundary_scores_on_request():
    batch, logits = batch_and_logits((12, 10))
    task = semantic(CLASSES, boundary=True)
    predictions = task.predict({"logits": logits}, batch)
    found = task.metric.compute(task.metric.update(task.metric.init(), predictions, batch))
    alone = metrics.boundary_metric(3, CLASSES)
    expected = alone.compute(alone.update(alone.init(), predictions, batch))
    assert {name: found[name] for name in expected} == expected
    assert "miou" in found
