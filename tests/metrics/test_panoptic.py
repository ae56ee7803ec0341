"""Panoptic quality against panopticapi's algorithm, written out pixel by pixel."""

from functools import partial

import numpy as np
import pytest

from jaxseg.data import Resize, Shapes, eval_batches, panoptic_truth
from jaxseg.metrics import Panoptic, panoptic_counts, panoptic_metric, panoptic_quality
from jaxseg.types import JaxsegError

STUFF, THINGS = ("grass", "water"), ("disk", "star", "ring")


def random_panoptic(seed, unknown=True, crowd=True):
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0 if unknown else 1, 12, (6, 7)), np.ones((5, 4), int)).astype(np.int32) * 300
    classes = {int(i): int(rng.integers(0, len(STUFF + THINGS))) for i in np.unique(ids) if i}
    things = [i for i, k in classes.items() if k >= len(STUFF)]
    return Panoptic(ids, classes, frozenset(things[:1] if crowd else ()))


def disturbed(truth, seed):
    """What a network might find of it: most segments moved a little, some of another class, some gone."""
    rng = np.random.default_rng(seed)
    ids = np.roll(truth.ids, rng.integers(-1, 2, 2), axis=(0, 1))
    ids = np.where(rng.random(ids.shape) < 0.1, 0, ids)
    classes = {i: k if rng.random() < 0.8 else int(rng.integers(0, 5)) for i, k in truth.classes.items()}
    return Panoptic(ids, classes)


def pixel_by_pixel(found, truth):
    """``pq_compute_single_core`` of panopticapi, of one image."""
    counts, shared, ours, theirs = np.zeros((5, 4)), {}, {}, {}
    for p, g in zip(found.ids.ravel().tolist(), truth.ids.ravel().tolist()):
        shared[g, p] = shared.get((g, p), 0) + 1
        ours[p], theirs[g] = ours.get(p, 0) + 1, theirs.get(g, 0) + 1
    matched_g, matched_p = set(), set()
    for (g, p), n in shared.items():
        if g not in truth.classes or p not in found.classes or g in truth.crowd:
            continue
        if truth.classes[g] != found.classes[p]:
            continue
        union = ours[p] + theirs[g] - n - shared.get((0, p), 0)
        if n / union > 0.5:
            counts[truth.classes[g]] += (n / union, 1, 0, 0)
            matched_g.add(g)
            matched_p.add(p)
    crowd_of = {}
    for g, k in truth.classes.items():
        if g in truth.crowd:
            crowd_of[k] = g
        elif g not in matched_g:
            counts[k, 3] += 1
    for p, k in found.classes.items():
        if p in matched_p or p not in ours:
            continue
        excused = shared.get((0, p), 0) + (shared.get((crowd_of[k], p), 0) if k in crowd_of else 0)
        if excused / ours[p] <= 0.5:
            counts[k, 2] += 1
    return counts


@pytest.mark.parametrize("seed", range(30))
def test_counts_are_panopticapis(seed):
    truth = random_panoptic(seed)
    found = disturbed(truth, seed)
    np.testing.assert_allclose(panoptic_counts(found, truth, 5), pixel_by_pixel(found, truth), rtol=1e-12)


def test_the_paper_by_hand():
    """One of two disks is found with IoU 0.8, one false; water is right."""
    truth = np.full((10, 20), 1, np.int32)
    truth[0, :10], truth[5, :10] = 2, 3
    found = np.where(truth == 3, 1, truth)
    found[0, 8:10], found[9, 10:] = 1, 4
    counts = panoptic_counts(
        Panoptic(found, {1: 1, 2: 2, 4: 2}), Panoptic(truth, {1: 1, 2: 2, 3: 2}), len(STUFF + THINGS)
    )
    scores = panoptic_quality(counts, STUFF, THINGS)
    assert scores["pq_of"]["disk"] == pytest.approx(0.8 / (1 + 0.5 + 0.5))
    water = 170 / (180 + 2 + 10)
    assert scores["pq_of"] == pytest.approx({"water": water, "disk": 0.4})
    assert scores["pq"] == pytest.approx((0.4 + water) / 2)
    assert (scores["sq_things"], scores["rq_things"]) == pytest.approx((0.8, 0.5))
    assert np.isnan(panoptic_quality(np.zeros((5, 4)), STUFF, THINGS)["pq"])


@pytest.mark.parametrize("mode", ["stretch", "pad"])
def test_the_truth_itself_has_quality_one_in_the_original_pixels(mode):
    """Seen through a transform that enlarges three times, and back."""
    source = Shapes("val", size=(48, 64), length=5)
    truth = partial(panoptic_truth, source)
    metric = panoptic_metric(truth, source.stuff, source.things)
    state = metric.init()
    for batch in eval_batches(source, Resize((144, 192), mode=mode), batch_size=2):
        parts = [truth(max(int(i), 0)) for i in batch["index"]]
        ids = np.stack([np.kron(part.ids, np.ones((3, 3), np.int32)) for part in parts])
        classes = np.zeros((2, 20), np.int32)
        for row, part in zip(classes, parts):
            for i, kind in part.classes.items():
                row[i - 1] = kind
        state = metric.update(state, {"segments": ids, "segment_classes": classes}, batch)
    scores = metric.compute(state)
    assert len(state) == 5
    assert scores["pq"] == scores["pq_things"] == scores["pq_stuff"] == 1


def test_a_segment_without_class_is_told():
    part = random_panoptic(0)
    with pytest.raises(JaxsegError, match="in the map and have no class"):
        panoptic_counts(Panoptic(part.ids, {}), part, 5)
    with pytest.raises(JaxsegError, match="against a truth of"):
        panoptic_counts(Panoptic(part.ids[1:], part.classes), part, 5)
