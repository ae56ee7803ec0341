"""Corners: pooling against a loop and PyTorch's gradient, radii against boxes that are moved, pairs against a plain
search."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxseg import ops
from jaxseg.ops import corner
from jaxseg.types import JaxsegError
from tests.ops.jitted import value_and_gradients

SIDES = {"top": (0, True), "left": (1, True), "bottom": (0, False), "right": (1, False)}


@pytest.mark.parametrize("side", SIDES)
def test_pooling_is_the_loop(rng, side):
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    want = x.copy()
    rows, columns = range(5), range(9)
    for i in rows[::-1] if side == "top" else rows:
        for j in columns[::-1] if side == "left" else columns:
            before = {"top": (i + 1, j), "left": (i, j + 1), "bottom": (i - 1, j), "right": (i, j - 1)}[side]
            if 0 <= before[0] < 5 and 0 <= before[1] < 9:
                want[i, j] = np.maximum(want[i, j], want[before])
    np.testing.assert_array_equal(jax.jit(partial(ops.corner_pool, side=side))(x), want)
    batch = jax.jit(jax.vmap(partial(ops.corner_pool, side=side)))(x[None])
    np.testing.assert_array_equal(np.asarray(batch)[0], want)


@pytest.mark.parametrize("side", SIDES)
def test_gradient_is_pytorchs(rng, side):
    torch = pytest.importorskip("torch")
    x, g = rng.normal(size=(2, 7, 10, 3)).astype(np.float32)
    axis, flip = SIDES[side]
    t = torch.tensor(x, requires_grad=True)
    y = torch.cummax(t.flip(axis) if flip else t, axis).values
    (y.flip(axis) if flip else y).backward(torch.tensor(g))
    _, (got,) = value_and_gradients(partial(ops.corner_pool, side=side), (x,), g)
    np.testing.assert_allclose(got, t.grad, atol=1e-5)


@pytest.mark.parametrize("from_start", [False, True])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 13])
def test_the_form_for_accelerators_is_the_walk(rng, length, from_start):
    x = rng.integers(0, 6, (length, 4, 2)).astype(np.float32)  # with ties
    g = rng.normal(size=x.shape).astype(np.float32)

    @jax.jit
    def run(x, g):
        (y, new), (z, also) = corner._walk(from_start, x), corner._double(from_start, x)
        return (y, new), (z, also), corner._walk_back(from_start, new, g), corner._double_back(from_start, new, g)

    walked, doubled, walked_back, doubled_back = run(x, g)
    jax.tree.map(np.testing.assert_array_equal, walked, doubled)
    np.testing.assert_allclose(walked_back, doubled_back, atol=1e-5)
    np.testing.assert_allclose(np.sum(walked_back, 0), g.sum(0), atol=1e-5)  # nothing is lost


def test_under_shard_map(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype(np.float32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    slope = jax.grad(lambda x: jnp.sum(jax.vmap(partial(ops.corner_pool, side="left"))(x) ** 2))
    spread = jax.shard_map(slope, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    np.testing.assert_allclose(jax.jit(spread)(x), jax.jit(slope)(x), rtol=1e-5)


def iou(a, b):
    inter = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter)


@pytest.mark.parametrize("overlap", [0.3, 0.7])
def test_within_the_radius_boxes_overlap_enough_and_beyond_it_not_all_do(rng, overlap):
    sides = rng.uniform(4, 60, (20, 2)).astype(np.float32)
    for (w, h), radius in zip(sides, np.asarray(jax.jit(corner.corner_radius)(sides, overlap))):
        box = np.array([0, 0, w, h])

        def worst(r, box=box):
            moves = np.array(np.meshgrid(*[(-r, r)] * 4)).reshape(4, -1).T
            return min(iou(box, box + m) for m in moves)

        assert worst(float(radius)) == pytest.approx(overlap, abs=1e-3)
        assert worst(1.05 * float(radius)) < overlap


def test_targets_are_a_plain_drawing(rng):
    boxes = np.array([[4.4, 9, 40, 33], [8, 10, 41, 30], [0, 0, 64, 64], [5, 5, 5, 9], [np.nan, 0, 9, 9]], np.float32)
    classes, valid = np.array([1, 1, 3, 2, 2]), np.array([True, True, True, True, True])
    make = jax.jit(partial(ops.corner_targets, size=(16, 16), stride=4, num_classes=3))
    found = make(boxes, classes, valid)
    for kind, first in zip(found, (0, 2)):
        want = np.zeros((16, 16, 3))
        for box, k in zip(boxes[:3], classes):
            sides = np.ceil((box[2:] - box[:2]) / 4)
            radius = int(corner.corner_radius(sides[None], 0.3)[0])
            cx, cy = np.clip(np.floor(box[first : first + 2] / 4), 0, 15)
            for i in range(16):
                for j in range(16):
                    if max(abs(i - cy), abs(j - cx)) <= radius:
                        d2 = (i - cy) ** 2 + (j - cx) ** 2
                        want[i, j, k - 1] = max(want[i, j, k - 1], np.exp(-d2 / (2 * ((2 * radius + 1) / 6) ** 2)))
        np.testing.assert_allclose(kind.heat, want, atol=1e-6)
        assert np.sum(kind.heat == 1) == 3
    np.testing.assert_allclose(found[0].offset[0], [0.1, 0.25], atol=1e-6)
    np.testing.assert_array_equal(found[0].place, [2 * 16 + 1, 2 * 16 + 2, 0, 0, 0])
    np.testing.assert_array_equal(found[1].place[2], 15 * 16 + 15)  # the image's own corner is beyond the last place


def planted(rng, count=12, side=24, classes=3):
    """Maps with noise below and clear corners of boxes above."""
    corners = []
    for _ in range(2):
        corners.append(
            ops.Corners(
                np.full((side, side, classes), -6, np.float32) + rng.uniform(0, 1, (side, side, classes)).astype("f4"),
                rng.normal(size=(side, side)).astype(np.float32) * 3,
                rng.uniform(0, 0.9, (side, side, 2)).astype(np.float32),
            )
        )
    boxes = []
    for n in range(count):
        (x1, y1), (w, h), k = rng.integers(0, 12, 2), rng.integers(3, 11, 2), rng.integers(classes)
        boxes.append((x1, y1, x1 + w, y1 + h, k))
        for kind, (x, y) in zip(corners, ((x1, y1), (x1 + w, y1 + h))):
            kind.logits[y, x, k] = rng.uniform(1, 4)
            kind.embedding[y, x] = n + rng.uniform(-0.2, 0.2)
    return corners


def by_search(first, second, stride, most=100):
    """Every pair of peaks, in plain Python."""
    peaks = []
    for kind in (first, second):
        heat = 1 / (1 + np.exp(-kind.logits.astype(np.float64)))
        h, w, k = heat.shape
        found = [
            (heat[i, j, c], c, j + kind.offset[i, j, 0], i + kind.offset[i, j, 1], kind.embedding[i, j])
            for i, j, c in np.ndindex(h, w, k)
            if heat[i, j, c] == heat[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, c].max()
        ]
        peaks.append(sorted(found, reverse=True)[:most])
    pairs = [
        ((a[0] + b[0]) / 2, a[1] + 1, np.array([a[2], a[3], b[2], b[3]]) * stride)
        for a in peaks[0]
        for b in peaks[1]
        if a[1] == b[1] and abs(a[4] - b[4]) <= 0.5 and b[2] > a[2] and b[3] > a[3]
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def test_pairs_are_those_of_a_plain_search(rng):
    pair = jax.jit(partial(ops.pair_corners, stride=4, max_outputs=40))
    for _ in range(5):
        first, second = planted(rng)
        got = jax.tree.map(np.asarray, pair(first, second))
        want = by_search(first, second, 4)[:40]
        count = int(np.sum(got.valid))
        assert count == min(len(want), 40)
        assert count > 10
        np.testing.assert_allclose(got.scores[:count], [score for score, *_ in want], rtol=1e-5)
        np.testing.assert_allclose(got.boxes[:12], [box for *_, box in want[:12]], rtol=1e-5)
        np.testing.assert_array_equal(got.classes[:12], [k for _, k, _ in want[:12]])
        assert not np.any(got.boxes[~got.valid])


def test_what_is_refused():
    with pytest.raises(JaxsegError, match="top, left, bottom or right"):
        ops.corner_pool(np.zeros((4, 4, 1), np.float32), "up")  # type: ignore
    with pytest.raises(JaxsegError, match=r"\[N, 4\]"):
        ops.corner_targets(np.zeros((3, 2)), np.zeros(3), np.ones(3, bool), (8, 8), stride=4, num_classes=2)
