"""Overlaps, weak localization and joints beside plain loops in numpy."""

import jax
import numpy as np
import pytest

from jaxseg import metrics
from jaxseg.types import JaxsegError

B, N, K, P = 24, 3, 4, 5


def iou(a, b):
    """Of two boxes on whole pixels, by counting pixels."""
    grid = np.zeros((2, 20, 20), bool)
    for g, (x1, y1, x2, y2) in zip(grid, (a, b)):
        g[int(y1) : int(y2), int(x1) : int(x2)] = True
    union = (grid[0] | grid[1]).sum()
    return (grid[0] & grid[1]).sum() / union if union else 0.0


def boxes(rng, *shape):
    ends = np.sort(rng.integers(0, 20, (*shape, 2, 2)), axis=-2)
    return ends.reshape(*shape, 4).astype(np.float32)  # some are empty


def batch_and_rng(seed=0):
    rng = np.random.default_rng(seed)
    instances = {
        "boxes": boxes(rng, B, N),
        "classes": rng.integers(1, K + 1, (B, N)).astype(np.int32),
        "valid": rng.random((B, N)) < 0.7,
        "keypoints": np.concatenate([rng.random((B, N, P, 2)) * 20, rng.integers(0, 3, (B, N, P, 1))], -1).astype("f4"),
    }
    batch = {"instances": instances, "valid": np.arange(B) < B - 2, "category": instances["classes"][:, 0] - 1}
    return batch, rng


def compute(metric, predictions, batch):
    """By halves, jitted and merged: no split changes a number."""
    halves = [jax.tree.map(lambda x, i=i: x[i::2], (predictions, batch)) for i in (0, 1)]
    update = jax.jit(metric.update)
    found = metric.compute(metric.merge(*(update(metric.init(), *half) for half in halves)))
    whole = metric.compute(update(metric.init(), predictions, batch))
    assert found == whole
    return found


def test_paired_iou_counts_pixels():
    rng = np.random.default_rng(3)
    a, b = boxes(rng, 200), boxes(rng, 200)
    a[:3], b[:3] = [[2, 2, 6, 6], [1, 1, 1, 5], [8, 8, 3, 3]], [[2, 2, 6, 6], [1, 1, 1, 5], [3, 3, 8, 8]]
    expected = [iou(p, q) for p, q in zip(a, b)]
    np.testing.assert_allclose(metrics.paired_iou(a, b), expected, atol=1e-6)
    np.testing.assert_allclose(metrics.paired_iou(a[None], b[:5, None])[2], [iou(p, b[2]) for p in a], atol=1e-6)


def test_one_object_a_picture():
    batch, rng = batch_and_rng()
    truth = batch["instances"]["boxes"][:, 0]
    predictions = {"boxes": np.where(rng.random((B, 1)) < 0.5, truth, boxes(rng, B)), "category": rng.integers(0, 2, B)}
    found = compute(metrics.localization_metric(), predictions, batch)
    rows = np.flatnonzero(batch["valid"] & batch["instances"]["valid"][:, 0])
    overlaps = np.array([iou(predictions["boxes"][i], truth[i]) for i in rows])
    right = predictions["category"][rows] == batch["category"][rows]
    assert found["mean_iou"] == pytest.approx(overlaps.mean(), abs=1e-5)
    assert found["localized"] == pytest.approx((overlaps >= 0.5).mean())
    assert found["localization_accuracy"] == pytest.approx(((overlaps >= 0.5) & right).mean())
    assert 0 < found["localization_accuracy"] < found["localized"] < 1
    assert found["objects"] == len(rows)


def test_weak_localization():
    batch, rng = batch_and_rng()
    there = batch["instances"]
    predictions = {
        "boxes": np.where(rng.random((B, K, 1)) < 0.5, there["boxes"][:, [0, 1, 2, 0]], boxes(rng, B, K)),
        "points": (rng.random((B, K, 2)) * 20).astype(np.float32),
        "present": rng.random((B, K)) < 0.6,
    }
    found = compute(metrics.weak_localization_metric(), predictions, batch)
    best, both, pointed = [], [], []
    for i in np.flatnonzero(batch["valid"]):
        for k in range(K):
            truths = [
                there["boxes"][i, n] for n in range(N) if there["valid"][i, n] and there["classes"][i, n] == k + 1
            ]
            if truths:
                best.append(max(iou(predictions["boxes"][i, k], t) for t in truths))
                both.append(best[-1] >= 0.5 and predictions["present"][i, k])
                x, y = predictions["points"][i, k]
                pointed.append(any(t[0] <= x <= t[2] and t[1] <= y <= t[3] for t in truths))
    assert found["pairs"] == len(best)
    assert found["mean_iou"] == pytest.approx(np.mean(best), abs=1e-5)
    assert found["localized"] == pytest.approx(np.mean(np.array(best) >= 0.5))
    assert found["localization_error"] == pytest.approx(1 - np.mean(both))
    assert found["pointing_accuracy"] == pytest.approx(np.mean(pointed))
    assert 0 < np.mean(both) < np.mean(np.array(best) >= 0.5)


def test_joints_are_found_within_a_share_of_the_box():
    batch, rng = batch_and_rng()
    names = tuple("abcde")
    truth, box = batch["instances"]["keypoints"][:, 0], batch["instances"]["boxes"][:, 0]
    predictions = {"keypoints": (truth[..., :2] + rng.normal(size=(B, P, 2))).astype(np.float32)}
    found = compute(metrics.pck_metric(names, alpha=0.2), predictions, batch)
    hits = {name: [] for name in names}
    for i in np.flatnonzero(batch["valid"] & batch["instances"]["valid"][:, 0]):
        reach = 0.2 * max(box[i, 2] - box[i, 0], box[i, 3] - box[i, 1])
        for p, name in enumerate(names):
            if truth[i, p, 2] > 0:
                hits[name].append(np.linalg.norm(predictions["keypoints"][i, p] - truth[i, p, :2]) <= reach)
    assert found["pck_of"] == pytest.approx({name: np.mean(h) for name, h in hits.items()})
    assert found["pck"] == pytest.approx(np.mean(np.concatenate(list(hits.values()))))
    assert found["joints"] == sum(map(len, hits.values()))
    assert 0.2 < found["pck"] < 0.95


def test_without_instances_or_objects():
    metric = metrics.localization_metric()
    with pytest.raises(JaxsegError, match="set Data.max_instances, and keep_instances=True in Present"):
        metric.update(metric.init(), {}, {"valid": np.ones(2, bool)})
    assert np.isnan(metric.compute(metric.init())["mean_iou"])
