"""What metrics on the host share: overlap of boxes, and average precision."""

from typing import Literal

import numpy as np


def average_precision(
    right: np.ndarray, wrong: np.ndarray, count: int, points: Literal[11, 101, "all"] = "all"
) -> float:
    """AP of detections by falling score, ``right`` and ``wrong`` [D] bool (neither: it counts for nothing), where
    ``count`` objects were to be found.

    ``points``: the area under precision made falling, or the mean over so many recalls from 0 to 1 of the best
    precision at that recall or more: 11 as in VOC 2007, 101 as in COCO and DenseCap.
    """
    hits, misses = np.cumsum(right), np.cumsum(wrong)
    recall, precision = hits / count, hits / np.maximum(hits + misses, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or more
    if points == "all":
        return float(np.sum(np.diff(recall, prepend=0) * best))
    # 1e-12: 3 of 10 found is a recall of 0.3, though 0.1 * 3 is more in floating point.
    places = np.searchsorted(recall, np.linspace(0, 1, points) - 1e-12)
    return float(np.mean(np.append(best, 0.0)[places]))


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [N, 4] with boxes [M, 4]: [N, M]; 0 where the union is empty."""
    a, b = (np.asarray(x, np.float64).reshape(-1, 4) for x in (a, b))
    shared = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    intersection = np.maximum(shared, 0).prod(2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
    union = area_a[:, None] + area_b[None] - intersection
    return intersection / np.where(union > 0, union, 1)
