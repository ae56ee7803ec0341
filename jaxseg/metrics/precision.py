"""Average precision of detections that are right or wrong."""

import numpy as np


def average_precision(right: np.ndarray, count: int) -> float:
    """Of detections ``right [N]`` bool, best first, and ``count`` true ones: the mean over 101 recalls of the highest
    precision at that recall or more (COCO's and DenseCap's)."""
    hits = np.cumsum(right)
    recall, precision = hits / max(count, 1), hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101) - 1e-12)
    return float(np.mean(np.append(best, 0.0)[places]))
