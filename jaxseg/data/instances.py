"""Instances on the host: tight boxes, box-relative masks, and padding to a fixed number."""

from typing import Any

import cv2
import numpy as np


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """Smallest boxes [N, 4] float32 that hold masks [N, H, W] bool; zeros where a mask is empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for n, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[n] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def crop_masks(masks: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """Masks [N, H, W] bool seen through their boxes [N, 4]: [N, M, M] float32 in [0, 1], M = ``side``.

    Each of the M by M cells of a box holds the share of it that the mask covers: averaged over area where
    the box has more pixels than cells, bilinear between pixel centres where it has fewer.
    """
    out = np.zeros((len(masks), side, side), np.float32)
    for n, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        x1, y1, x2, y2 = (float(v) for v in box)
        if x2 <= x1 or y2 <= y1:
            continue
        # Supersampled so that a cell is at most one pixel, then averaged.
        fold_x, fold_y = (max(1, int(np.ceil((b - a) / side))) for a, b in ((x1, x2), (y1, y2)))
        w, h = side * fold_x, side * fold_y
        step_x, step_y = (x2 - x1) / w, (y2 - y1) / h
        back = np.array([[step_x, 0, x1 + step_x / 2 - 0.5], [0, step_y, y1 + step_y / 2 - 0.5]])
        fine = cv2.warpAffine(mask.astype(np.float32), back, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        out[n] = fine.reshape(side, fold_y, side, fold_x).mean((1, 3))
    return out


def pad_instances(instances: dict[str, Any], count: int, *, mask_side: int | None = None) -> dict[str, np.ndarray]:
    """Instances of one image to arrays of a fixed first dimension, ``valid`` [count] bool among them.

    Args:
        instances: ``boxes`` [N, 4], ``classes`` [N], and any other arrays [N, ...]. Strings and entries
            that are no arrays stay behind.
        count: how many rows. Of more instances than that, those with the largest boxes are kept, in their
            order.
        mask_side: M; masks [N, H, W] bool become box-relative [count, M, M] float32 (:func:`crop_masks`).
            None: they stay whole, [count, H, W] bool.
    """
    boxes = np.asarray(instances["boxes"], np.float32).reshape(-1, 4)
    rows = np.arange(len(boxes))
    if len(boxes) > count:
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        rows = np.sort(np.argsort(-area, kind="stable")[:count])
    out = {"valid": np.arange(count) < len(rows)}
    for key, value in instances.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            continue
        kept = value[rows]
        if key == "masks" and mask_side is not None:
            kept = crop_masks(kept, boxes[rows], mask_side)
        padded = np.zeros((count, *kept.shape[1:]), kept.dtype)
        padded[: len(rows)] = kept
        out[key] = padded
    return out
