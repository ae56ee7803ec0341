"""Instance masks: small ones that lie in their boxes, cut out of the truth and put back into the image."""

from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.roi import bin_taps
from jaxseg.types import Array, JaxsegError

PasteRule = Literal["torchvision", "detectron2"]


def crop_masks(
    masks: Array,
    mask_boxes: Array | None,
    boxes: Array,
    index: Array,
    side: int,
    *,
    aligned: bool,
    max_samples: int = 4,
) -> Array:
    """What of a mask lies in each cell of a box: RoIAlign of the mask with as many samples as the box has pixels.

    Args:
      masks: ``[N, H, W]`` of the whole image; or ``[N, M, M]``, each seen through its own of ``mask_boxes [N, 4]``.
        Boolean or numbers 0 to 1.
      mask_boxes: None for masks of the whole image.
      boxes: ``[P, 4]`` in pixels.
      index: ``[P]``, which mask each box is to be filled from.
      side: cells of a box down and across.
      aligned: as in :func:`jaxseg.ops.roi_align`; torchvision's targets are made with False. Masks in boxes always are
        True.
      max_samples: of a cell along an axis.

    Returns:
      ``[P, side, side]`` float32 in 0 to 1, without gradient; 0 outside of a mask's own box.
    """
    n, p = len(masks), len(boxes)
    if masks.ndim != 3 or boxes.shape != (p, 4) or index.shape != (p,):
        raise JaxsegError(
            f"crop_masks: masks have shape {masks.shape}, boxes {boxes.shape} and index {index.shape}; expected "
            "[N, H, W], [P, 4] and [P]"
        )
    h, w = masks.shape[1:]
    boxes = lax.stop_gradient(boxes.astype(jnp.float32))
    if mask_boxes is not None:
        own = mask_boxes.astype(jnp.float32)[index]
        sides = jnp.tile(jnp.maximum(own[:, 2:] - own[:, :2], 1e-3), (1, 2))
        cells = jnp.broadcast_to(jnp.array([w, h, w, h], jnp.float32), own.shape)
        boxes, aligned = (boxes - jnp.tile(own[:, :2], (1, 2))) / sides * cells, True
        # Beyond the box lies nothing, where RoIAlign would repeat the edge.
        masks = jnp.pad(masks, ((0, 0), (1, 1), (1, 1)))
        boxes, (h, w) = boxes + 1, (h + 2, w + 2)
    axis = partial(bin_taps, ratio=0, most=max_samples, aligned=aligned)
    x, wx = axis(boxes[:, 0], boxes[:, 2], side, jnp.full(p, w))
    y, wy = axis(boxes[:, 1], boxes[:, 3], side, jnp.full(p, h))
    rows = (index.astype(jnp.int32) * h)[:, None, None] + y
    flat = masks.reshape(n * h * w)
    terms = (
        flat[rows[:, :, None, a] * w + x[:, None, :, b]].astype(jnp.float32) * (wy[:, :, None, a] * wx[:, None, :, b])
        for a in range(rows.shape[-1])
        for b in range(x.shape[-1])
    )
    return lax.stop_gradient(sum(terms, start=jnp.zeros(())))


def paste_masks(masks: Array, boxes: Array, size: tuple[int, int], *, rule: PasteRule = "detectron2") -> Array:
    """Masks that lie in boxes, enlarged bilinearly to the image; 0 outside.

    Args:
      masks: ``[D, M, M]`` probabilities.
      boxes: ``[D, 4]`` in pixels of the image.
      size: its height and width.
      rule: ``"detectron2"``: each pixel's middle is looked up in the box, a border of nothing around it.
        ``"torchvision"``: a border of nothing is added to the mask, the box grown by as much and cut to whole pixels,
        and the mask resized to that.

    Returns:
      ``[D, H, W]`` float32 probabilities; a box without size gives 0. Two products with the matrices of the
      interpolation, of D M (H M + H W) multiplications.
    """
    d, m = masks.shape[:2]
    if masks.shape != (d, m, m) or boxes.shape != (d, 4) or rule not in ("torchvision", "detectron2"):
        raise JaxsegError(
            f"paste_masks: masks have shape {masks.shape}, boxes {boxes.shape} and the rule is {rule!r}; expected "
            "[D, M, M], [D, 4] and torchvision or detectron2"
        )
    masks, boxes = masks.astype(jnp.float32), boxes.astype(jnp.float32)
    axis = _torchvision_axis if rule == "torchvision" else _detectron2_axis
    if rule == "torchvision":
        masks = jnp.pad(masks, ((0, 0), (1, 1), (1, 1)))
    down, across = (axis(boxes[:, i], boxes[:, i + 2], size[1 - i], m) for i in (1, 0))
    rows = jnp.einsum("dhm,dmn->dhn", down, masks, precision="highest")
    return jnp.einsum("dhn,dwn->dhw", rows, across, precision="highest")


def _detectron2_axis(start: Array, end: Array, length: int, m: int) -> Array:
    """``[D, length, M]``: weights of a mask's M values at each pixel."""
    pixel = jnp.asarray(np.arange(length, dtype=np.float32) + 0.5)[None]
    side = (end - start)[:, None]
    at = (pixel - start[:, None]) / jnp.where(side > 0, side, 1) * m - 0.5
    weights = _hat(at, m)
    return jnp.where((side > 0)[..., None], weights, 0)


def _torchvision_axis(start: Array, end: Array, length: int, m: int) -> Array:
    """``[D, length, M + 2]``."""
    middle, half = (start + end) * 0.5, (end - start) * 0.5 * ((m + 2) / m)
    first, last = jnp.trunc(middle - half)[:, None], jnp.trunc(middle + half)[:, None]  # toward zero, as C's integers
    pixels = jnp.maximum(last - first + 1, 1)
    pixel = jnp.asarray(np.arange(length, dtype=np.float32))[None]
    at = jnp.clip((pixel - first + 0.5) * ((m + 2) / pixels) - 0.5, 0, m + 1)
    inside = (pixel >= first) & (pixel <= last) & (end > start)[:, None]
    return jnp.where(inside[..., None], _hat(at, m + 2), 0)


def _hat(at: Array, count: int) -> Array:
    """``max(0, 1 - |at - i|)`` for i in 0..count-1: bilinear interpolation as a matrix."""
    places = jnp.asarray(np.arange(count, dtype=np.float32))[None, None]
    return jnp.maximum(0, 1 - jnp.abs(at[..., None] - places))
