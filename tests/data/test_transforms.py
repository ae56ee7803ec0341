"""Samples through Augment, Resize and Pad: all parts stay together."""

import inspect

import numpy as np
import pytest

from jaxseg.data import Augment, Pad, Resize, Shapes, crop_masks, pad_instances, tight_boxes
from jaxseg.data import warp as warp_module
from jaxseg.data.photometric import colour_matrix, jitter, to_float
from jaxseg.types import VOID, JaxsegError

SOURCE = Shapes(length=12, size=(72, 96))
AUGMENTS = {
    "crop": Augment((64, 80), scale=(0.6, 1.7)),
    "fit": Augment((50, 50), scale=(0.8, 1.5), relative="fit"),
    "turned": Augment((64, 80), scale=(0.8, 1.4), rotate=30),
    "bent": Augment((64, 80), scale=(0.9, 1.2), rotate=10, elastic=2),
    "reflected": Augment((64, 80), scale=(0.5, 0.8), fill="reflect"),
}


def run(transform, index=0, seed=0):
    return transform(SOURCE[index], np.random.default_rng([seed, index]))


@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS)
@pytest.mark.parametrize("index", range(12))
def test_the_parts_stay_together(augment, index):
    before, after = SOURCE[index], run(augment, index)
    instances, stuff = after["instances"], len(SOURCE.classes) - len(SOURCE.things)
    assert after["image"].shape == (*augment.size, 3)
    assert after["image"].dtype == np.float32
    assert 0 <= after["image"].min() <= after["image"].max() <= 1
    assert set(np.unique(after["label"])) <= {*np.unique(before["label"]), VOID}
    assert len({len(v) for k, v in instances.items() if k != "flip_pairs"}) == 1
    tight = tight_boxes(instances["masks"])
    height, width = augment.size
    for mask, kind, box, want in zip(instances["masks"], instances["classes"], instances["boxes"], tight):
        assert (after["label"][mask] == stuff + kind - 1).all()
        np.testing.assert_allclose(box, want, atol=2)  # nearest pixels lose tips thinner than a pixel
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height
    for points, mask in zip(instances["keypoints"], instances["masks"]):
        for x, y, seen in points[1:]:
            if seen == 2:  # seen points lie on their thing, give or take the rounding of nearest pixels
                near = mask[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
                assert near.any()


def test_the_same_generator_gives_the_same_sample():
    a, b = run(AUGMENTS["bent"]), run(AUGMENTS["bent"])
    np.testing.assert_array_equal(a["image"], b["image"])
    assert not np.array_equal(a["image"], run(AUGMENTS["bent"], seed=1)["image"])


def test_matrix_leads_back():
    sample = run(Augment((64, 80), scale=(1.3, 1.3), flip=True, rotate=20), 3)
    y, x = np.nonzero(sample["label"] != VOID)
    linear, offset = sample["matrix"][:, :2], sample["matrix"][:, 2]
    back = (np.stack([x, y], 1) + 0.5 - offset) @ np.linalg.inv(linear).T
    column, row = np.clip(back.astype(int), 0, [95, 71]).T
    agree = SOURCE[3]["label"][row, column] == sample["label"][y, x]
    assert agree.mean() > 0.99


def test_zoom_of_one_copies_pixels():
    sample = run(Augment((72, 96), scale=(1, 1), flip=False))
    np.testing.assert_array_equal(sample["image"], to_float(SOURCE[0]["image"]))
    np.testing.assert_array_equal(sample["label"], SOURCE[0]["label"])


def test_crops_reach_everywhere_and_zooms_cover_their_range():
    augment, corners, zooms, mirrored = Augment((40, 40), scale=(0.5, 2.0)), [], [], 0
    rng = np.random.default_rng(0)
    for _ in range(400):
        warp = augment.warp((72, 96), rng)
        zooms.append(abs(warp.matrix[1, 1]))
        mirrored += warp.mirrored
    for _ in range(400):
        corners.append(Augment((70, 90), scale=(1, 1), flip=False).warp((72, 96), rng).matrix[:, 2])
    assert {tuple(c) for c in np.array(corners).tolist()} == {(-x, -y) for x in range(7) for y in range(3)}
    assert 0.49 < min(zooms) < 0.55
    assert 1.9 < max(zooms) < 2.01
    assert 0.4 < np.mean(np.array(zooms) < 1) < 0.6
    assert 150 < mirrored < 250


def test_centre_crop():
    augment = Augment((40, 50), scale=(1, 1), crop="centre", flip=False)
    matrix = augment.warp((72, 96), np.random.default_rng(0)).matrix
    assert matrix[:, 2].tolist() == [-23, -16]


def test_instances_that_leave_are_dropped():
    sample = {
        "image": np.zeros((20, 20, 3), np.uint8),
        "instances": {
            "boxes": np.array([[0, 0, 4, 4], [15, 15, 20, 20], [4, 4, 12, 12]], np.float32),
            "classes": np.array([1, 2, 3], np.int32),
            "crowd": np.array([False, True, True]),
        },
    }
    out = Augment((10, 10), scale=(1, 1), crop="centre", flip=False)(sample, np.random.default_rng(0))
    assert out["instances"]["boxes"].tolist() == [[0, 0, 7, 7]]
    assert out["instances"]["classes"].tolist() == [3]
    assert out["instances"]["crowd"].tolist() == [True]


def test_mirrored_keypoints_need_pairs():
    sample = SOURCE[0]
    del sample["instances"]["flip_pairs"]

    def eight_times(augment):
        return [augment(sample, np.random.default_rng(k)) for k in range(8)]

    with pytest.raises(JaxsegError, match=r"flip_pairs=\(\(left, right\)"):
        eight_times(Augment((72, 96)))
    eight_times(Augment((72, 96), flip_pairs=((2, 3),)))
    eight_times(Augment((72, 96), flip=False))


def test_mirroring_twice_is_the_identity():
    mirror = warp_module.Warp(warp_module.affine(sx=-1, tx=96), (72, 96))
    once = warp_module.warp_keypoints(SOURCE[0]["instances"]["keypoints"], mirror, SOURCE.flip_pairs)
    twice = warp_module.warp_keypoints(once, mirror, SOURCE.flip_pairs)
    np.testing.assert_allclose(twice, SOURCE[0]["instances"]["keypoints"], atol=1e-4)


@pytest.mark.parametrize("size", [(36, 48), (100, 50), (72, 96), (200, 200)])
def test_resize(size):
    stretched, padded = run(Resize(size)), run(Resize(size, mode="pad"))
    assert stretched["size"].tolist() == list(size)
    assert (stretched["label"] != VOID).all()
    assert stretched["original"].tolist() == [72, 96]
    h, w = padded["size"]
    assert (h, w) == (min(size[0], round(72 * w / 96)), w) or (h, w) == (h, min(size[1], round(96 * h / 72)))
    assert (padded["label"][:h, :w] != VOID).all()
    assert (padded["label"] == VOID).sum() == size[0] * size[1] - h * w
    if h < size[0]:
        np.testing.assert_allclose(padded["image"][-1, 0], np.array(warp_module.MEAN_COLOUR) / 255, atol=1e-6)
    scale = np.array([w / 96, h / 72] * 2)
    kept = len(padded["instances"]["boxes"])
    if kept == len(SOURCE[0]["instances"]["boxes"]):
        np.testing.assert_allclose(padded["instances"]["boxes"], SOURCE[0]["instances"]["boxes"] * scale, rtol=1e-5)


def test_boxes_find_their_way_back():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(20, 300, 2)
        corner = rng.uniform(0, 0.5, 2) * (width, height)
        boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, 2) * (width, height)])[None]
        sample = {
            "image": np.zeros((height, width, 3), np.uint8),
            "instances": {"boxes": boxes.astype(np.float32), "classes": np.ones(1, np.int32)},
        }
        out = Resize((128, 160), mode="pad")(sample)
        (sx, _, tx), (_, sy, ty) = out["matrix"]
        back = (out["instances"]["boxes"] - (tx, ty, tx, ty)) / (sx, sy, sx, sy)
        np.testing.assert_allclose(back, boxes, atol=1e-3)


def test_pad():
    out = run(Pad(multiple=32))
    assert out["image"].shape == (96, 96, 3)
    assert out["size"].tolist() == [72, 96]
    np.testing.assert_array_equal(out["image"][:72], to_float(SOURCE[0]["image"]))
    assert (out["label"][72:] == VOID).all()
    assert run(Pad(size=(80, 100)))["image"].shape == (80, 100, 3)
    with pytest.raises(JaxsegError, match=r"shapes-train-0-000000: 72x96 pixels do not fit .*Resize"):
        run(Pad(size=(64, 100)))
    with pytest.raises(JaxsegError, match="one of the two"):
        Pad()


def test_wrong_options_and_sizes_are_refused():
    with pytest.raises(JaxsegError, match="scale"):
        Augment((8, 8), scale=(2.0, 0.5))
    with pytest.raises(JaxsegError, match="size"):
        Augment((0, 8))
    bad = {"image": np.zeros((4, 4, 3), np.uint8), "label": np.zeros((5, 5), np.uint8), "name": "a.png"}
    with pytest.raises(JaxsegError, match=r"a\.png: the image has 4x4 pixels and its label map 5x5"):
        Resize((8, 8))(bad)


def test_no_transform_can_be_told_to_interpolate_labels():
    for function in (warp_module.warp_labels, warp_module.warp_masks):
        assert set(inspect.signature(function).parameters) <= {"labels", "masks", "warp", "fill"}


def test_colours_touch_the_image_alone():
    plain, coloured = (
        run(Augment((64, 80), brightness=b, contrast=b, saturation=b, hue=b / 4, noise=b / 10)) for b in (0, 0.4)
    )
    assert not np.array_equal(plain["image"], coloured["image"])
    np.testing.assert_array_equal(plain["label"], coloured["label"])
    np.testing.assert_array_equal(plain["instances"]["boxes"], coloured["instances"]["boxes"])


def test_colour_matrix_term_by_term():
    rgb = np.array([0.6, 0.3, 0.1])
    grey = rgb @ (0.299, 0.587, 0.114)

    def change(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
        return colour_matrix(brightness, contrast, saturation, hue, mean=0.4) @ (*rgb, 1)

    np.testing.assert_allclose(change(), rgb, atol=1e-12)
    np.testing.assert_allclose(change(brightness=1.5), rgb * 1.5)
    np.testing.assert_allclose(change(contrast=2.0), (rgb - 0.4) * 2 + 0.4)
    np.testing.assert_allclose(change(saturation=0.0), [grey] * 3)
    np.testing.assert_allclose(change(hue=1.0), rgb, atol=1e-12)
    turned = change(hue=0.3)
    np.testing.assert_allclose(turned @ (0.299, 0.587, 0.114), grey, atol=2e-3)  # a turn of hue keeps the grey
    assert np.abs(turned - rgb).max() > 0.1


def test_jitter_draws_its_range():
    image = np.full((8, 8, 3), 0.5, np.float32)
    rng = np.random.default_rng(0)
    levels = [jitter(image, rng, brightness=0.4)[0, 0, 0] for _ in range(300)]
    assert 0.3 <= min(levels) < 0.31
    assert 0.69 < max(levels) <= 0.7 + 1e-6
    noisy = jitter(np.full((100, 100, 3), 0.5, np.float32), rng, noise=0.05)
    np.testing.assert_allclose(noisy.std(), 0.05, rtol=0.03)


def test_to_float_reaches_both_ends():
    assert to_float(np.array([0, 255], np.uint8)).tolist() == [0.0, 1.0]


def test_crop_masks():
    mask = np.zeros((1, 40, 40), bool)
    mask[0, 8:24, 4:36] = True
    np.testing.assert_allclose(crop_masks(mask, np.array([[4, 8, 36, 24]], np.float32), 8), 1, atol=1e-6)
    half = crop_masks(mask, np.array([[4, 8, 36, 40]], np.float32), 8)[0]
    np.testing.assert_allclose(half, np.repeat([1, 0], 4)[:, None] * np.ones(8), atol=0.13)
    assert half.mean() == pytest.approx(0.5, abs=0.01)
    assert not crop_masks(mask, np.zeros((1, 4), np.float32), 8).any()


def test_pad_instances():
    instances = SOURCE[0]["instances"]
    count = len(instances["classes"])
    padded = pad_instances(instances, count + 3)
    assert padded["valid"].tolist() == [True] * count + [False] * 3
    np.testing.assert_array_equal(padded["masks"][:count], instances["masks"])
    assert not padded["boxes"][count:].any()
    assert "captions" not in padded
    boxes = np.array([[0, 0, 1, 1], [0, 0, 9, 9], [0, 0, 5, 5]], np.float32)
    few = pad_instances({"boxes": boxes, "classes": np.array([1, 2, 3], np.int32)}, 2)
    assert few["classes"].tolist() == [2, 3]
    none = pad_instances({"boxes": [], "classes": np.zeros(0, np.int32), "masks": np.zeros((0, 8, 8), bool)}, 2)
    assert none["valid"].tolist() == [False, False]
    assert none["masks"].shape == (2, 8, 8)
