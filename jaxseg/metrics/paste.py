"""A box-relative mask back in its image."""

import numpy as np


def paste_mask(
    mask: np.ndarray, box: np.ndarray, size: tuple[int, int], *, threshold: float = 0.5
) -> tuple[np.ndarray, tuple[int, int]]:
    """Mask [M, M] of probabilities to the pixels of an image where it is at least ``threshold``.

    The M by M values stand at the centres of the box's cells, with 0 beyond the box; each pixel takes the bilinear
    value at its centre (``grid_sample`` with ``align_corners=False``; detectron2's ``paste_masks_in_image``). On the
    host, and only where the box lies.

    Args:
        mask: [M, M] float.
        box: [4] xyxy in continuous pixels, which may reach beyond the image.
        size: (H, W) of the image.
        threshold: above 0.5 no pixel outside of the box can reach it; below, those near its edge are cut off.

    Returns:
        ``(bitmap [h, w] bool, corner (x, y))``: the part of the box that is in the image; 0 by 0 if none is.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    left, right = _pixels(x1, x2, size[1])
    top, bottom = _pixels(y1, y2, size[0])
    if right <= left or bottom <= top:
        return np.zeros((0, 0), bool), (0, 0)
    rows, columns = _weights(top, bottom, y1, y2, mask.shape[0]), _weights(left, right, x1, x2, mask.shape[1])
    return rows @ np.asarray(mask, np.float32) @ columns.T >= np.float32(threshold), (left, top)


def _pixels(low: float, high: float, length: int) -> tuple[int, int]:
    """The first pixel whose centre is in ``low..high`` and the image, and the one after the last."""
    if not high > low:
        return 0, 0
    return max(0, int(np.ceil(low - 0.5))), min(length, int(np.floor(high - 0.5)) + 1)


def _weights(first: int, stop: int, low: float, high: float, side: int) -> np.ndarray:
    """[stop - first, M] float32: how each pixel's value is made of the M cells between ``low`` and ``high``."""
    at = (np.arange(first, stop) + 0.5 - low) / (high - low) * side - 0.5
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))).astype(np.float32)
