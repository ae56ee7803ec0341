"""Crops round objects and windows round pixels."""

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.data import (
    InMemory,
    ObjectCrop,
    PixelWindow,
    Resize,
    Shapes,
    best_proposals,
    edge_proposals,
    regions,
    train_batches,
)
from jaxseg.data.proposals import extend_boxes
from jaxseg.metrics.precision import box_iou
from jaxseg.types import VOID, JaxsegError


def rng(seed=0):
    return np.random.default_rng(seed)


def two_squares():
    """A square of class 1 and one of class 2, of colours of their own, and void beside them."""
    label = np.zeros((100, 120), np.uint8)
    label[20:40, 30:50], label[60:90, 80:110], label[:5, :5] = 1, 2, VOID
    image = np.zeros((100, 120, 3), np.uint8)
    image[label == 1], image[label == 2] = (200, 0, 0), (0, 200, 0)
    return {"image": image, "label": label, "name": "squares"}


def test_regions_are_scipys():
    label = rng().integers(0, 3, (40, 50)).astype(np.uint8)
    found = regions(label, (0, 2), min_pixels=4)
    wanted = []
    for kind in (0, 2):
        ids, count = ndimage.label(label == kind, np.ones((3, 3)))
        wanted += [(kind, (ids == i).tobytes()) for i in range(1, count + 1) if (ids == i).sum() >= 4]
    assert len(wanted) > 5
    assert sorted((int(k), m.tobytes()) for k, m in zip(found["classes"], found["masks"])) == sorted(wanted)
    for mask, (x1, y1, x2, y2) in zip(found["masks"], found["boxes"].astype(int)):
        assert mask[y1:y2, x1:x2].sum() == mask.sum()
        assert mask[y1:y2, x1].any()
        assert mask[y1, x1:x2].any()
    assert regions(label, ())["masks"].shape == (0, 40, 50)


def test_stage_one_keeps_the_object_alone_and_centred():
    crop = ObjectCrop(side=60, scaled=60, extend=4.0)  # so large that it reaches the other square too
    seen = set()
    for seed in range(20):
        out = crop(two_squares(), rng(seed))
        assert out["image"].shape == (60, 60, 3)
        kinds = set(np.unique(out["label"])) - {VOID}
        assert len(kinds - {0}) == 1
        (kind,) = kinds - {0}
        seen.add(int(kind))
        rows, columns = np.nonzero(out["label"] == kind)
        assert abs(rows.mean() - 29.5) < 0.6
        assert abs(columns.mean() - 29.5) < 0.6
        assert abs(np.sqrt(len(rows)) - 15) < 1.1  # a side of 60 / extend
        own = out["image"][rows, columns, kind - 1]  # image and label stay together, but for mixtures at the border
        assert own.min() > 0.15
        assert own.mean() > 0.65
    assert seen == {1, 2}


def test_small_objects_are_seen_from_as_far_as_min_side_says():
    for min_side, share in ((0, 20 / 40), (30, 20 / 40), (80, 20 / 80)):  # the square has a side of 20
        crop = ObjectCrop(side=60, scaled=60, extend=2.0, classes=(1,), min_side=min_side)
        rows, columns = np.nonzero(crop(two_squares(), rng())["label"] == 1)
        np.testing.assert_allclose([np.ptp(rows) + 1, np.ptp(columns) + 1], 60 * share, atol=1.1)
        np.testing.assert_allclose([rows.mean(), columns.mean()], 29.5, atol=0.6)


def test_stage_one_leaves_the_other_objects_of_the_class_out():
    sample = two_squares()
    sample["label"][sample["label"] == 2] = 1
    out = ObjectCrop(side=200, scaled=200, extend=8.0)(sample, rng())
    assert ndimage.label(out["label"] == 1)[1] == 1
    everything = ObjectCrop(side=200, scaled=200, extend=8.0, background=None, classes=(1,))(sample, rng())
    assert ndimage.label(everything["label"] == 1)[1] == 2


def test_the_window_is_at_a_random_place_and_mirrored():
    """250 -> 224 in the paper: the object's middle moves by up to 13 pixels either way."""
    crop = ObjectCrop(side=40, scaled=52, extend=1.5, classes=(1,))
    sample = two_squares()
    sample["image"][20:40, 30:34] = (0, 0, 200)  # the left part of the square
    middles, sides = [], []
    for seed in range(60):
        out = crop(sample, rng(seed))
        rows, columns = np.nonzero(out["label"] == 1)
        middles.append((rows.min() + rows.max(), columns.min() + columns.max()))
        blue = np.nonzero(out["image"][..., 2] > 0.5)[1]
        sides.append(len(blue) > 0 and blue.mean() < columns.mean())
    spread = np.ptp(np.array(middles) / 2, axis=0)
    assert (spread > 6).all()
    assert (spread <= 12).all()
    assert 15 < sum(sides) < 45


def test_stage_two_follows_proposals_that_overlap_and_keeps_all_labels():
    good, poor = [26.0, 16.0, 50.0, 40.0], [0.0, 0.0, 30.0, 30.0]
    asked = []

    def proposals(image):
        asked.append(image.shape)
        return np.float32([poor, good]), np.float32([9, 1])

    crop = ObjectCrop(stage=2, proposals=proposals, side=72, scaled=72, extend=5.0)
    out = crop(two_squares(), rng(1))
    assert asked == [(100, 120, 3)]
    assert set(np.unique(out["label"])) >= {0, 1, 2}
    back = np.linalg.inv(np.vstack([out["matrix"], [0, 0, 1]])) @ [36, 36, 1]
    np.testing.assert_allclose(back[:2], [38, 28], atol=1e-3)  # the good proposal's middle
    nothing = ObjectCrop(stage=2, proposals=lambda image: (np.zeros((0, 4)), np.zeros(0)), side=60, scaled=60)
    assert set(np.unique(nothing(two_squares(), rng())["label"])) & {1, 2}  # falls back on the objects


def test_instances_come_before_regions_and_empty_images_pass():
    sample = two_squares()
    sample["label"][:] = 1  # one region; the instances know better
    masks = np.zeros((1, 100, 120), bool)
    masks[0, 20:40, 30:50] = True
    sample["instances"] = {"boxes": np.float32([[30, 20, 50, 40]]), "classes": np.array([3]), "masks": masks}
    out = ObjectCrop(side=60, scaled=60, extend=2.0)(sample, rng())
    assert "instances" not in out
    assert abs((out["label"] == 1).mean() - 0.25) < 0.02
    empty = {"image": np.zeros((30, 40, 3), np.uint8), "label": np.zeros((30, 40), np.uint8)}
    assert ObjectCrop(side=60, scaled=60)(empty, rng())["image"].shape == (60, 60, 3)


def test_rare_classes_are_drawn_as_often():
    label = np.zeros((60, 60), np.uint8)
    for i in range(9):
        label[6 * i : 6 * i + 4, :4] = 1
    label[50:54, 50:54] = 2
    crop = ObjectCrop(side=16, scaled=16, min_pixels=4)
    drawn = [
        crop({"image": np.zeros((60, 60, 3), np.uint8), "label": label}, rng(s))["label"][8, 8] == 2 for s in range(200)
    ]
    assert 75 < sum(drawn) < 125


def test_windows_are_the_mirrored_image_round_a_pixel_of_the_class():
    sample = two_squares()
    sample["image"] = rng().integers(0, 255, (100, 120, 3)).astype(np.uint8)
    padded = np.pad(sample["image"], ((60, 60), (60, 60), (0, 0)), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (121, 121), (0, 1))
    counts = np.zeros(3, int)
    for seed in range(60):
        out = PixelWindow(121, flip=False)(sample, rng(seed))
        assert (out["label"] != VOID).sum() == 1
        kind = out["label"][60, 60]
        counts[kind] += 1
        where = np.argwhere((sample["image"] == out["image"][60, 60]).all(-1) & (sample["label"] == kind))
        assert any(np.array_equal(views[r, c].transpose(1, 2, 0), out["image"]) for r, c in where)
    assert counts.min() >= 10  # classes of 1 %, 2.5 % and 96 % of the pixels
    flipped = [PixelWindow(5, turn=True)(sample, rng(s))["image"].shape for s in range(8)]
    assert set(flipped) == {(5, 5, 3)}


def test_a_window_on_an_image_of_one_pixel_and_of_void():
    out = PixelWindow(7)({"image": np.full((1, 1, 3), 9, np.uint8), "label": np.full((1, 1), VOID, np.uint8)}, rng())
    assert (out["image"] == 9).all()
    assert (out["label"] == VOID).all()


def test_crops_and_windows_go_through_the_pipeline():
    source = Shapes(length=6, size=(48, 64))
    for transform, side in (
        (ObjectCrop(stage=2, proposals=edge_proposals, background=None, side=32, scaled=40), 32),
        (PixelWindow(31), 31),
    ):
        batch = next(train_batches(InMemory(source), transform, batch_size=4, seed=0, num_threads=0))
        assert batch["image"].shape == (4, side, side, 3)
        assert batch["image"].dtype == np.float32
        assert batch["image"].max() <= 1
        assert batch["label"].shape == (4, side, side)


def test_edges_propose_the_objects():
    image = np.full((120, 160, 3), 90, np.uint8)
    image[40:80, 60:100] = rng().integers(0, 255, (40, 40, 3))
    boxes, scores = edge_proposals(image)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [160, 120]).all()
    best = boxes[np.argsort(-scores)[:10]]
    truth = np.float32([[60, 40, 100, 80]])
    assert box_iou(best, truth).max() > 0.5
    chosen, valid = best_proposals(boxes, scores, 4, min_side=30)
    assert chosen.shape == (4, 4)
    assert valid.all()
    widths = chosen[:, 2:] - chosen[:, :2]
    np.testing.assert_allclose(widths[:, 0], widths[:, 1], rtol=1e-5)
    assert not best_proposals(boxes, scores, 4, min_side=1000)[1].any()


def test_boxes_against_a_count_of_pixels():
    a, b = np.array([[0, 0, 6, 4], [2, 1, 9, 8]]), np.array([[3, 2, 8, 9], [20, 20, 22, 22], [1, 1, 1, 1]])

    def pixels(box):
        m = np.zeros((30, 30), bool)
        m[box[1] : box[3], box[0] : box[2]] = True
        return m

    wanted = [[(pixels(x) & pixels(y)).sum() / max((pixels(x) | pixels(y)).sum(), 1) for y in b] for x in a]
    np.testing.assert_allclose(box_iou(a, b), wanted)
    np.testing.assert_allclose(extend_boxes(a[:1], 1.5), [[-1.5, -1, 7.5, 5]])
    np.testing.assert_allclose(extend_boxes(a[:1], 1.5, square=True), [[-1.5, -2.5, 7.5, 6.5]])


def test_what_does_not_fit_is_refused():
    with pytest.raises(JaxsegError, match="stage 2 needs"):
        ObjectCrop(stage=2)
    with pytest.raises(JaxsegError, match="does not fit"):
        ObjectCrop(side=224, scaled=200)
    with pytest.raises(JaxsegError, match="odd"):
        PixelWindow(64)


def test_what_is_in_memory_is_read_once_and_prepared():
    reads = []

    class Counted(Shapes):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    source = InMemory(Counted(length=3), Resize((40, 50)))
    assert len(source) == 3
    assert source.classes == Shapes().classes
    first = source[1]
    first.pop("image")
    again = source[1]
    wanted = Resize((40, 50))(Shapes(length=3)[1], rng())
    np.testing.assert_array_equal(again["image"], wanted["image"])
    np.testing.assert_array_equal(again["label"], wanted["label"])
    assert reads == [1]
