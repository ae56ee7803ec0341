"""Selective search for boxes that may hold an object (Uijlings et al., IJCV 2013).

A picture falls apart into small regions (:func:`jaxseg.data.graph_segmentation`); again and again the two neighbours
that are most alike are joined, until one region is left; the box of every region on the way is a proposal (algorithm
1). To be surer, this is done in several ways at once: colour spaces, measures of likeness, scales (section 3.2).

Followed: the four measures and their histograms (equations 1 to 6), the strategies "single", "fast" and "quality"
(table 5), the ranking by place in the hierarchy times a random number (section 3.3). The paper leaves open, and here it
is so: hue, saturation, a, b and the like are bytes as OpenCV has them; texture's ten bins reach from nothing to the
picture's largest derivative; regions touch over corners too; of equal pairs the first is joined. The random numbers are
the same for every picture, so that the same picture gives the same boxes.
"""

import heapq
from typing import NamedTuple

import cv2
import numpy as np

from jaxseg.data.graph_segmentation import graph_segmentation, neighbours
from jaxseg.types import JaxsegError

_COLOUR_BINS, _TEXTURE_BINS, _ORIENTATIONS = 25, 10, 8


class Strategy(NamedTuple):
    """Each colour space with each scale of the first regions and each sum of measures.

    ``colours``: ``"hsv"``, ``"lab"``, ``"rgi"`` (two channels of normalised RGB, and intensity), ``"h"`` and ``"i"``.
    ``similarities``: letters of c(olour), t(exture), s(ize), f(ill). ``scales``: k of the graph's segmentation, in
    colours of 0..255; regions have at least so many pixels as k, in the authors' code, or ``min_size``.
    """

    colours: tuple[str, ...] = ("hsv", "lab")
    similarities: tuple[str, ...] = ("ctsf", "tsf")
    scales: tuple[float, ...] = (50, 100)
    min_size: int | None = None


SINGLE = Strategy(("hsv",), ("ctsf",), (100,))
FAST = Strategy()
QUALITY = Strategy(("hsv", "lab", "rgi", "h", "i"), ("ctsf", "tsf", "f", "s"), (50, 100, 150, 300))


class Regions(NamedTuple):
    """What joining needs to know of N regions: ``size`` [N] pixels, ``boxes`` [N, 4], ``colour`` and ``texture``
    [N, bins], histograms that sum to 1, and ``pairs`` [P, 2] of those that touch."""

    size: np.ndarray
    boxes: np.ndarray
    colour: np.ndarray
    texture: np.ndarray
    pairs: np.ndarray


def selective_search(
    image: np.ndarray, strategy: Strategy = FAST, *, sigma: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of regions of all sizes, as any :data:`jaxseg.data.proposals.Proposals` gives them.

    Args:
        image: [H, W, 3] uint8 RGB.
        strategy: ``SINGLE``, ``FAST``, ``QUALITY`` (1, 8, 80 hierarchies) or your own.
        sigma: of the smoothing before the first segmentation, in pixels.

    Returns:
        ``boxes`` [N, 4] float32 xyxy in continuous pixels, each once, best first, and ``scores`` [N] float32 that fall:
        minus the product of a box's place in its hierarchy (1 is the whole picture) and a random number.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise JaxsegError(f"selective_search: the image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3]")
    rng, boxes, ranks = np.random.default_rng(0), [], []
    for colour in strategy.colours:
        pixels = colour_space(image, colour)
        for scale in strategy.scales:
            least = round(scale) if strategy.min_size is None else strategy.min_size
            regions = describe(pixels, graph_segmentation(pixels, scale, sigma=sigma, min_size=least))
            for measures in strategy.similarities:
                found = regions.boxes if len(regions.size) == 1 else group(regions, measures, image.shape[:2])
                boxes.append(found[::-1])
                ranks.append(np.arange(1, len(found) + 1) * rng.random(len(found)))
    boxes, rank = np.concatenate(boxes), np.concatenate(ranks)
    order = np.argsort(rank, kind="stable")
    _, first = np.unique(boxes[order], axis=0, return_index=True)
    kept = order[np.sort(first)]
    return boxes[kept].astype(np.float32), -rank[kept].astype(np.float32)


def colour_space(image: np.ndarray, name: str) -> np.ndarray:
    """RGB uint8 [H, W, 3] as float32 [H, W, 3 or 1] in 0..255."""
    if name in ("hsv", "h"):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL).astype(np.float32)
        return hsv if name == "hsv" else hsv[..., :1]
    if name == "lab":
        return cv2.cvtColor(image, cv2.COLOR_RGB2Lab).astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    if name == "i":
        return grey
    if name != "rgi":
        raise JaxsegError(f"colour space {name!r} is unknown; expected hsv, lab, rgi, h or i")
    rgb = image.astype(np.float32)
    return np.concatenate([255 * rgb[..., :2] / np.maximum(rgb.sum(-1, keepdims=True), 1), grey], axis=-1)


def describe(pixels: np.ndarray, labels: np.ndarray) -> Regions:
    """The :class:`Regions` of ``labels`` [H, W], numbered from 0, in ``pixels`` [H, W, C] of 0..255."""
    count, flat = int(labels.max()) + 1, labels.ravel()
    size = np.bincount(flat, minlength=count)
    y, x = (a.ravel() for a in np.indices(labels.shape))
    boxes = np.empty((count, 4))
    boxes[:, :2], boxes[:, 2:] = np.inf, -np.inf
    for column, (values, ufunc) in enumerate(
        ((x, np.minimum), (y, np.minimum), (x + 1, np.maximum), (y + 1, np.maximum))
    ):
        ufunc.at(boxes[:, column], flat, values)
    colour = _histogram(pixels, flat, count, _COLOUR_BINS, 256.0)
    texture = derivatives(pixels)
    texture = _histogram(texture, flat, count, _TEXTURE_BINS, max(float(texture.max()), 1e-6))
    return Regions(size, boxes, colour, texture, neighbours(labels))


def derivatives(pixels: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [H, W, 8 C]: derivatives of the Gaussian (sigma 1) in eight directions, the rising ones (section
    3.2)."""
    blurred = cv2.GaussianBlur(pixels, (0, 0), 1.0).reshape(pixels.shape)
    dy, dx = (np.gradient(blurred, axis=axis) if blurred.shape[axis] > 1 else 0 * blurred for axis in (0, 1))
    angles = np.arange(_ORIENTATIONS) * 2 * np.pi / _ORIENTATIONS
    return np.concatenate([np.maximum(np.cos(a) * dx + np.sin(a) * dy, 0) for a in angles], axis=-1)


def group(regions: Regions, measures: str, size: tuple[int, ...]) -> np.ndarray:
    """Algorithm 1: the boxes [2 N - 1, 4] of the first regions and of each that joining makes, the whole last.

    ``measures``: which of c, t, s, f are summed; ``size``: height and width of the picture.
    """
    if not measures or set(measures) - set("ctsf"):
        raise JaxsegError(f"measures is {measures!r}; expected letters of c, t, s and f")
    area, known = float(size[0] * size[1]), [*zip(*regions[:4], strict=True)]
    near: list[set[int]] = [set() for _ in known]
    alive = set(range(len(known)))
    queue: list[tuple[float, int, int]] = []

    def note(a: int, b: int) -> None:
        near[a].add(b)
        near[b].add(a)
        heapq.heappush(queue, (-similarity(known[a], known[b], measures, area), min(a, b), max(a, b)))

    for a, b in regions.pairs.tolist():
        note(a, b)
    while queue:
        _, a, b = heapq.heappop(queue)
        if not {a, b} <= alive:  # one of them has been joined to another since
            continue
        alive -= {a, b}
        known.append(joined(known[a], known[b]))
        near.append(set())
        alive.add(len(known) - 1)
        for c in sorted((near[a] | near[b]) & alive):
            note(c, len(known) - 1)
    return np.stack([region[1] for region in known])


def similarity(a: tuple, b: tuple, measures: str, area: float) -> float:
    """Of two regions (size, box, colour, texture): intersections of their histograms, how small they are together, and
    how well they fill their common box (equations 2, 4, 5, 6)."""
    total = 0.0
    if "c" in measures:
        total += float(np.minimum(a[2], b[2]).sum())
    if "t" in measures:
        total += float(np.minimum(a[3], b[3]).sum())
    if "s" in measures:
        total += 1 - (a[0] + b[0]) / area
    if "f" in measures:
        x1, y1, x2, y2 = _hull(a[1], b[1])
        total += 1 - ((x2 - x1) * (y2 - y1) - a[0] - b[0]) / area
    return total


def joined(a: tuple, b: tuple) -> tuple:
    """Size, box and histograms of two regions as one, without looking at a pixel (equation 3)."""
    size = a[0] + b[0]
    colour, texture = ((a[0] * a[i] + b[0] * b[i]) / size for i in (2, 3))
    return size, _hull(a[1], b[1]), colour, texture


def _hull(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def _histogram(values: np.ndarray, flat: np.ndarray, count: int, bins: int, top: float) -> np.ndarray:
    """[N, C bins]: how often each region's values fall into each bin of 0..top, channel by channel; sums of 1."""
    channels = values.shape[-1]
    at = np.clip((values.reshape(-1, channels) * (bins / top)).astype(int), 0, bins - 1) + bins * np.arange(channels)
    counts = np.bincount((flat[:, None] * (bins * channels) + at).ravel(), minlength=count * bins * channels)
    counts = counts.reshape(count, -1).astype(np.float64)
    return counts / counts.sum(1, keepdims=True)
