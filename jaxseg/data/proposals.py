"""Boxes that may hold an object, without knowing of what class: what classic detectors look at.

A :data:`Proposals` is any function from a picture to boxes and scores: :func:`jaxseg.data.selective_search`,
:func:`edge_proposals`, or your own (EdgeBoxes: ``cv2.ximgproc``, which is in OpenCV's contrib wheels alone, and wants a
trained model of edges). :class:`Propose` puts a fixed number of them into each sample.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from jaxseg.data.selective_search import selective_search
from jaxseg.types import JaxsegError

Sample = dict[str, Any]
Proposals = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Image [H, W, 3] uint8 -> boxes [N, 4] that may hold an object, and scores [N], high where they are likely to."""


@dataclasses.dataclass(frozen=True)
class Propose:
    """Adds ``proposals`` to a sample that has none: ``boxes`` [R, 4] float32, best first, and ``valid`` [R] bool.

    A transform. ``InMemory(source, Propose(...))`` proposes once for each picture, as R-CNN and Fast R-CNN do before
    they are trained; what comes after moves the boxes with the picture. For evaluation and prediction it follows the
    transform that makes the picture: ``Propose(after=Resize(...))``.

    Args:
        proposals: what proposes, asked with the picture as uint8.
        count: R, the best of them; ``valid`` says how many there are.
        min_side: boxes with a shorter side, in pixels, are left out.
        after: ``(sample, rng) -> sample``, applied first.
    """

    proposals: Proposals = selective_search
    count: int = 2000
    min_side: float = 1.0
    after: Callable[[Sample, Any], Sample] | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise JaxsegError(f"Propose.count is {self.count}; expected at least 1")

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        sample = sample if self.after is None else self.after(sample, rng)
        if "proposals" in sample:
            return sample
        image = sample["image"]
        if image.dtype != np.uint8:
            image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        height, width = sample.get("size", image.shape[:2])  # not the padding
        boxes, scores = self.proposals(np.ascontiguousarray(image[:height, :width]))
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= self.min_side)
        best = large[np.argsort(-np.asarray(scores)[large], kind="stable")][: self.count]
        padded = np.zeros((self.count, 4), np.float32)
        padded[: len(best)] = boxes[best]
        return {**sample, "proposals": {"boxes": padded, "valid": np.arange(self.count) < len(best)}}


def edge_proposals(image: np.ndarray, sides: tuple[float, ...] = (1.0, 0.7, 0.5, 0.35, 0.25)) -> tuple[Any, Any]:
    """A plain :data:`Proposals`: boxes of several sizes and shapes everywhere, scored by the edges in them.

    Boxes of shapes 1:2, 1:1 and 2:1 whose mean side is ``sides`` of the image's shorter one, a third of a side apart.
    The score is the mean strength of edges (Sobel) in the box less that on its rim (a tenth of a side): high where
    contours lie within and few cross the border, the idea of EdgeBoxes (Zitnick & Dollar 2014) without its grouping of
    contours.
    """
    height, width = image.shape[:2]
    boxes = np.concatenate([_everywhere(height, width, s * min(height, width), r) for s in sides for r in (0.5, 1, 2)])
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    total = cv2.integral(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))
    inner = extend_boxes(boxes, 0.8)

    def inside(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x1, y1, x2, y2 = np.round(b).astype(int).T
        return total[y2, x2] - total[y1, x2] - total[y2, x1] + total[y1, x1], (x2 - x1) * (y2 - y1)

    (whole, area), (core, core_area) = inside(boxes), inside(inner)
    rim = (whole - core) / np.maximum(area - core_area, 1)
    return boxes, core / np.maximum(core_area, 1) - rim


def best_proposals(
    boxes: np.ndarray, scores: np.ndarray, count: int = 50, *, extend: float = 1.2, min_side: float = 112
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` best boxes, made square and enlarged: ``(boxes [count, 4] float32, valid [count] bool)``.

    Those then smaller than ``min_side`` pixels are passed over; ``valid`` is False where too few remain. For
    :func:`jaxseg.models.deconvnet.aggregate_proposals`; the numbers are those of Noh et al. 2015, section 6.1, and of
    their code.
    """
    large = extend_boxes(boxes, extend, square=True)
    fits = large[:, 2] - large[:, 0] >= min_side
    chosen = [i for i in np.argsort(-np.asarray(scores), kind="stable") if fits[i]][:count]
    out = np.zeros((count, 4), np.float32)
    out[: len(chosen)] = large[chosen]
    return out, np.arange(count) < len(chosen)


def extend_boxes(boxes: np.ndarray, factor: float, *, square: bool = False) -> np.ndarray:
    """Boxes [N, 4] ``factor`` times larger about their centres; ``square``: with their longer side for both."""
    boxes = np.asarray(boxes, np.float64)
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    half = half.max(1, keepdims=True) if square else half
    return np.concatenate([centre - half, centre + half], 1)


def _everywhere(height: int, width: int, side: float, ratio: float) -> np.ndarray:
    """Boxes of one size, of area ``side ** 2`` and so many times wider than high, cut to the image."""
    h, w = min(side / ratio**0.5, height), min(side * ratio**0.5, width)
    ys, xs = (np.linspace(0, n - s, int(np.ceil(3 * (n - s) / s)) + 1) for n, s in ((height, h), (width, w)))
    y, x = (a.ravel() for a in np.meshgrid(ys, xs, indexing="ij"))
    return np.stack([x, y, x + w, y + h], 1).astype(np.float32)
