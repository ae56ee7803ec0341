"""The drawn data set: the same everywhere, consistent in itself, and not to be told by colour."""

import hashlib

import numpy as np
import pytest

from jaxseg.data import Shapes, tight_boxes
from jaxseg.types import JaxsegError


def fingerprint(sample):
    instances = sample["instances"]
    parts = [sample["image"], sample["label"], instances["boxes"], instances["masks"], instances["classes"]]
    parts.append(np.round(instances["keypoints"] * 16).astype(np.int32))
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()[:16]


@pytest.fixture(scope="module")
def samples():
    source = Shapes(length=200, size=(64, 80))
    return [source[i] for i in range(200)]


def test_samples_follow_from_seed_split_and_index_alone():
    a, b = Shapes(length=10), Shapes(length=50)
    assert fingerprint(a[7]) == fingerprint(b[7])
    others = [a[8], Shapes("val")[7], Shapes(seed=1)[7]]
    assert len({fingerprint(s) for s in [a[7], *others]}) == 4


def test_the_parts_of_a_sample_agree(samples):
    source = Shapes(length=1)
    stuff = len(source.classes) - len(source.things)
    for sample in samples:
        label, instances = sample["label"], sample["instances"]
        masks, points = instances["masks"], instances["keypoints"]
        assert label.shape == sample["image"].shape[:2] == (64, 80)
        assert label.max() < len(source.classes)
        assert masks.sum(0).max(initial=0) <= 1
        np.testing.assert_array_equal(instances["boxes"], tight_boxes(masks))
        for mask, kind, keypoints in zip(masks, instances["classes"], points):
            assert (label[mask] == stuff + kind - 1).all()
            for x, y, seen in keypoints[1:]:  # all but the centre, which in a ring is a hole
                at = masks[:, int(y), int(x)] if seen else None
                assert seen == 0 or mask[int(y), int(x)] == (seen == 2)
                assert seen != 1 or at is not None
        boxes_hold = masks.any(0)
        assert (label[boxes_hold] >= stuff).all()


def test_every_class_visibility_and_count_occurs(samples):
    kinds = np.concatenate([s["label"].ravel() for s in samples])
    assert (np.bincount(kinds, minlength=8) / kinds.size > 0.015).all()
    seen = np.concatenate([s["instances"]["keypoints"][..., 2].ravel() for s in samples])
    assert set(seen.tolist()) == {0.0, 1.0, 2.0}
    assert {len(s["instances"]["classes"]) for s in samples} >= {2, 3, 4}


def test_captions_tell_what_is_there(samples):
    for sample in samples:
        words = sample["caption"].split()
        assert words[-2] == "on"
        assert words[-1] in ("grass", "water", "brick")
        for phrase, kind in zip(sample["instances"]["captions"], sample["instances"]["classes"]):
            *_, thing, on, ground = phrase.split()
            assert (thing, on) == (Shapes().things[kind - 1], "on")
            assert ground in Shapes().stuff
            assert set(phrase.split()) <= set(Shapes().words)


def test_captions_tell_the_ground_under_a_thing():
    """It is mostly the stuff of which most is seen around the thing."""
    source = Shapes("val", count=(1, 1), length=60)
    right = []
    for i in range(len(source)):
        sample = source[i]
        for box, caption in zip(sample["instances"]["boxes"].astype(int), sample["instances"]["captions"]):
            around = sample["label"][max(box[1] - 2, 0) : box[3] + 2, max(box[0] - 2, 0) : box[2] + 2]
            counts = [np.count_nonzero(around == k) for k in range(len(source.stuff))]
            right.append(caption.endswith(f" on {source.stuff[np.argmax(counts)]}"))
    assert np.mean(right) > 0.8


@pytest.mark.parametrize(
    ("options", "said"),
    [({"split": "test"}, "'train'"), ({"size": (16, 64)}, "32x32"), ({"length": 0}, "length")],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(JaxsegError, match=said):
        Shapes(**options)


def miou(predicted, truth, classes):
    table = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
    union = table.sum(0) + table.sum(1) - np.diag(table)
    return float(np.mean(np.diag(table)[union > 0] / union[union > 0]))


def pixels_and_labels(source):
    samples = [source[i] for i in range(len(source))]
    pixels = np.concatenate([s["image"].reshape(-1, 3) for s in samples])
    return pixels, np.concatenate([s["label"].ravel() for s in samples]).astype(np.int64)


def test_colour_alone_does_not_tell_the_classes():
    pixels, truth = pixels_and_labels(Shapes(length=400))
    held, labels = pixels_and_labels(Shapes("val", length=60))
    most = np.full(labels.shape, np.bincount(truth).argmax())
    assert miou(most, labels, 8) < 0.1
    means = np.stack([pixels[truth == k].mean(0) for k in range(8)])
    nearest = np.linalg.norm(held[:, None].astype(np.float32) - means, axis=-1).argmin(1)
    assert miou(nearest, labels, 8) < 0.2

    def cell(x):
        return (x.astype(np.int64) // 16) @ (256, 16, 1)

    for weight in (np.ones(8), 1 / np.bincount(truth)):  # likeliest class of each colour; all alike frequent
        table = np.bincount(cell(pixels) * 8 + truth, minlength=4096 * 8).reshape(4096, 8) * weight
        assert miou(table.argmax(1)[cell(held)], labels, 8) < 0.25


# Written down on x86-64, numpy 2.4. Should they differ elsewhere, then published scores do not compare: find out why.
FIRST = {
    ("train", (64, 64)): "695b117d1197f0cd",
    ("val", (64, 64)): "dcc3f9f2f8af65da",
    ("train", (96, 128)): "4d3cb70104df4e24",
}


@pytest.mark.parametrize(("split", "size"), FIRST)
def test_the_first_samples_are_these(split, size):
    source = Shapes(split, size=size)
    whole = hashlib.sha256("".join(fingerprint(source[i]) for i in range(20)).encode()).hexdigest()[:16]
    assert whole == FIRST[split, size]
