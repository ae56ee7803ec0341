"""Masks as cutouts: the same pixels, boxes and crops as whole masks give."""

import logging

import cv2
import numpy as np
import pytest

from jaxseg.data import Augment, Cutouts, Resize, Shapes, crop_masks, pad_instances, tight_boxes
from jaxseg.data import instances as instances_module
from jaxseg.data.image_labels import select_instances
from jaxseg.data.warp import Warp, affine, compose, elastic_shift, warp_labels, warp_masks
from jaxseg.types import JaxsegError


def blobs(rng, count, height, width):
    """Random overlapping ellipses, one of them empty, one that fills the image."""
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks[2:]:
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(0, width // 3)), int(rng.integers(0, height // 3)))
        cv2.ellipse(mask, centre, axes, int(rng.integers(0, 180)), 0, 360, 1, -1)
    masks[1] = 1
    return masks.astype(bool)


def any_warp(rng, height, width):
    size = (int(rng.integers(8, 120)), int(rng.integers(8, 120)))
    turn = rng.uniform(-180, 180) if rng.random() < 0.5 else 0
    matrix = compose(
        affine(tx=-width / 2, ty=-height / 2),
        affine(*rng.uniform(0.1, 5, 2), degrees=turn),
        affine(sx=rng.choice([-1, 1]), tx=rng.uniform(-20, 120), ty=rng.uniform(-20, 120)),
    )
    shift = elastic_shift(size, rng.uniform(0.5, 8), rng) if rng.random() < 0.4 else None
    return Warp(matrix, size, shift)


@pytest.mark.parametrize("seed", range(60))
def test_warped_cutouts_are_the_whole_masks_warped_one_by_one(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(5, 90, 2))
    masks = blobs(rng, 6, height, width)
    warp = any_warp(rng, height, width)
    want = np.stack([warp_labels(mask.view(np.uint8), warp, fill=0) for mask in masks]).astype(bool)
    moved = warp_masks(Cutouts.of(masks), warp)
    assert isinstance(moved, Cutouts)
    np.testing.assert_array_equal(moved.whole(), want)
    np.testing.assert_array_equal(warp_masks(masks, warp), want)
    np.testing.assert_array_equal(moved.boxes(), tight_boxes(want))
    assert sum(b.size for b in moved.bitmaps) == sum(np.prod(b[2:] - b[:2]) for b in tight_boxes(want))


def test_they_are_what_the_whole_masks_are():
    masks = blobs(np.random.default_rng(0), 7, 40, 50)
    cutouts = Cutouts.of(masks)
    assert cutouts.shape == masks.shape
    np.testing.assert_array_equal(cutouts.whole(), masks)
    for rows in (np.array([5, 0, 3]), np.arange(7) % 2 == 0, slice(2, 5), np.zeros(0, int), [1, 1]):
        np.testing.assert_array_equal(cutouts[rows].whole(), masks[rows])
    for one, mask in zip(cutouts, masks, strict=True):
        np.testing.assert_array_equal(one, mask)
    np.testing.assert_array_equal(cutouts[-1], masks[-1])
    rows, columns = np.nonzero(masks[4])
    assert cutouts.boxes()[4].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert cutouts.boxes()[0].tolist() == [0, 0, 0, 0]
    loose = Cutouts((4, 5), np.array([[1, 1]]), [np.array([[0, 0, 0], [0, 1, 0]], bool)])
    assert loose.boxes().tolist() == [[2, 2, 3, 3]]
    assert Cutouts.of(np.zeros((0, 4, 5), bool)).whole().shape == (0, 4, 5)


def test_bitmaps_must_lie_in_the_image():
    with pytest.raises(JaxsegError, match=r"bitmap 0 .* at x=3, y=0, .*4x5"):
        Cutouts((4, 5), np.array([[3, 0]]), [np.ones((2, 3), bool)])
    with pytest.raises(JaxsegError, match="2 corners for 1 bitmaps"):
        Cutouts((4, 5), np.zeros((2, 2)), [np.ones((2, 3), bool)])


@pytest.mark.parametrize("side", [7, 28])
def test_crops_are_cv2s_of_the_whole_mask(side):
    rng = np.random.default_rng(side)
    masks = blobs(rng, 8, 70, 90)
    corners = rng.uniform(-10, 60, (8, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 80, (8, 2))], 1).astype(np.float32)
    crops = crop_masks(Cutouts.of(masks), boxes, side)
    np.testing.assert_array_equal(crops, crop_masks(masks, boxes, side))
    for crop, mask, (x1, y1, x2, y2) in zip(crops, masks, boxes.astype(np.float64)):
        fold_x, fold_y = (max(1, int(np.ceil(length / side))) for length in (x2 - x1, y2 - y1))
        w, h = side * fold_x, side * fold_y
        step_x, step_y = (x2 - x1) / w, (y2 - y1) / h  # cv2 interpolates between pixel centres at whole numbers
        back = np.array([[step_x, 0, x1 + step_x / 2 - 0.5], [0, step_y, y1 + step_y / 2 - 0.5]])
        fine = cv2.warpAffine(mask.astype(np.float32), back, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        np.testing.assert_allclose(crop, fine.reshape(side, fold_y, side, fold_x).mean((1, 3)), atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_samples_go_through_transforms_alike(seed):
    whole = Shapes(length=8, size=(72, 96))[seed]
    cut = {**whole, "instances": {**whole["instances"], "masks": Cutouts.of(whole["instances"]["masks"])}}
    augment = Augment((64, 80), scale=(0.7, 2), rotate=20 * (seed % 2), elastic=3 * (seed % 3))
    for transform in (augment, Resize((50, 70), mode="pad")):
        a, b = (transform(s, np.random.default_rng(seed))["instances"] for s in (whole, cut))
        assert isinstance(b["masks"], Cutouts)
        assert not isinstance(a["masks"], Cutouts)
        for key in ("boxes", "classes", "keypoints"):
            np.testing.assert_array_equal(a[key], b[key])
        for side in (None, 14):
            p, q = pad_instances(a, 3, mask_side=side), pad_instances(b, 3, mask_side=side)
            assert p.keys() == q.keys()
            for key in p:
                np.testing.assert_array_equal(p[key], q[key])
    rows = np.array([0])
    np.testing.assert_array_equal(
        select_instances(cut["instances"], rows)["masks"].whole(), whole["instances"]["masks"][rows]
    )


def test_what_has_no_room_is_told_once(caplog, monkeypatch):
    monkeypatch.setattr(instances_module, "_TOLD", set())
    boxes = np.array([[0, 0, 1, 1], [0, 0, 3, 3], [0, 0, 2, 2]], np.float32)
    with caplog.at_level(logging.WARNING, "jaxseg"):
        for _ in range(3):
            padded = pad_instances({"boxes": boxes, "classes": np.array([1, 2, 3], np.int32)}, 2)
        pad_instances({"boxes": boxes, "classes": np.array([1, 2, 3], np.int32)}, 3)
    assert padded["classes"].tolist() == [2, 3]
    assert len(caplog.records) == 1
    assert "3 instances and there is room for 2: the 1 with" in caplog.text
