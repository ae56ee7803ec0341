"""Selective search against scikit-image, a brute-force hierarchy over pixels, and random boxes."""

import time

import cv2
import numpy as np
import pytest

from jaxseg.data import Shapes, graph_segmentation, selective_search
from jaxseg.data.graph_segmentation import neighbours
from jaxseg.data.selective_search import FAST, QUALITY, SINGLE, Strategy, colour_space, derivatives, describe, group
from jaxseg.metrics.precision import box_iou
from jaxseg.types import JaxsegError
from tests.helpers import slowly


def numbered(labels):
    """Regions numbered anew in reading order, so that two segmentations can be compared."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(labels.shape)


@pytest.mark.parametrize(("sigma", "scale", "least"), [(0.0, 100, 0), (0.8, 60, 12), (1.2, 200, 30)])
def test_first_regions_are_scikit_images(sigma, scale, least):
    segmentation = pytest.importorskip("skimage.segmentation")
    rng = np.random.default_rng(1)
    steps = np.repeat(np.repeat(rng.integers(0, 255, (4, 5, 3)), 9, 0), 9, 1)
    image = (steps + rng.normal(0, 12, steps.shape)).clip(0, 255)  # no two differences are equal
    ours = graph_segmentation(image, scale, sigma=sigma, min_size=least)
    theirs = segmentation.felzenszwalb(image / 255, scale=scale, sigma=sigma, min_size=least)
    assert ours.max() > 5
    agreement = (numbered(ours) == numbered(theirs)).mean()
    assert agreement == 1 if sigma == 0 else agreement > 0.98  # OpenCV blurs in float32, scipy in float64


def brute_force(pixels, labels, measures):
    """Algorithm 1 as it is written, every histogram counted anew from the pixels: the boxes, in order."""
    texture = derivatives(pixels)
    masks = {k: labels == k for k in range(labels.max() + 1)}
    area = labels.size

    def histogram(values, mask, bins, top):
        parts = [np.histogram(v, bins, (0, top))[0] for v in values[mask].T]
        return np.concatenate(parts) / np.sum(parts)

    def box(mask):
        y, x = np.nonzero(mask)
        return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])

    def alike(a, b):
        value = 0.0
        if "c" in measures:
            value += np.minimum(*(histogram(pixels, m, 25, 256) for m in (a, b))).sum()
        if "t" in measures:
            value += np.minimum(*(histogram(texture, m, 10, texture.max()) for m in (a, b))).sum()
        if "s" in measures:
            value += 1 - (a.sum() + b.sum()) / area
        if "f" in measures:
            x1, y1, x2, y2 = box(a | b)
            value += 1 - ((x2 - x1) * (y2 - y1) - a.sum() - b.sum()) / area
        return value

    def touch(a, b):
        return (cv2.dilate(a.astype(np.uint8), np.ones((3, 3))) & b).any()

    found, new = [box(m) for m in masks.values()], len(masks)
    while len(masks) > 1:
        pairs = [(a, b) for a in masks for b in masks if a < b and touch(masks[a], masks[b])]
        a, b = max(pairs, key=lambda p: (round(alike(masks[p[0]], masks[p[1]]), 9), -p[0], -p[1]))
        masks[new] = masks.pop(a) | masks.pop(b)
        found.append(box(masks[new]))
        new += 1
    return np.array(found)


@pytest.mark.parametrize("measures", ["ctsf", "c", "f", "s", *slowly("tsf")])
@pytest.mark.parametrize("colour", ["i", *slowly("hsv", "rgi")])
def test_regions_are_joined_in_the_order_of_a_search_over_pixels(measures, colour):
    image = Shapes("val", size=(40, 44))[3]["image"]
    pixels = colour_space(image, colour)
    labels = graph_segmentation(pixels, 60, min_size=12)
    assert labels.max() > 8
    ours = group(describe(pixels, labels), measures, labels.shape)
    np.testing.assert_array_equal(ours, brute_force(pixels, labels, measures))


def test_neighbours_are_all_pairs_that_touch():
    labels = np.random.default_rng(0).integers(0, 5, (6, 7)).repeat(2, 0)
    wanted = set()
    for y, x in np.ndindex(labels.shape):
        for v, u in np.ndindex(labels.shape):
            if max(abs(y - v), abs(x - u)) == 1 and labels[y, x] < labels[v, u]:
                wanted.add((labels[y, x], labels[v, u]))
    assert set(map(tuple, neighbours(labels).tolist())) == wanted


def recall(proposer, samples, count):
    """How many of the true boxes one of the best ``count`` proposals overlaps by half."""
    found = []
    for sample in samples:
        boxes, scores = proposer(sample["image"])
        best = boxes[np.argsort(-scores, kind="stable")[:count]]
        found += (box_iou(sample["instances"]["boxes"], best).max(1) >= 0.5).tolist()
    assert len(found) > 50
    return np.mean(found)


def test_objects_are_found_by_few_boxes_and_not_by_chance():
    samples = [Shapes("val")[i] for i in range(24)]
    rng = np.random.default_rng(0)

    def chance(image):
        ends = np.sort(rng.uniform(0, image.shape[0], (100, 2, 2)), axis=1)
        return ends.reshape(-1, 4), np.ones(100)

    assert recall(chance, samples, 100) < 0.75
    assert recall(lambda image: selective_search(image, SINGLE), samples, 100) >= 0.93
    assert recall(selective_search, samples, 100) >= 0.97


def test_every_region_of_every_hierarchy_once_best_first_and_the_same_again():
    image = Shapes("val")[1]["image"]
    strategy = Strategy(("lab", "h"), ("ctsf", "f"), (80, 160), 20)
    boxes, scores = selective_search(image, strategy)
    wanted = set()
    for colour in strategy.colours:
        pixels = colour_space(image, colour)
        for scale in strategy.scales:
            regions = describe(pixels, graph_segmentation(pixels, scale, min_size=20))
            for measures in strategy.similarities:
                wanted |= set(map(tuple, group(regions, measures, image.shape).tolist()))
    assert sorted(map(tuple, boxes.tolist())) == sorted(wanted)
    assert boxes.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_array_equal(selective_search(image, strategy)[0], boxes)
    begun = time.perf_counter()
    more, _ = selective_search(image)
    assert time.perf_counter() - begun < 20
    assert len(more) > 60
    assert len(QUALITY.colours) * len(QUALITY.similarities) * len(QUALITY.scales) == 80  # table 5
    assert len(FAST.colours) * len(FAST.similarities) * len(FAST.scales) == 8


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (30, 20)])
def test_pictures_of_one_colour_and_of_one_pixel(size):
    boxes, scores = selective_search(np.full((*size, 3), 77, np.uint8))
    np.testing.assert_array_equal(boxes, [[0, 0, size[1], size[0]]])
    assert np.isfinite(scores).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(JaxsegError, match="expected uint8"):
        selective_search(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(JaxsegError, match="colour space 'xyz'"):
        selective_search(np.zeros((4, 4, 3), np.uint8), Strategy(("xyz",)))
    with pytest.raises(JaxsegError, match="letters of"):
        selective_search(Shapes()[0]["image"], Strategy(similarities=("cx",)))
    with pytest.raises(JaxsegError, match="expected \\[H, W, C\\]"):
        graph_segmentation(np.zeros((4, 4)), 10)
