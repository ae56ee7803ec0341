"""The weighted sum of the heads' losses, coordinates there and back, and which box of many is meant."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.tasks import localization
from jaxseg.tasks.localization import pixels, relative
from jaxseg.types import JaxsegError

CLASSES, JOINTS = ("a", "b", "c"), ("head", "foot")
B, H, W = 6, 32, 48


def batch_and_outputs(per_class=False):
    rng = np.random.default_rng(0)
    category = np.array([0, 1, 2, 2, -1, 0], np.int32)
    batch = {
        "image": rng.random((B, H, W, 3)).astype(np.float32),
        "category": category,
        "valid": np.arange(B) < 5,
        "instances": {
            "boxes": np.sort(rng.random((B, 1, 2, 2)) * [W, H], axis=2).reshape(B, 1, 4).astype(np.float32),
            "classes": category[:, None] + 1,
            "keypoints": np.concatenate([rng.random((B, 1, 2, 2)) * 30, rng.integers(0, 3, (B, 1, 2, 1))], -1).astype(
                "f4"
            ),
            "valid": np.array([[1], [0], [1], [1], [1], [1]], bool),
        },
    }
    shapes = {"logits": (B, 3), "boxes": (B, 3, 4) if per_class else (B, 4), "joints": (B, 2, 2)}
    return batch, {k: jnp.asarray(rng.normal(size=s) / 3, jnp.float32) for k, s in shapes.items()}


def test_relative_coordinates_are_deepposes():
    points = np.array([[0, 0], [W, H], [W / 2, H / 2], [W / 4, H]], np.float32)
    expected = [[-0.5, -0.5], [0.5, 0.5], [0, 0], [-0.25, 0.5]]
    np.testing.assert_allclose(relative(points, (H, W)), expected)
    np.testing.assert_allclose(pixels(relative(points, (H, W)), (H, W)), points)


@pytest.mark.parametrize("per_class", [False, True])
def test_the_loss_is_the_weighted_sum(per_class):
    """L2 by a loop: boxes of valid objects, of the true class where there is one a class; joints that are seen."""
    batch, outputs = batch_and_outputs(per_class)
    task = localization(CLASSES, regression=losses.l2, box_weight=3.0, joint_weight=0.5, joints=JOINTS)
    total, terms = jax.jit(task.loss)(outputs, batch)
    there, boxes, joints = batch["instances"], [], []
    for i in (0, 2, 3, 4):
        k = max(0, batch["category"][i])
        ours = outputs["boxes"][i, k] if per_class else outputs["boxes"][i]
        truth = there["boxes"][i, 0] / [W, H, W, H] - 0.5
        boxes.append(np.sum((ours - truth) ** 2))
        for p in range(2):
            x, y, visible = there["keypoints"][i, 0, p]
            if visible:
                joints.append(np.sum((outputs["joints"][i, p] - np.array([x / W - 0.5, y / H - 0.5])) ** 2))
    nll = losses.cross_entropy(outputs["logits"][:4], batch["category"][:4])
    expected = {"class": nll, "box": np.mean(boxes), "joints": np.mean(joints)}
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5)
    np.testing.assert_allclose(total, expected["class"] + 3 * expected["box"] + 0.5 * expected["joints"], rtol=1e-5)


def test_a_perfect_prediction_scores_1_and_costs_nothing():
    batch, outputs = batch_and_outputs(per_class=True)
    there = batch["instances"]
    there["boxes"] += np.array([0, 0, 4, 4], np.float32)
    box = relative(there["boxes"][:, 0].reshape(B, 2, 2), (H, W)).reshape(B, 1, 4)
    of = jnp.arange(3)[None, :, None] == batch["category"][:, None, None]
    outputs = {
        "logits": 40.0 * jax.nn.one_hot(batch["category"], 3),
        "boxes": jnp.where(of, box, 7.0),
        "joints": relative(there["keypoints"][:, 0, :, :2], (H, W)),
    }
    batch["category"][4] = 0  # unknown no more
    outputs["boxes"] = outputs["boxes"].at[4, 0].set(box[4, 0])
    task = localization(CLASSES, regression=partial(losses.smooth_l1, beta=0.1), joints=JOINTS)
    predictions = task.predict(outputs, batch)
    found = task.metric.compute(task.metric.update(task.metric.init(), predictions, batch))
    assert found["mean_iou"] == pytest.approx(1, abs=1e-4)
    assert found[task.main_metric] == found["pck"] == found["accuracy"] == 1
    _, terms = task.loss(outputs, batch)
    np.testing.assert_allclose([terms["box"], terms["joints"]], 0, atol=1e-6)
    sheet = task.draw(batch, jax.device_get(predictions))
    moved = task.draw(batch, {**predictions, "boxes": np.asarray(predictions["boxes"]) * 0.5})
    assert sheet.dtype == np.uint8
    assert (sheet != moved).any()


def test_the_predicted_box_is_that_of_the_predicted_class():
    batch, outputs = batch_and_outputs(per_class=True)
    predictions = localization(CLASSES).predict(outputs, batch)
    k = np.argmax(outputs["logits"], 1)
    expected = (np.asarray(outputs["boxes"])[np.arange(B), k] + 0.5) * [W, H, W, H]
    np.testing.assert_allclose(predictions["boxes"], expected, rtol=1e-5)


def test_numbers_of_joints_must_agree():
    batch, outputs = batch_and_outputs()
    with pytest.raises(JaxsegError, match="3 joints are asked for; the batch has 2 and the model gives 2"):
        localization(CLASSES, joints=("a", "b", "c")).loss(outputs, batch)
    del outputs["joints"]
    with pytest.raises(JaxsegError, match="the model gives none"):
        localization(CLASSES, joints=JOINTS).loss(outputs, batch)
