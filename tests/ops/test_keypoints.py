"""Keypoints to heat maps and back: torchvision's targets and places, planted peaks, bad boxes."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError

SIZE = (150, 200)


def boxes_of(rng, count):
    corner, side = rng.uniform(0, 60, (count, 2)), rng.uniform(0.2, 90, (count, 2))
    side[0] = 139, 80  # three tiles across
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def test_targets_are_torchvisions(rng):
    torch = pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    theirs = import_torchvision().models.detection.roi_heads.keypoints_to_heatmap
    boxes = boxes_of(rng, 30)
    at = boxes[:, None, :2] + rng.uniform(-0.2, 1.2, (30, 5, 2)) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    at[3] = boxes[3, 2:]  # the last corner belongs to the box
    points = np.concatenate([at, rng.integers(0, 3, (30, 5, 1))], axis=-1).astype(np.float32)
    cells, counts = jax.jit(partial(ops.keypoint_targets, side=56))(points, boxes)
    want, valid = theirs(torch.tensor(points), torch.tensor(boxes), 56)
    np.testing.assert_array_equal(cells, want)
    np.testing.assert_array_equal(counts, valid)
    assert 20 < np.sum(counts) < 140


def test_resized_places_are_torchvisions(rng):
    torch = pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    theirs = import_torchvision().models.detection.roi_heads.heatmaps_to_keypoints
    logits, boxes = rng.normal(size=(12, 28, 28, 4)).astype(np.float32), boxes_of(rng, 12)
    points, scores = jax.jit(partial(ops.keypoints_from_heat_maps, size=SIZE))(logits, boxes)
    want, best = theirs(torch.tensor(logits.transpose(0, 3, 1, 2)), torch.tensor(boxes))
    np.testing.assert_allclose(points, want[..., :2], atol=1e-3)
    np.testing.assert_allclose(scores, best, atol=1e-4)
    batched = jax.jit(jax.vmap(partial(ops.keypoints_from_heat_maps, size=SIZE)))(logits[None], boxes[None])
    np.testing.assert_allclose(np.asarray(batched[0])[0], points, atol=1e-4)


@pytest.mark.parametrize(("rule", "off"), [("resize", 0.6), ("parabola", 0.1)])
def test_a_planted_peak_is_found(rng, rule, off):
    """A bell around a place between cells; in pixels, of which a cell has 1.4."""
    boxes = np.array([[10, 20, 90, 100]], np.float32)
    at = rng.uniform(25, 85, (1, 6, 2)) + np.array([0, 10])
    cell = (at - boxes[:, None, :2]) / 80 * 56 - 0.5
    grid = np.mgrid[0:56, 0:56]
    d2 = (grid[1][..., None] - cell[0, :, 0]) ** 2 + (grid[0][..., None] - cell[0, :, 1]) ** 2
    logits = (-d2 / 8).astype(np.float32)[None]
    points, _ = jax.jit(partial(ops.keypoints_from_heat_maps, size=(128, 128), rule=rule))(logits, boxes)
    assert np.abs(points - at).max() < off


@pytest.mark.parametrize("rule", ["resize", "parabola"])
def test_degenerate_boxes_and_flat_maps_are_finite(rule):
    boxes = np.array([[5, 5, 5, 5], [9, 9, 3, 3], [0, 0, 20, 20]], np.float32)
    flat = np.zeros((3, 8, 8, 2), np.float32)
    points, scores = jax.jit(partial(ops.keypoints_from_heat_maps, size=(32, 32), rule=rule))(flat, boxes)
    assert np.isfinite(points).all()
    assert np.isfinite(scores).all()
    cells, counts = jax.jit(partial(ops.keypoint_targets, side=8))(np.full((3, 2, 3), 5, np.float32), boxes)
    np.testing.assert_array_equal(np.asarray(counts)[:, 0], [False, False, True])
    assert np.min(cells) >= 0


def test_what_is_refused():
    with pytest.raises(JaxsegError, match="resize or parabola"):
        ops.keypoints_from_heat_maps(np.zeros((3, 8, 8, 2)), np.zeros((3, 4)), (32, 32), rule="bicubic")  # type: ignore
    with pytest.raises(JaxsegError, match=r"\[R, P, 3\]"):
        ops.keypoint_targets(np.zeros((3, 2, 2)), np.zeros((3, 4)), 8)
