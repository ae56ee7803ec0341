"""VOC AP: a table worked by hand, and an oracle written like the devkit."""

import numpy as np
import pytest

from jaxseg.metrics import Truth, voc_metric
from jaxseg.metrics.precision import average_precision
from jaxseg.types import JaxsegError


def as_batch(images):
    """Predictions ``[[(box, class, score), ...], ...]`` as a batch of images of 100x100."""
    count = max(map(len, images))
    found = {
        "boxes": np.zeros((len(images), count, 4), np.float32),
        "scores": np.zeros((len(images), count), np.float32),
        "classes": np.ones((len(images), count), np.int32),
        "valid": np.zeros((len(images), count), bool),
    }
    for b, rows in enumerate(images):
        for d, row in enumerate(rows):
            for key, value in zip(("boxes", "classes", "scores"), row):
                found[key][b, d] = value
            found["valid"][b, d] = True
    batch = {
        "index": np.arange(len(images)),
        "original": np.full((len(images), 2), 100),
        "matrix": np.tile(np.eye(2, 3), (len(images), 1, 1)),
    }
    return found, batch


def truth_of(images, names=("cat", "dog")):
    """Objects ``[[(box, class, difficult), ...], ...]``."""
    annotations = [
        {
            "id": 10 * i + n,
            "image_id": i + 1,
            "category_id": k,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "difficult": hard,
        }
        for i, rows in enumerate(images)
        for n, ((x1, y1, x2, y2), k, hard) in enumerate(rows)
    ]
    content = {"images": [], "annotations": annotations}
    content["categories"] = [{"id": k + 1, "name": n} for k, n in enumerate(names)]
    return Truth(content, tuple(range(1, len(images) + 1)), tuple(range(1, len(names) + 1)))


A, B, C, D = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), (60, 60, 80, 80)
# Three cats and a difficult one. By score: A right, A again wrong, D difficult (nothing), two nowhere wrong, B right;
# C is never found. Precision 1, 1/2, 1/2, 1/3, 1/4, 2/5 at recall 1/3 five times and 2/3.
TRUTH = [[(A, 1, 0), (D, 1, 1)], [(B, 1, 0), (C, 1, 0)]]
FOUND = [
    [(A, 1, 0.9), ((0, 0, 10, 9), 1, 0.8), ((60, 60, 80, 78), 1, 0.7), (B, 1, 0.6)],
    [((70, 70, 90, 90), 1, 0.55), ((20, 0, 30, 6), 1, 0.5), ((20, 5.5, 30, 10), 2, 0.95)],
]


@pytest.mark.parametrize(("points", "ap"), [("all", (1 + 2 / 5) / 3), (11, (4 * 1 + 3 * 2 / 5) / 11)])
def test_the_table_worked_by_hand(points, ap):
    metric = voc_metric(lambda: truth_of(TRUTH), points=points)
    scores = metric.compute(metric.update(metric.init(), *as_batch(FOUND)))
    assert scores["voc_ap"] == pytest.approx(ap)
    assert scores["voc_ap_of"] == {"cat": pytest.approx(ap)}  # the dog that was found is of a class with no object


def test_a_higher_overlap_is_asked_for():
    metric = voc_metric(lambda: truth_of(TRUTH), overlap=0.7, name="voc_ap70")
    scores = metric.compute(metric.update(metric.init(), *as_batch(FOUND)))
    assert scores["voc_ap70"] == pytest.approx(1 / 3)  # B's box had an IoU of 0.6


def oracle(truth, found, number, points, overlap=0.5):
    """VOCevaldet.m, line by line; None where there is nothing to find."""
    rows = sorted(
        ((s, i, box) for i, image in enumerate(found) for box, k, s in image if k == number), key=lambda r: -r[0]
    )
    objects = [[[box, hard, False] for box, k, hard in image if k == number] for image in truth]
    npos = sum(not hard for image in objects for _, hard, _ in image)
    if not npos:
        return None
    tp, fp, recalls, precisions = 0, 0, [], []
    for _, i, bb in rows:
        ovmax, jmax = -np.inf, None
        for entry in objects[i]:
            gt = entry[0]
            iw, ih = min(bb[2], gt[2]) - max(bb[0], gt[0]), min(bb[3], gt[3]) - max(bb[1], gt[1])
            if iw > 0 and ih > 0:
                ua = (bb[2] - bb[0]) * (bb[3] - bb[1]) + (gt[2] - gt[0]) * (gt[3] - gt[1]) - iw * ih
                if iw * ih / ua > ovmax:
                    ovmax, jmax = iw * ih / ua, entry
        if ovmax < overlap:
            fp += 1
        elif not jmax[1]:
            tp, fp, jmax[2] = (tp, fp + 1, True) if jmax[2] else (tp + 1, fp, True)
        recalls.append(tp / npos)
        precisions.append(tp / max(tp + fp, 1))
    if points == 11:
        return (
            sum(max([p for r, p in zip(recalls, precisions) if r >= t / 10 - 1e-9], default=0) for t in range(11)) / 11
        )
    mrec, mpre = [0, *recalls, 1], [0, *precisions, 0]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)))


@pytest.mark.parametrize("points", [11, "all"])
@pytest.mark.parametrize("seed", range(15))
def test_random_sets_beside_the_devkits_way(seed, points):
    rng = np.random.default_rng(seed)
    truth, found = [], []
    scores = iter(rng.permutation(400) / 400)
    for _ in range(8):
        corners = rng.integers(0, 70, (rng.integers(0, 7), 2))
        boxes = np.concatenate([corners, corners + rng.integers(6, 30, corners.shape)], 1).astype(float)
        truth.append([(tuple(b), int(rng.integers(1, 3)), int(rng.random() < 0.2)) for b in boxes])
        near = [b + rng.integers(-2, 3, 4) for b in boxes[rng.integers(0, len(boxes), 9 if len(boxes) else 0)]]
        found.append([(np.clip(b, 0, 100), int(rng.integers(1, 3)), np.float32(next(scores))) for b in near])
    metric = voc_metric(lambda: truth_of(truth), points=points)
    predictions, batch = as_batch(found)
    scores = metric.compute(metric.update(metric.init(), predictions, batch))
    wanted = {name: oracle(truth, found, k + 1, points) for k, name in enumerate(("cat", "dog"))}
    assert scores["voc_ap_of"] == pytest.approx({k: v for k, v in wanted.items() if v is not None}, abs=1e-9)
    state = metric.init()
    for b in range(8):
        one = {k: v[b : b + 1] for k, v in predictions.items()}
        state = metric.merge(state, metric.update(metric.init(), one, {k: v[b : b + 1] for k, v in batch.items()}))
    np.testing.assert_equal(metric.compute(state), scores)


def test_eleven_points_at_exact_recalls():
    """Three of ten found, all right: recalls 0, 0.1, 0.2 and 0.3 have precision 1."""
    right = np.ones(3, bool)
    assert average_precision(right, ~right, 10, 11) == pytest.approx(4 / 11)
    assert average_precision(right, ~right, 10) == pytest.approx(0.3)


def test_nothing_found_and_nothing_to_find():
    none = [[], []]
    predictions, batch = as_batch([[(A, 1, 0.5)], [(A, 1, 0.5)]])
    metric = voc_metric(lambda: truth_of(none))
    assert np.isnan(metric.compute(metric.update(metric.init(), predictions, batch))["voc_ap"])
    metric = voc_metric(lambda: truth_of(TRUTH))
    predictions["valid"][:] = False
    assert metric.compute(metric.update(metric.init(), predictions, batch))["voc_ap"] == 0
    with pytest.raises(JaxsegError, match="11"):
        voc_metric(lambda: truth_of(none), points=12)
