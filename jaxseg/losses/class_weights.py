"""Weights that keep frequent classes from drowning rare ones. On the host, in numpy."""

from collections.abc import Sequence

import numpy as np

from jaxseg.types import JaxsegError


def frequency_weights(frequencies: Sequence[float], *, power: float = 0.5) -> np.ndarray:
    """``w_c = f_c^-power / sum_k f_k^(1 - power)``: the rarer a class, the more its pixels weigh.

    The mean weight over the pixels is 1, so the learning rate keeps its meaning. Power 0 weighs nothing, power 1
    makes every class weigh alike in all; between the two rare classes are learnt without being predicted everywhere.

    Args:
        frequencies: ``[K]``, how often each class occurs, as counts or shares
            (:func:`jaxseg.data.class_frequencies`).
        power: of the inverse frequency.

    Returns:
        ``[K]`` float32 for ``class_weights=``; 0 for a class that never occurs.

    Raises:
        JaxsegError: negative numbers, or none above 0.
    """
    f = np.asarray(frequencies, np.float64)
    if f.ndim != 1 or not np.all(f >= 0) or not f.sum() > 0:
        raise JaxsegError(f"frequencies are {frequencies!r}; expected one number for each class, none below 0")
    f, seen = f / f.sum(), f > 0
    inverse = np.where(seen, np.where(seen, f, 1.0) ** -power, 0.0)
    return (inverse / (f * inverse).sum()).astype(np.float32)
