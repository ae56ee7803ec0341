"""One map for everything: dots are drawn, warped, and found where the boxes and points say they are."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxseg.data.warp import (
    Warp,
    affine,
    compose,
    elastic_shift,
    invert,
    warp_boxes,
    warp_image,
    warp_keypoints,
    warp_labels,
    warp_masks,
    warp_points,
)

SIZE = (60, 80)


def random_warp(seed, elastic=True):
    rng = np.random.default_rng(seed)
    matrix = compose(
        affine(tx=-40, ty=-30),
        affine(*rng.uniform(0.7, 1.8, 2)),
        affine(sx=rng.choice([-1, 1]), degrees=rng.uniform(-40, 40)),
        affine(tx=rng.uniform(30, 50), ty=rng.uniform(25, 40)),
    )
    shift = elastic_shift(SIZE, 1.0, rng) if elastic and seed % 2 else None
    return Warp(matrix, SIZE, shift)


def centroid(picture):
    """Centre of mass in continuous pixels."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]] + 0.5
    weight = picture / picture.sum()
    return float((x * weight).sum()), float((y * weight).sum())


@pytest.mark.parametrize("seed", range(12))
def test_a_dot_lands_where_its_point_does(seed):
    warp, (x, y) = random_warp(seed), (38, 29)
    image = np.zeros((*SIZE, 3), np.uint8)
    image[y - 3 : y + 3, x - 3 : x + 3] = 255  # centre (38, 29)
    point = warp_points(np.array([[x, y]], np.float32), warp)[0]
    shown = warp_image(image, warp, fill=(0, 0, 0))[..., 0].astype(np.float64)
    # bending shifts the centre of mass of a dot that is not a point
    np.testing.assert_allclose(centroid(shown), point, atol=0.15 if warp.shift is None else 0.3)
    label = warp_labels(image[..., 0], warp, fill=0)
    np.testing.assert_allclose(centroid(label.astype(np.float64)), point, atol=0.4)
    mask = warp_masks(image[None, ..., 0] > 0, warp)[0]
    np.testing.assert_array_equal(mask, label > 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_box_holds_what_it_held(seed):
    warp = random_warp(seed)
    mask = np.zeros((1, *SIZE), bool)
    mask[0, 20:35, 25:50] = True
    box = warp_boxes(np.array([[25, 20, 50, 35]], np.float32), warp)[0]
    rows, columns = np.nonzero(warp_masks(mask, warp)[0])
    assert box[0] - 1 < columns.min()
    assert columns.max() < box[2]
    assert box[1] - 1 < rows.min()
    assert rows.max() < box[3]


def test_upright_boxes_are_exact():
    warp = Warp(compose(affine(2, 3, 5, -7), affine(sx=-1, tx=80)), SIZE)
    box = warp_boxes(np.array([[1, 2, 4, 8]], np.float32), warp)
    assert box.tolist() == [[80 - 13, -1, 80 - 7, 17]]
    assert warp.mirrored
    assert warp.upright


def test_mirror_and_crop_copy_pixels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    mirror = Warp(affine(sx=-1, tx=80), SIZE)
    np.testing.assert_array_equal(warp_image(image, mirror), image[:, ::-1])
    np.testing.assert_array_equal(warp_labels(image[..., 0], mirror), image[:, ::-1, 0])
    crop = Warp(affine(tx=-11, ty=-7), (20, 30))
    np.testing.assert_array_equal(warp_image(image, crop), image[7:27, 11:41])
    np.testing.assert_array_equal(warp_labels(image[..., 0], crop), image[7:27, 11:41, 0])
    moved = warp_image(image, Warp(affine(tx=5, ty=9), (80, 100)), fill=(1, 2, 3))
    np.testing.assert_array_equal(moved[9:69, 5:85], image)
    moved[9:69, 5:85] = 1, 2, 3
    assert (moved == (1, 2, 3)).all()
    away = warp_image(image, Warp(affine(tx=200), SIZE), fill=(1, 2, 3))
    assert (away == (1, 2, 3)).all()


@pytest.mark.parametrize(("h", "w"), [(120, 160), (90, 100), (61, 83)])
def test_enlarging_is_bilinear_with_half_pixel_centres(h, w):
    image = np.random.default_rng(0).random((60, 80, 3), np.float32)
    out = warp_image(image, Warp(affine(w / 80, h / 60), (h, w)))
    np.testing.assert_allclose(out, cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR), atol=0.03)


def test_shrinking_averages_over_area():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    out = warp_image(image, Warp(affine(0.25, 0.5), (30, 20)))
    want = image.reshape(30, 2, 20, 4, 3).mean((1, 3))
    np.testing.assert_allclose(out, want, atol=0.51)
    stripes = np.tile(np.array([0, 255], np.uint8), (60, 40))[..., None].repeat(3, 2)
    turned = warp_image(stripes, Warp(affine(0.3, 0.3, degrees=30, tx=20), (30, 40)), fill=(127, 127, 127))
    assert np.abs(turned.astype(int) - 127).max() < 30  # sampled without averaging they would be black and white


@given(st.integers(0, 10**6), st.sampled_from([np.uint8, np.int32, np.uint16, np.int16]))
@settings(max_examples=60, deadline=None)
def test_no_label_is_invented(seed, dtype):
    labels = np.random.default_rng(seed).choice([0, 3, 7, 200], (30, 40)).astype(dtype)
    out = warp_labels(labels, random_warp(seed))
    assert out.dtype == dtype
    assert set(np.unique(out)) <= {*np.unique(labels), 255}


@pytest.mark.parametrize("seed", range(20))
def test_every_dtype_takes_the_same_pixels(seed):
    labels = np.random.default_rng(seed).integers(0, 250, SIZE)
    warp = random_warp(seed)
    want = warp_labels(labels.astype(np.uint8), warp)
    for dtype in (np.int16, np.uint16, np.int32):
        np.testing.assert_array_equal(warp_labels(labels.astype(dtype), warp), want)
    plain = cv2.warpAffine(labels.astype(np.uint8), _for_cv2(warp.inverse), SIZE[::-1], flags=NEAREST, borderValue=255)
    if warp.shift is None:
        np.testing.assert_array_equal(want, plain)


NEAREST = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP


def _for_cv2(inverse):
    """From our pixel centres, at halves, to cv2's, at whole numbers."""
    return np.concatenate([inverse[:, :2], inverse[:, 2:] + inverse[:, :2] @ [[0.5], [0.5]] - 0.5], axis=1)


@pytest.mark.parametrize("seed", range(0, 12, 2))
def test_image_and_labels_leave_the_source_at_the_same_pixels(seed):
    warp = random_warp(seed, elastic=False)
    white = np.full((*SIZE, 3), 255, np.uint8)
    image = warp_image(white, warp, fill=(0, 0, 0))[..., 0]
    label = warp_labels(np.zeros(SIZE, np.uint8), warp)
    differ = (image > 127) != (label == 0)
    assert differ.mean() < 0.004  # at most single pixels along the border
    upright = Warp(affine(0.731, 1.37, 9.3, 11.8), SIZE)
    image = warp_image(white, upright, fill=(0, 0, 0))[..., 0]
    np.testing.assert_array_equal(image == 255, warp_labels(np.zeros(SIZE, np.uint8), upright) == 0)


def test_reflection_fills_the_image_and_leaves_the_labels_void():
    image = np.random.default_rng(0).integers(1, 256, (6, 8, 3)).astype(np.uint8)
    for warp in (Warp(affine(tx=3, ty=2), (10, 14)), Warp(affine(1.5, 1.5, 3, 2), (12, 16))):
        assert warp_image(image, warp, fill="reflect").min() > 0
        assert warp_labels(image[..., 0], warp)[0, 0] == 255
    out = warp_image(image, Warp(affine(tx=3, ty=2), (10, 14)), fill="reflect")
    np.testing.assert_array_equal(out[2, :3], image[0, 3:0:-1])


@pytest.mark.parametrize("seed", [1, 3, 5, 7])
def test_elastic_shift_has_its_spread_and_its_inverse(seed):
    rng = np.random.default_rng(seed)
    draws = np.stack([elastic_shift((30, 30), 10.0, rng)[[5, 15, 25]][:, [5, 15, 25]] for _ in range(300)])
    np.testing.assert_allclose(draws.std(), 10, rtol=0.06)  # at the nodes
    warp = Warp(affine(), (300, 300), elastic_shift((300, 300), 8.0, rng))
    points = rng.uniform(60, 240, (50, 2)).astype(np.float32)
    landed = warp_points(points, warp)
    x, y = (landed - 0.5).T.astype(np.float32)
    shift = cv2.remap(warp.shift, x[None], y[None], cv2.INTER_LINEAR)[0]
    np.testing.assert_allclose(landed + shift, points, atol=0.1)


def test_matrices():
    m = affine(2, 3, 5, 7, degrees=20)
    np.testing.assert_allclose(compose(m, invert(m)), affine(), atol=1e-12)
    assert compose(affine(tx=1), affine(2, 2)).tolist() == [[2, 0, 2], [0, 2, 0]]
    turned = affine(degrees=90) @ (1, 0, 1)
    np.testing.assert_allclose(turned, [0, 1], atol=1e-12)  # y points down: clockwise as seen


def test_keypoints_change_places_in_a_mirror_and_vanish_outside():
    points = np.array([[[10, 5, 2], [20, 6, 1], [70, 50, 2], [0, 0, 0]]], np.float32)
    mirror = Warp(affine(sx=-1, tx=60), (40, 60))
    out = warp_keypoints(points, mirror, ((0, 1),))
    assert out.tolist() == [[[40, 6, 1], [50, 5, 2], [0, 0, 0], [0, 0, 0]]]
    assert warp_keypoints(points, Warp(affine(), (40, 60)), ((0, 1),))[0, 0].tolist() == [10, 5, 2]
    assert warp_keypoints(np.zeros((0, 4, 3), np.float32), mirror, ()).shape == (0, 4, 3)


def test_empty_instances():
    warp = random_warp(1)
    assert warp_boxes(np.zeros((0, 4), np.float32), warp).shape == (0, 4)
    assert warp_masks(np.zeros((0, *SIZE), bool), warp).shape == (0, *SIZE)


@pytest.mark.parametrize("overlapping", [False, True])
def test_masks_go_each_its_own_way(overlapping):
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 5:30, 5:40] = True
    masks[1, 20 if overlapping else 32 : 50, 10:60] = True
    for seed in range(4):
        warp = random_warp(seed)
        moved = warp_masks(masks, warp)
        assert moved.dtype == bool
        for before, after in zip(masks, moved):
            np.testing.assert_array_equal(after, warp_labels(before.astype(np.uint8), warp, fill=0) == 1)
