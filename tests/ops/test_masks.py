"""Masks in boxes: pasted as grid_sample does, cut out as much as they cover, and there and back."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.data import crop_masks, tight_boxes
from jaxseg.types import JaxsegError
from tests.helpers import slowly

SIZE = (48, 64)
BOXES = np.float32(
    [[3, 5, 40, 30], [-6.5, -4, 20.25, 33.5], [50, 20, 75, 60], [10.2, 10.4, 12.9, 11.1], [70, 60, 90, 80]]
)


paste_masks = jax.jit(ops.paste_masks, static_argnums=2, static_argnames="rule")
cut_out = jax.jit(ops.crop_masks, static_argnums=4, static_argnames=("aligned", "max_samples"))


def random_masks(count, side=28, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, side, side)).astype(np.float32)


def disks(seed=0):
    """Masks [3, H, W] of the image and their boxes."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    centres = ((20, 20, 14), (40, 30, 9.5), (60, 8, 12))
    masks = np.stack([(x - a) ** 2 + (y - b) ** 2 < r * r for a, b, r in centres])
    return masks, tight_boxes(masks)


def test_paste_is_grid_sample():
    """detectron2's ``paste_masks_in_image`` is this call."""
    torch = pytest.importorskip("torch")
    masks = random_masks(len(BOXES))
    x, y = np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5
    for mask, box, pasted in zip(masks, BOXES, np.asarray(paste_masks(masks, BOXES, SIZE))):
        u, v = (x - box[0]) / (box[2] - box[0]) * 2 - 1, (y - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.tensor(np.stack(np.broadcast_arrays(u[None], v[:, None]), -1), dtype=torch.float32)[None]
        expected = torch.nn.functional.grid_sample(torch.tensor(mask)[None, None], grid, align_corners=False)[0, 0]
        np.testing.assert_allclose(pasted, expected.numpy(), atol=1e-5)


def test_paste_is_torchvisions():
    torch = pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    paste = import_torchvision().models.detection.roi_heads.paste_masks_in_image
    boxes = BOXES[:4]  # the last, outside of the image, it can't
    masks = random_masks(len(boxes))
    expected = paste(torch.tensor(masks)[:, None], torch.tensor(boxes), SIZE)[:, 0]
    got = paste_masks(masks, boxes, SIZE, rule="torchvision")
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("rule", ["detectron2", "torchvision"])
def test_a_box_without_size_pastes_nothing(rule):
    boxes = np.float32([[5, 5, 5, 9], [9, 9, 4, 4], [0, 0, 0, 0]])
    assert not np.any(paste_masks(random_masks(3), boxes, SIZE, rule=rule))


@pytest.mark.parametrize("rule", ["detectron2", "torchvision"])
def test_there_and_back(rule):
    masks, boxes = disks()
    pasted = np.asarray(paste_masks(crop_masks(masks, boxes, 28), boxes, SIZE, rule=rule)) >= 0.5
    overlap = (pasted & masks).sum((1, 2)) / (pasted | masks).sum((1, 2))
    assert (overlap > 0.9).all()


@pytest.mark.parametrize("aligned", [True, *slowly(False)])
def test_whole_masks_are_cut_out_as_roi_align_does(aligned):
    masks, _ = disks()
    boxes, index = np.float32([[4, 3, 33, 40], [30.5, 20, 50, 45], [-3, -3, 70, 50]]), np.array([0, 1, 2])
    got = cut_out(masks, None, boxes, index, 14, aligned=aligned, max_samples=6)
    align = jax.jit(
        partial(ops.roi_align, output_size=14, spatial_scale=1.0, sampling_ratio=0, aligned=aligned, max_samples=6)
    )
    for i, n in enumerate(index):
        expected = align(masks[n, ..., None].astype(np.float32), boxes[i : i + 1])
        np.testing.assert_allclose(np.asarray(got)[i], np.asarray(expected)[0, ..., 0], atol=1e-5)


def test_masks_in_boxes_are_cut_out_as_whole_ones():
    """To the blur of cells of half a pixel."""
    masks, own = disks()
    boxes, index = np.concatenate([own, own + np.float32([3, -4, 6, 2])]), np.tile(np.arange(3), 2)
    whole = cut_out(masks, None, boxes, index, 14, aligned=True)
    boxed = cut_out(crop_masks(masks, own, 56), own, boxes, index, 14, aligned=True)
    assert np.abs(np.asarray(whole) - np.asarray(boxed)).mean() < 0.02


def test_cut_out_under_jit_and_vmap_and_from_nothing():
    masks, own = disks()
    cut = jax.jit(jax.vmap(lambda m, b, at: ops.crop_masks(m, None, b, at, 7, aligned=True)))
    got = np.asarray(cut(np.stack([masks, masks * 0]), np.stack([own] * 2), np.tile(np.arange(3), (2, 1))))
    assert (got[0].mean((1, 2)) > 0.7).all()
    assert not got[1].any()
    nowhere = np.zeros((1, 4), np.float32)
    empty = cut_out(np.zeros((1, 28, 28), np.float32), nowhere, own, np.zeros(3, int), 7, aligned=True)
    assert not np.any(empty)


def test_what_does_not_fit_is_told():
    with pytest.raises(JaxsegError, match="expected"):
        ops.paste_masks(np.ones((2, 28, 28)), BOXES, SIZE)
    with pytest.raises(JaxsegError, match="expected"):
        ops.crop_masks(np.ones((2, 28)), None, BOXES, np.zeros(5, int), 7, aligned=True)
