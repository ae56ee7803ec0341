"""Proposals and detections against short numpy ones."""

import jax
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError

SIZE = (60, 80)


def greedy(boxes, scores, threshold):
    """Indices kept, best first."""
    left, kept = list(np.argsort(-scores, kind="stable")), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if float(ops.box_iou(boxes[best], boxes[i])) <= threshold]
    return kept


def decoded(deltas, anchors, weights, size):
    """Girshick et al. 2014, equations 1 to 4, then clipped."""
    w, h = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    x, y = anchors[:, 0] + w / 2, anchors[:, 1] + h / 2
    dx, dy, dw, dh = (deltas / weights).T
    x, y, w, h = x + dx * w, y + dy * h, w * np.exp(dw), h * np.exp(dh)
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    return np.clip(boxes, 0, [size[1], size[0], size[1], size[0]]).astype(np.float32)


def random_boxes(rng, count):
    corner, side = rng.uniform(-5, 60, (count, 2)), rng.uniform(2, 40, (count, 2))
    return np.concatenate([corner, corner + side], 1).astype(np.float32)


def levels(seed=0):
    rng = np.random.default_rng(seed)
    counts = (40, 12, 5)
    scores = [rng.permutation(n).astype(np.float32) / n + 0.001 * i for i, n in enumerate(counts)]
    anchors = [random_boxes(rng, n) for n in counts]
    deltas = [rng.normal(size=(n, 4)).astype(np.float32) * 0.3 for n in counts]
    return scores, deltas, anchors


@pytest.mark.parametrize("seed", range(3))
def test_proposals(seed):
    scores, deltas, anchors = levels(seed)
    expected = []
    for s, d, a in zip(scores, deltas, anchors):
        order = np.argsort(-s)[:20]
        boxes = decoded(d[order], a[order], np.ones(4), SIZE)
        big = (boxes[:, 2:] - boxes[:, :2] >= 3).all(1)
        boxes, s = boxes[big], s[order][big]
        expected += [(s[i], boxes[i]) for i in greedy(boxes, s, 0.4)]
    expected = sorted(expected, key=lambda pair: -pair[0])[:15]
    propose = jax.jit(
        lambda s, d: ops.propose(s, d, anchors, SIZE, pre_nms=20, post_nms=15, iou_threshold=0.4, min_size=3)
    )
    got = jax.tree.map(np.asarray, propose(scores, deltas))
    assert int(got.valid.sum()) == len(expected) > 8
    np.testing.assert_allclose(got.scores[: len(expected)], [s for s, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(got.boxes[: len(expected)], [b for _, b in expected], atol=1e-4)
    assert (got.boxes[len(expected) :] == 0).all()


def test_proposals_without_size_or_number_are_none():
    anchors = [np.float32([[5, 5, 15, 15], [90, 70, 99, 80], [1, 1, 9, 9]])]  # the second outside of the image
    deltas = [np.float32([[0, 0, 0, 0], [0, 0, 0, 0], [np.nan, 0, 0, 0]])]
    propose = jax.jit(lambda s, d: ops.propose(s, d, anchors, SIZE, pre_nms=3, post_nms=3, min_size=0))
    got = propose([np.float32([1, 3, 2])], deltas)
    np.testing.assert_array_equal(got.valid, [True, False, False])
    np.testing.assert_allclose(got.boxes, [[5, 5, 15, 15], [0] * 4, [0] * 4])


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_detections(seed, per_class):
    rng, k, r = np.random.default_rng(seed), 3, 30
    probabilities = rng.dirichlet(np.ones(k + 1), r).astype(np.float32)[:, 1:]
    proposals, weights = random_boxes(rng, r), np.float32([10, 10, 5, 5])
    deltas = rng.normal(size=(r, k if per_class else 1, 4)).astype(np.float32)
    valid = np.arange(r) < r - 4
    expected = []
    for c in range(k):
        boxes = decoded(deltas[:, c if per_class else 0], proposals, weights, SIZE)
        fits = valid & (probabilities[:, c] > 0.2) & (boxes[:, 2:] - boxes[:, :2] >= 4).all(1)
        boxes, scores = boxes[fits], probabilities[fits, c]
        expected += [(scores[i], c + 1, boxes[i]) for i in greedy(boxes, scores, 0.5)]
    expected = sorted(expected, key=lambda row: -row[0])[:20]
    detect = jax.jit(
        lambda *x: ops.detect(
            *x, SIZE, score_threshold=0.2, iou_threshold=0.5, max_outputs=20, min_size=4, candidates=80
        )
    )
    got = jax.tree.map(np.asarray, detect(probabilities, deltas, proposals, valid))
    n = len(expected)
    assert int(got.valid.sum()) == n > 10
    np.testing.assert_allclose(got.scores[:n], [row[0] for row in expected], rtol=1e-6)
    np.testing.assert_array_equal(got.classes[:n], [row[1] for row in expected])
    np.testing.assert_allclose(got.boxes[:n], [row[2] for row in expected], atol=1e-4)
    assert (got.classes[n:] == 0).all()


def test_nothing_above_the_threshold():
    detect = jax.jit(lambda *x: ops.detect(*x, SIZE, score_threshold=0.3))
    low, deltas = np.full((4, 2), 0.1, np.float32), np.zeros((4, 2, 4), np.float32)
    got = detect(low, deltas, np.ones((4, 4), np.float32), np.ones(4, bool))
    assert not np.any(got.valid)
    assert got.boxes.shape == (100, 4)


def test_what_does_not_fit_is_told():
    with pytest.raises(JaxsegError, match="1 levels of scores, 2 of deltas"):
        ops.propose([np.ones(3)], [np.ones((3, 4))] * 2, [np.ones((3, 4))], SIZE, pre_nms=1, post_nms=1)
    with pytest.raises(JaxsegError, match=r"expected \[R, K\]"):
        ops.detect(np.ones((4, 2)), np.ones((4, 3, 4)), np.ones((4, 4)), np.ones(4, bool), SIZE)
