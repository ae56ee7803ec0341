"""Instances on the host: tight boxes, box-relative masks, and padding to a fixed number.

Masks are whole, [N, H, W] bool, or :class:`jaxseg.data.Cutouts`; both give the same numbers, bit for bit.
"""

import logging
from typing import Any

import numpy as np

from jaxseg.data.cutouts import Cutouts, Masks, cut_out, tight_box

_TOLD: set[int] = set()  # the counts for which it was said that instances are left out


def tight_boxes(masks: Masks) -> np.ndarray:
    """Smallest boxes [N, 4] float32 that hold masks [N, H, W] bool or Cutouts; zeros where a mask is empty."""
    if isinstance(masks, Cutouts):
        return masks.boxes()
    return np.array([tight_box(mask) for mask in masks], np.float32).reshape(-1, 4)


def crop_masks(masks: Masks, boxes: np.ndarray, side: int) -> np.ndarray:
    """Masks [N, H, W] bool or Cutouts seen through their boxes [N, 4]: [N, M, M] float32 in [0, 1], M = ``side``.

    Each of the M by M cells of a box holds the share of it that the mask covers: averaged over area where
    the box has more pixels than cells, bilinear between pixel centres where it has fewer.
    """
    cutouts = cut_out(masks)
    out = np.zeros((len(cutouts), side, side), np.float32)
    for n, (corner, bitmap, box) in enumerate(zip(cutouts.corners, cutouts.bitmaps, boxes, strict=True)):
        x1, y1, x2, y2 = np.asarray(box, np.float64) - (*corner, *corner)
        if bitmap.size and x2 > x1 and y2 > y1:
            height, width = bitmap.shape
            out[n] = _cells(y1, y2, side, height) @ bitmap.astype(np.float32) @ _cells(x1, x2, side, width).T
    return out


def _cells(low: float, high: float, side: int, length: int) -> np.ndarray:
    """[M, length] float32: how much of each pixel is in each of the M cells between ``low`` and ``high``.

    Along one axis. Each cell is sampled bilinearly (0 beyond the pixels) at points at most a pixel apart, and these
    are averaged.
    """
    fold = max(1, int(np.ceil((high - low) / side)))
    at = low + (np.arange(side * fold) + 0.5) * ((high - low) / (side * fold)) - 0.5
    first = np.floor(at).astype(int)
    weights = np.zeros((side, length), np.float64)
    for pixel, share in ((first, 1 - (at - first)), (first + 1, at - first)):
        inside = (pixel >= 0) & (pixel < length)
        np.add.at(weights, (np.arange(side * fold)[inside] // fold, pixel[inside]), share[inside] / fold)
    return weights.astype(np.float32)


def pad_instances(instances: dict[str, Any], count: int, *, mask_side: int | None = None) -> dict[str, np.ndarray]:
    """Instances of one image to arrays of a fixed first dimension, ``valid`` [count] bool among them.

    Args:
        instances: ``boxes`` [N, 4], ``classes`` [N], and any other arrays [N, ...]. Strings and entries
            that are no arrays stay behind.
        count: how many rows. Of more instances than that, those with the largest boxes are kept, in their
            order.
        mask_side: M; masks [N, H, W] bool or Cutouts become box-relative [count, M, M] float32
            (:func:`crop_masks`). None: they are whole, [count, H, W] bool.

    The first time that instances are left out for a ``count``, a warning on the logger ``jaxseg`` says how many.
    """
    boxes = np.asarray(instances["boxes"], np.float32).reshape(-1, 4)
    rows = np.arange(len(boxes))
    if len(boxes) > count:
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        rows = np.sort(np.argsort(-area, kind="stable")[:count])
        _tell_left_out(count, len(boxes))
    out = {"valid": np.arange(count) < len(rows)}
    for key, value in instances.items():
        if not isinstance(value, Cutouts) and (not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf"):
            continue
        kept = value[rows]
        if key == "masks" and mask_side is not None:
            kept = crop_masks(kept, boxes[rows], mask_side)
        elif isinstance(kept, Cutouts):
            kept = kept.whole()
        padded = np.zeros((count, *kept.shape[1:]), kept.dtype)
        padded[: len(rows)] = kept
        out[key] = padded
    return out


def _tell_left_out(count: int, found: int) -> None:
    if count in _TOLD:
        return
    _TOLD.add(count)
    logging.getLogger("jaxseg").warning(
        "an image has %d instances and there is room for %d: the %d with the smallest boxes are left out; other images "
        "may lose some too (this is said once); raise max_instances to keep them",
        found, count, found - count,
    )  # fmt: skip
