"""Matching against torchvision's matcher; sampling by counts, uniformity and keys."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.torchvision_models import import_torchvision

ANCHORS = ops.grid_anchors(ops.anchor_cells((12, 24), (0.5, 1, 2)), (10, 12), (8, 8))


def match(*arguments, **options):
    """``ops.match`` as one program, its results on the host."""
    return jax.tree.map(np.asarray, jax.jit(partial(ops.match, **options))(*arguments))


def sample(key, label, **options):
    return jax.tree.map(np.asarray, jax.jit(partial(ops.sample, **options))(jax.random.key(key), label))


def truths(n, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 70, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(3, 40, (n, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize(("positive", "negative"), [(0.7, 0.3), (0.5, 0.5), (0.5, 0.3)])
def test_matches_are_torchvisions(positive, negative, low_quality):
    torch = pytest.importorskip("torch")
    vision = import_torchvision()
    from torchvision.models.detection._utils import Matcher

    boxes = truths(9)
    boxes[0] = ANCHORS[200] + 1.0  # a box on the grid: its best anchors are many
    boxes[0] = [20, 20, 52, 52]
    iou = vision.ops.box_iou(torch.tensor(boxes), torch.tensor(ANCHORS))
    expected = Matcher(positive, negative, low_quality)(iou).numpy()
    padded = np.pad(boxes, ((0, 3), (0, 0)))
    valid = np.arange(12) < 9
    got = match(ANCHORS, padded, valid, positive=positive, negative=negative, low_quality=low_quality)
    label = np.where(expected >= 0, 1, np.where(expected == Matcher.BELOW_LOW_THRESHOLD, 0, -1))
    np.testing.assert_array_equal(got.label, label)
    np.testing.assert_array_equal(got.index[expected >= 0], expected[expected >= 0])
    np.testing.assert_allclose(got.iou, iou.max(0).values.numpy(), atol=1e-6)
    if low_quality:
        assert len(np.unique(got.index[got.label == 1])) == 9


def test_no_boxes_and_a_box_that_touches_nothing():
    options = {"positive": 0.7, "negative": 0.3, "low_quality": True}
    nothing = match(ANCHORS, truths(4), np.zeros(4, bool), **options)
    assert not nothing.label.any()
    assert not nothing.iou.any()
    far = np.float32([[5000, 5000, 5010, 5010], [3, 3, 3, 3]])
    assert not match(ANCHORS, far, np.ones(2, bool), **options).label.any()


def test_anchors_within_a_crowd_are_neutral():
    boxes, ignored = np.float32([[8, 8, 20, 20], [40, 30, 100, 80]]), np.asarray([False, True])
    options = {"positive": 0.5, "negative": 0.3}
    got = match(ANCHORS, boxes, np.ones(2, bool), ignored=ignored, **options)
    alone = match(ANCHORS, boxes[:1], np.ones(1, bool), **options)
    within = np.asarray(jax.jit(ops.box_ioa)(ANCHORS, boxes[1][None])) > 0.5
    assert within.any()
    np.testing.assert_array_equal(got.label, np.where(within & (alone.label != 1), -1, alone.label))
    assert not got.index.any()


def test_memory_is_of_the_anchors_not_of_the_pairs():
    """60,000 anchors and 300 boxes would be 72 MB of IoUs."""
    f = jax.jit(lambda a, b, v: ops.match(a, b, v, positive=0.7, negative=0.3, low_quality=True))
    compiled = f.lower(np.zeros((60_000, 4), np.float32), np.zeros((300, 4), np.float32), np.ones(300, bool)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 12e6


@pytest.mark.parametrize(("positives", "negatives"), [(50, 300), (3, 300), (50, 5), (0, 300), (0, 0), (300, 0)])
def test_samples_are_balanced(positives, negatives):
    label = np.full(400, -1)
    where = np.random.default_rng(0).permutation(400)
    label[where[:positives]] = 1
    label[where[positives : positives + negatives]] = 0
    s = sample(1, label, count=64, positive_fraction=0.25)
    taken = s.indices[s.valid]
    assert len(s.indices) == 64
    assert len(set(taken)) == len(taken)
    assert s.positive.sum() == min(positives, 16)
    assert s.valid.sum() == min(64, min(positives, 16) + negatives)
    np.testing.assert_array_equal(label[taken], s.positive[s.valid].astype(int))


def test_every_choice_is_as_likely():
    label = np.array([1] * 6 + [0] * 14 + [-1] * 5)
    draw = jax.vmap(lambda key: ops.sample(key, label, count=8, positive_fraction=0.25))
    s = jax.jit(lambda key: draw(jax.random.split(key, 4000)))(jax.random.key(0))
    counts = np.bincount(np.asarray(s.indices)[np.asarray(s.valid)], minlength=25) / 4000
    np.testing.assert_allclose(counts[:6], 2 / 6, atol=0.03)
    np.testing.assert_allclose(counts[6:20], 6 / 14, atol=0.03)
    assert not counts[20:].any()


def test_fewer_anchors_than_wanted():
    s = sample(0, np.array([1, 0, -1]), count=8, positive_fraction=0.5)
    assert s.indices.shape == (8,)
    assert s.valid.sum() == 2
    assert s.positive.sum() == 1


def test_bad_options_are_refused():
    with pytest.raises(JaxsegError, match="expected 0 <= negative <= positive <= 1"):
        ops.match(ANCHORS, truths(2), np.ones(2, bool), positive=0.3, negative=0.7)
    with pytest.raises(JaxsegError, match=r"anchors have shape \(3, 5\)"):
        ops.match(np.zeros((3, 5), np.float32), truths(2), np.ones(2, bool), positive=0.7, negative=0.3)
    with pytest.raises(JaxsegError, match="positive_fraction 2"):
        ops.sample(jax.random.key(0), np.zeros(3, np.int32), count=2, positive_fraction=2)
