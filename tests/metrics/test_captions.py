"""Dense captioning's average precision, against DenseCap's evaluator written plainly, and METEOR by hand."""

import numpy as np
import pytest

from jaxseg.metrics.captions import IOUS, METEORS, caption_scores, merged_regions, meteor
from jaxseg.metrics.precision import average_precision

WORDS = ("a", "small", "large", "red", "blue", "star", "disk", "on", "grass", "water")


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = lambda x: (x[2] - x[0]) * (x[3] - x[1])
    return w * h / (area(a) + area(b) - w * h)


def random_images(seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(6):
        corner = rng.uniform(0, 60, (5, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (5, 2))], axis=1)
        boxes[4] = boxes[0] + 1  # nearly the same region, told again
        captions = [" ".join(rng.choice(WORDS, 5)) for _ in boxes]
        found = []
        for _ in range(9):
            n = rng.integers(0, 5)
            said = captions[n].split()
            said = [w if rng.random() < 0.6 else str(rng.choice(WORDS)) for w in said]
            found.append((float(rng.random()), boxes[n] + rng.normal(0, 4, 4), " ".join(said)))
        images.append((found, (boxes, captions)))
    return images


def plainly(images):
    """DenseCap's eval_utils.lua."""
    records, count = [], 0
    for found, (boxes, captions) in images:
        merged, references = merged_regions(boxes, captions)
        count += len(merged)
        used = set()
        for score, box, caption in sorted(found, key=lambda f: -f[0]):
            overlaps = [iou(box, m) for m in merged]
            best = int(np.argmax(overlaps))
            ok = overlaps[best] > 0 and best not in used
            used |= {best} if ok else set()
            records.append((score, ok, overlaps[best], meteor(caption, references[best])))
    records.sort(key=lambda r: -r[0])
    precisions = []
    for least in IOUS:
        for told in METEORS:
            tp = np.cumsum([ok and o >= least and m >= told for _, ok, o, m in records])
            recall, precision = tp / count, tp / np.arange(1, len(records) + 1)
            at = [max([p for r, p in zip(recall, precision) if r >= t], default=0) for t in np.arange(101) / 100]
            precisions.append(np.mean(at))
    return np.mean(precisions)


@pytest.mark.parametrize("seed", range(5))
def test_as_the_evaluator_of_densecap(seed):
    images = random_images(seed)
    scores = caption_scores(images)
    assert scores["caption_map"] == pytest.approx(plainly(images), abs=1e-9)
    assert 0 < scores["caption_map"] < scores["region_map"] + 1e-9 < 1


def test_the_truth_is_found_and_told():
    images = [([(0.9, box, caption) for box, caption in zip(*truth)], truth) for _, truth in random_images(0)]
    images = [(found[:4], (truth[0][:4], truth[1][:4])) for found, truth in images]
    scores = caption_scores(images)
    assert scores["caption_map"] == scores["region_map"] == scores["exact"] == 1
    assert scores["meteor"] > 0.99
    assert np.isnan(caption_scores([([], (np.zeros((0, 4)), []))])["caption_map"])
    assert caption_scores([([], images[0][1])])["caption_map"] == 0


def test_regions_that_are_one_are_merged():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [40, 40, 50, 50]], float)
    merged, references = merged_regions(boxes, ["a star", "one star", "a disk"])
    np.testing.assert_allclose(merged, [[0, 0, 10, 10.5], [40, 40, 50, 50]])
    assert references == [("a star", "one star"), ("a disk",)]


def test_average_precision_by_hand():
    right = np.array([True, False, True])
    assert average_precision(right, ~right, 4, 101) == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert average_precision(np.zeros(0, bool), np.zeros(0, bool), 3, 101) == 0


def test_meteor_by_hand():
    """Precision and recall 1, one chunk of four: ``1 - 0.5 (1 / 4)^3``; stems count."""
    assert meteor("a small red star", ("a small red star",)) == pytest.approx(1 - 0.5 / 64)
    assert meteor("a small red stars", ("a blue disk", "a small red star")) == pytest.approx(1 - 0.5 / 64)
    # Two of four words, in two chunks: F = P R / (0.9 P + 0.1 R) = 0.5, penalty 0.5.
    assert meteor("a tiny red moon", ("a small red star",)) == pytest.approx(0.5 * (1 - 0.5))
    assert meteor("", ("a star",)) == 0
