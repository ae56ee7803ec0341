"""Greedy suppression against a loop in numpy, in both of its forms."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError

nms_module = importlib.import_module("jaxseg.ops.nms")


def iou(one, others):
    shared = np.clip(np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2]), 0, None).prod(1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (one, others)]
    union = areas[0] + areas[1] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def greedy(boxes, scores, threshold, classes=None):
    """Indices kept, best first."""
    left = [i for i in np.argsort(-scores, kind="stable") if scores[i] > -np.inf]
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        overlap = iou(boxes[best], boxes[left])
        same = [classes is None or classes[i] == classes[best] for i in left]
        left = [i for i, o, s in zip(left, overlap, same) if not (o > threshold and s)]
    return kept


def random_set(rng, n):
    """Clusters, duplicates, ties of scores, boxes without area, padding."""
    centre = rng.uniform(0, 60, (max(n // 6, 1), 2))[rng.integers(0, max(n // 6, 1), n)] + rng.normal(0, 3, (n, 2))
    side = rng.uniform(4, 30, (n, 2)) * (rng.random((n, 1)) > 0.05)
    boxes = np.concatenate([centre - side / 2, centre + side / 2], 1).astype(np.float32)
    if n > 1:
        boxes[rng.integers(0, n, n // 8)] = boxes[rng.integers(0, n)]
    scores = rng.integers(0, 12, n).astype(np.float32) / 12
    scores[rng.random(n) < 0.1] = -np.inf
    return boxes, scores


@pytest.fixture(params=["one by one", "by tiles"])
def form(request, monkeypatch):
    """``batched_nms`` as on a CPU, and as on an accelerator, in small tiles."""
    f = {"one by one": nms_module._one_by_one, "by tiles": nms_module._by_tiles}[request.param]
    monkeypatch.setattr(nms_module, "_TILE", 16)
    monkeypatch.setattr(nms_module, "_one_by_one", f)
    jax.clear_caches()
    return request.param


def test_is_greedy_on_500_random_sets(form):
    rng = np.random.default_rng(0)
    kept = jax.jit(partial(ops.batched_nms, max_outputs=60))
    for trial in range(500):
        boxes, scores = random_set(rng, 60)
        classes = rng.integers(0, 1 + trial % 3, 60).astype(np.int32)
        threshold = np.float32(0.1 + 0.1 * (trial % 9))
        indices, valid = (np.asarray(x) for x in kept(boxes, scores, classes, threshold))
        expected = greedy(boxes, scores, threshold, classes)
        np.testing.assert_array_equal(indices[: valid.sum()], expected)
        assert not valid[len(expected) :].any()
        assert not indices[len(expected) :].any()


@pytest.mark.parametrize("n", [1, 17, 4096])
def test_of_any_number(n, form):
    boxes, scores = random_set(np.random.default_rng(n), n)
    expected = greedy(boxes, scores, 0.5)[:40]
    indices, valid = jax.jit(partial(ops.nms, iou_threshold=0.5, max_outputs=40))(boxes, scores)
    assert np.sum(valid) == len(expected)
    np.testing.assert_array_equal(indices[: len(expected)], expected)


def test_a_chain_of_overlaps(form):
    """Each box drops the next but not the one after: every second stays."""
    x = np.arange(50, dtype=np.float32) * 3
    boxes = np.stack([x, 0 * x, x + 10, 0 * x + 10], 1)
    kept = jax.jit(partial(ops.nms, iou_threshold=0.45, max_outputs=50))
    indices, valid = (np.asarray(x) for x in kept(boxes, np.linspace(1, 0.1, 50, dtype=np.float32)))
    np.testing.assert_array_equal(indices[valid], np.arange(0, 50, 2))


def test_vmap_and_nothing_to_keep(form):
    rng = np.random.default_rng(3)
    boxes, scores = (np.stack(x) for x in zip(*(random_set(rng, 40) for _ in range(3))))
    scores[1] = -np.inf
    scores[2, ::2] = np.nan
    kept = jax.jit(jax.vmap(partial(ops.nms, iou_threshold=0.5, max_outputs=9)))
    indices, valid = (np.asarray(x) for x in kept(boxes, scores))
    for i in range(3):
        expected = greedy(boxes[i], np.where(np.isnan(scores[i]), -np.inf, scores[i]), 0.5)[:9]
        np.testing.assert_array_equal(indices[i][valid[i]], expected)
    assert not valid[1].any()


def test_no_program_for_each_number_of_boxes():
    f = jax.jit(partial(ops.nms, iou_threshold=0.5, max_outputs=9))
    for n in (0, 3, 20):
        boxes, scores = random_set(np.random.default_rng(n), 20)
        f(boxes, np.where(np.arange(20) < n, scores, -np.inf))
    assert f._cache_size() == 1


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_soft_nms_is_bodlas(decay):
    rng = np.random.default_rng(0)
    boxes, scores = random_set(rng, 40)
    scores = np.where(scores == -np.inf, scores, rng.random(40)).astype(np.float32)
    left, expected = scores.astype(np.float64).copy(), []
    for _ in range(25):
        best = left.argmax()
        if left[best] <= 0.05:
            break
        expected.append((best, left[best]))
        overlap = iou(boxes[best], boxes)
        left *= np.exp(-(overlap**2) / 0.5) if decay == "gaussian" else np.where(overlap > 0.3, 1 - overlap, 1)
        left[best] = -np.inf
    soft = jax.jit(partial(ops.soft_nms, max_outputs=25, decay=decay, score_threshold=0.05))
    got = jax.tree.map(np.asarray, soft(boxes, scores))
    np.testing.assert_array_equal(got.indices[got.valid], [i for i, _ in expected])
    np.testing.assert_allclose(got.scores[got.valid], [s for _, s in expected], rtol=1e-5)


def test_bad_shapes_are_refused():
    with pytest.raises(JaxsegError, match=r"boxes have shape \(3, 5\).*expected \[N, 4\], \[N\] and \[N\]"):
        ops.nms(jnp.zeros((3, 5)), jnp.zeros(3), 0.5, max_outputs=2)
    with pytest.raises(JaxsegError, match="it can be linear or gaussian"):
        ops.soft_nms(jnp.zeros((3, 4)), jnp.zeros(3), max_outputs=2, decay="hard")
