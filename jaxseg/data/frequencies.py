"""How often each class occurs in a source."""

from typing import Any

import numpy as np


def class_frequencies(source: Any) -> np.ndarray:
    """``[K]`` float64, the share of each of ``source.classes`` among the labelled pixels; reads every sample once.

    For weights that keep frequent classes from drowning rare ones: :func:`jaxseg.losses.frequency_weights`.
    """
    count = len(source.classes)
    found = np.zeros(count, np.int64)
    for i in range(len(source)):
        label = np.ravel(source[i]["label"])
        found += np.bincount(label[(label >= 0) & (label < count)], minlength=count)
    return found / max(found.sum(), 1)
