"""A box of an image resized to a fixed size, and back: what proposal-wise prediction cuts out and puts together.

Boxes may be traced values: each axis is a matrix of weights computed from the box, so shapes stay static and nothing
gathers. An output pixel is the mean of what its cell covers, widened to one pixel at least: bilinear interpolation
where the box is enlarged, the average over area where it is shrunk.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxseg.ops.arguments import IntPair, check_image, pair
from jaxseg.types import Array, JaxsegError


def crop_resize(image: Array, box: Array, size: IntPair, fill: Array | float = 0.0) -> Array:
    """The window ``box`` of an image, resized; outside the image it shows ``fill``.

    Along each axis ``y[o] = sum_i |cell_o & pixel_i| x[i] / |cell_o|`` with ``cell_o`` the o-th of S equal parts of
    the box, widened about its centre to one pixel where it is narrower.

    Args:
      image: ``[H, W, C]``, floating point.
      box: ``[4]`` floating point, (x1, y1, x2, y2) in continuous pixels; it may reach beyond the image.
      size: (H', W') of the result, an int or (rows, columns).
      fill: a number or one a channel, ``[C]``.

    Returns:
      ``[H', W', C]``, dtype of ``image``; computed in float32. A box without area shows the point where it lies.

    Raises:
      JaxsegError: a rank, dtype or size that does not fit.
    """
    check_image("image", image, 3)
    x1, y1, x2, y2 = _check_box(box)
    rows, columns = pair("size", size, 1)
    down, right = overlaps(y1, y2 - y1, rows, image.shape[0]), overlaps(x1, x2 - x1, columns, image.shape[1])
    ground = jnp.broadcast_to(jnp.asarray(fill, jnp.float32), image.shape[2:])[None, None]
    return (_apply(down, right, image.astype(jnp.float32) - ground) + ground).astype(image.dtype)


def paste_resize(patch: Array, box: Array, size: IntPair) -> Array:
    """The inverse of :func:`crop_resize`: a map of the box put back into an image, zeros outside the box.

    A pixel belongs to the box if its centre does (``x1 <= j + 1/2 < x2``). Weights as in :func:`crop_resize`, from
    the patch's pixels alone: at its border they are divided by their sum, which repeats the last row and column.

    Args:
      patch: ``[S, T, C]``, floating point.
      box: ``[4]`` floating point, (x1, y1, x2, y2) in the image's pixels.
      size: (H, W) of the image, an int or (rows, columns).

    Returns:
      ``[H, W, C]``, dtype of ``patch``; computed in float32. All zero for a box without area or off the image.

    Raises:
      JaxsegError: a rank, dtype or size that does not fit.
    """
    check_image("patch", patch, 3)
    x1, y1, x2, y2 = _check_box(box)
    rows, columns = pair("size", size, 1)
    down, right = _placed(y1, y2, rows, patch.shape[0]), _placed(x1, x2, columns, patch.shape[1])
    return _apply(down, right, patch.astype(jnp.float32)).astype(patch.dtype)


def grid_boxes(size: IntPair, sides: tuple[float, ...] = (1.0, 0.5), overlap: float = 0.5) -> np.ndarray:
    """Square boxes of several sizes laid evenly over an image; those of each size cover all of it.

    Args:
      size: (H, W) of the image.
      sides: of the squares, as parts of the image's shorter side.
      overlap: the least part of a side that neighbours share.

    Returns:
      ``[N, 4]`` float32 boxes (x1, y1, x2, y2) within the image, constants when traced.

    Raises:
      JaxsegError: sides outside (0, 1], or an overlap outside [0, 1).
    """
    height, width = pair("size", size, 1)
    if not all(0 < s <= 1 for s in sides) or not 0 <= overlap < 1:
        raise JaxsegError(f"sides are {sides} and overlap {overlap}; expected 0 < side <= 1 and 0 <= overlap < 1")
    boxes: list[tuple[float, float, float, float]] = []
    for side in (s * min(height, width) for s in sides):
        counts = (int(np.ceil((n - side) / (side * (1 - overlap)) - 1e-6)) + 1 for n in (height, width))
        ys, xs = (np.linspace(0, n - side, count) for n, count in zip((height, width), counts))
        boxes += [(x, y, x + side, y + side) for y in ys for x in xs]
    return np.array(boxes, np.float32)


def context_boxes(boxes: Any, side: int, context: float) -> Any:
    """Boxes so enlarged that, when they are warped to ``side`` x ``side`` pixels, the original is surrounded by
    ``context`` of these pixels (Girshick et al. 2014, appendix A).

    Args:
      boxes: ``[..., 4]``, of jax or numpy.
      side, context: 227 and 16 in the paper.
    """
    if context < 0 or 2 * context >= side:
        raise JaxsegError(f"context_boxes: context is {context} and side {side}; expected 0 up, and less than half")
    return boxes + (boxes - boxes[..., np.array([2, 3, 0, 1])]) * (context / (side - 2 * context))


def overlaps(start: Any, length: Any, cells: int, pixels: int, xp: Any = jnp) -> Any:
    """``[cells, pixels]``: the part of each cell of ``start ... start + length`` that each pixel covers. ``xp``: numpy
    for the host."""
    step = length / cells
    centre = start + (xp.arange(cells, dtype=xp.float32) + 0.5) * step
    width = xp.maximum(step, 1.0)
    begin, end = (centre - width / 2)[:, None], (centre + width / 2)[:, None]
    left = xp.arange(pixels, dtype=xp.float32)[None]
    return xp.maximum(xp.minimum(end, left + 1) - xp.maximum(begin, left), 0.0) / width


def _placed(first: Array, last: Array, pixels: int, cells: int) -> Array:
    """``[pixels, cells]``: the weights by which an image's pixels read a patch of so many cells; zero outside."""
    scale = cells / jnp.maximum(last - first, 1e-6)
    weights = overlaps(-first * scale, pixels * scale, pixels, cells)
    total = weights.sum(1, keepdims=True)
    centre = jnp.arange(pixels, dtype=jnp.float32)[:, None] + 0.5
    inside = (centre >= first) & (centre < last)
    return jnp.where(inside, weights / jnp.where(total > 0, total, 1.0), 0.0)


def _apply(rows: Array, columns: Array, x: Array) -> Array:
    return jnp.einsum("oh,hwc,pw->opc", rows, x, columns, precision="highest")


def _check_box(box: Array) -> tuple[Array, ...]:
    if box.shape != (4,) or not jnp.issubdtype(box.dtype, jnp.floating):
        raise JaxsegError(f"box is {box.dtype} {box.shape}; expected floating point [4], (x1, y1, x2, y2)")
    return tuple(box.astype(jnp.float32))
