"""What a label map may hold, on the device (:func:`split_void`) and on the host (:func:`check_labels`).

The rule of void, shared by every loss and every metric: a pixel counts when its label lies in 0..K-1 and is
not ``ignore_index``. Every other label is first clamped to 0, so that nothing is ever read with it, and
then weighs nothing. A label that is neither a class nor ``ignore_index`` is a mistake of the data:
``check_labels`` refuses it on the host, where an error can be raised; on the device it weighs nothing.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxseg.types import VOID, Array, JaxsegError

MOST_VALUES_NAMED = 12


def split_void(labels: Array, num_classes: int, ignore_index: int = VOID) -> tuple[Array, Array]:
    """Labels that are safe to use, and which of them count.

    ``valid = 0 <= label < K and label != ignore_index``; ``safe = label where valid else 0``.

    Args:
        labels: integers or booleans of any shape and width.
        num_classes: K.
        ignore_index: the label of void. It is compared after widening to int32, so -1 matches no uint8 label,
            where a comparison in uint8 would wrap it to 255.

    Returns:
        ``(safe, valid)``, int32 in 0..K-1 and bool, in the shape of ``labels``.

    Raises:
        JaxsegError: ``labels`` are neither integers nor booleans.
    """
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
        raise JaxsegError(
            f"labels are {labels.dtype}, expected integers: cast class maps with .astype('int32'), and "
            "resize them with nearest neighbour so that they stay whole numbers"
        )
    wide = labels.astype(jnp.int32)
    valid = (wide >= 0) & (wide < num_classes) & (wide != ignore_index)
    return jnp.where(valid, wide, 0), valid


def check_labels(
    labels: Any, num_classes: int, *, ignore_index: int = VOID, where: str = "", allow_0_255: bool = False
) -> None:
    """Refuses, on the host, a label map that a loss could only misread.

    Accepted are 0..K-1 and ``ignore_index``.

    Args:
        labels: ``[H, W]`` or ``[B, H, W]``, integers or booleans.
        num_classes: K.
        ignore_index: the label of void.
        where: what to call the map in the message, for instance its file.
        allow_0_255: accept a map of two classes that holds exactly 0 and 255 while 255 is void. Nearly always
            that is a binary mask stored as black and white, whose whole object would be ignored.

    Raises:
        JaxsegError: the map is a picture, is not of integers, or holds other values. The message names the
            values found, the accepted ones and the likely mend.
    """
    array = np.asarray(labels)
    name = f"{where}: the label map" if where else "the label map"
    if array.ndim in (3, 4) and array.shape[-1] in (3, 4):
        raise JaxsegError(
            f"{name} has shape {array.shape}: a colour picture, where one class number per pixel was "
            "expected. Open palette PNGs without converting them to RGB, or map each colour to its class "
            "number"
        )
    if array.ndim not in (2, 3):
        raise JaxsegError(f"{name} has shape {array.shape}, expected [H, W] or [B, H, W]")
    if array.dtype.kind not in "iub":
        raise JaxsegError(
            f"{name} is {array.dtype}, expected integers 0..{num_classes - 1}: cast it with "
            ".astype('uint8'), and resize it with nearest neighbour so that it stays whole"
        )
    values = _values(array)
    bad = [v for v in values if not 0 <= v < num_classes and v != ignore_index]
    black_and_white = num_classes == 2 and values == [0, 255] and not allow_0_255
    if bad or black_and_white:
        accepted = f"0..{num_classes - 1} and {ignore_index} for void"
        raise JaxsegError(
            f"{name} holds {_named(values)}, expected {accepted}. {_mend(values, num_classes, ignore_index)}"
        )


def _values(array: np.ndarray) -> list[int]:
    """The distinct values, sorted; by counting where the width allows: ten times quicker than sorting."""
    if array.dtype in (np.uint8, np.bool_):
        return [int(v) for v in np.flatnonzero(np.bincount(array.astype(np.uint8).ravel(), minlength=1))]
    return [int(v) for v in np.unique(array)]


def _named(values: list[int]) -> str:
    if len(values) <= MOST_VALUES_NAMED:
        return f"the values {values}"
    shown = ", ".join(str(v) for v in values[: MOST_VALUES_NAMED - 1])
    return f"{len(values)} values: [{shown}, ..., {values[-1]}]"


def _mend(values: list[int], num_classes: int, ignore_index: int) -> str:
    positive = [v for v in values if v != ignore_index or v == 255]
    if set(positive) <= {0, 255}:
        mend = "This looks like a black-and-white mask: divide it by 255 to get classes 0 and 1"
        meant = ", or pass allow_0_255=True if 255 really is void here" if ignore_index == 255 else ""
        return mend + meant
    classes = [v for v in values if v != ignore_index]
    if classes[0] >= 1 and classes[-1] == num_classes:
        return "The labels seem to start at 1: subtract 1 (keeping void), or add a background class 0"
    if classes[-1] == num_classes:
        return f"Classes count from 0, so 0..{num_classes} needs num_classes={num_classes + 1}"
    if classes[0] < 0:
        return f"If {classes[0]} marks void, pass ignore_index={classes[0]}"
    if classes[-1] == 255:
        return "If 255 marks void, pass ignore_index=255"
    if classes[-1] >= 1000:
        return "Values of 1000 and more are often instance ids: Cityscapes' class is value // 1000"
    return "Map these values to class numbers (a look-up table), or mend num_classes"
