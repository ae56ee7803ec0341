"""Resizing by interpolation, with PyTorch's conventions (``torch.nn.functional.interpolate``).

Every method is separable: rows, then columns, each a fixed sparse matrix that is built with numpy when
traced. It is applied as a sum of few weighted gathers with constant indices, forward, and backward with its
transpose: nothing scatters. On a TPU it is a dense matrix product at full precision.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import check_image, known, pair, sum_dtype
from jaxseg.types import Array, JaxsegError

MOST_TAPS = 32  # beyond, a dense matrix product is faster than so many gathers (FCN-32's backward pass: 64 taps)


class Axis(NamedTuple):
    """How one axis is resized; a hashable value from which the matrix is built."""

    method: str
    size: int
    new_size: int
    align_corners: bool = False


def resize_nearest(x: Array, size: tuple[int, int]) -> Array:
    """Each output takes the input that covers its upper left corner: ``y[i, j] = x[floor(i H / H'), floor(j
    W / W')]``.

    Args:
      x: ``[H, W, C]``, floating point or integer (label maps keep their labels).
      size: (H', W') in pixels.

    Returns:
      ``[H', W', C]``, dtype of ``x``. Equal to PyTorch's ``mode="nearest"``.

    Raises:
      JaxsegError: a rank, dtype or size that does not fit.
    """
    check_image("x", x, 3, integers=True)
    new = pair("size", tuple(size), 1)
    axes = Axis("nearest", x.shape[0], new[0]), Axis("nearest", x.shape[1], new[1])
    if jnp.issubdtype(x.dtype, jnp.integer):
        return _take_nearest(axes, x)
    return _resize_nearest(axes, x)


def resize_bilinear(x: Array, size: tuple[int, int], align_corners: bool = False, antialias: bool = False) -> Array:
    """Weighted mean of the two nearest rows and columns, by the hat ``1 - |d|``.

    Output pixel ``i`` lies at ``(i + 1/2) H / H' - 1/2`` of the input, held within it; with
    ``align_corners`` at ``i (H - 1) / (H' - 1)``.

    Args:
      x: ``[H, W, C]``, floating point.
      size: (H', W') in pixels.
      align_corners: the centres of the corner pixels, not their outer corners, stay where they are.
      antialias: when shrinking, stretch the hat by the factor, so that every input pixel counts. False is
        PyTorch's default; ``jax.image.resize`` has True.

    Returns:
      ``[H', W', C]``, dtype of ``x``; computed in float32 for narrower types. Equal to PyTorch's
      ``mode="bilinear"``.

    Raises:
      JaxsegError: a rank, dtype or size that does not fit.
    """
    return _interpolate("hat" if antialias else "bilinear", x, size, align_corners)


def resize_bicubic(x: Array, size: tuple[int, int], align_corners: bool = False, antialias: bool = False) -> Array:
    """Weighted sum of the four nearest rows and columns, by Keys's cubic with ``a = -3/4`` (antialiased:
    ``-1/2``).

    ``w(d) = (a + 2) d^3 - (a + 3) d^2 + 1`` for ``d = |distance| <= 1``, ``a d^3 - 5 a d^2 + 8 a d - 4 a``
    to 2. Border pixels repeat outwards. The result may overshoot the input's range. Arguments, result and
    errors as in :func:`resize_bilinear`; equal to PyTorch's ``mode="bicubic"``.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", equation 4.
    """
    return _interpolate("cubic_filter" if antialias else "bicubic", x, size, align_corners)


def _interpolate(method: str, x: Array, size: tuple[int, int], align_corners: bool) -> Array:
    check_image("x", x, 3)
    new = pair("size", tuple(size), 1)
    rows, columns = (Axis(method, n, m, bool(align_corners)) for n, m in zip(x.shape[:2], new))
    return _resize((rows, columns), x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _resize(axes: tuple[Axis, Axis], x: Array) -> Array:
    if not known(*(size for axis in axes for size in (axis.size, axis.new_size))):
        return _resize_unknown(axes, x)
    return _apply([_matrix(axis) for axis in axes], x)


def _resize_forward(axes: tuple[Axis, Axis], x: Array) -> tuple[Array, None]:
    return _resize(axes, x), None


def _resize_backward(axes: tuple[Axis, Axis], kept: None, g: Array) -> tuple[Array]:
    del kept
    return (_apply([_matrix(axis).T for axis in axes], g),)


_resize.defvjp(_resize_forward, _resize_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _resize_nearest(axes: tuple[Axis, Axis], x: Array) -> Array:
    return _take_nearest(axes, x)


def _resize_nearest_forward(axes: tuple[Axis, Axis], x: Array) -> tuple[Array, None]:
    return _resize_nearest(axes, x), None


_resize_nearest.defvjp(_resize_nearest_forward, _resize_backward)


def _take_nearest(axes: tuple[Axis, Axis], x: Array) -> Array:
    rows, columns = (_nearest_index(axis) for axis in axes)
    return jnp.take(jnp.take(x, rows, 0), columns, 1)


def _apply(matrices: list[np.ndarray], x: Array) -> Array:
    """``[H', H] x [H, W, C] x [W', W]^T`` in float32 at least, the result in x's dtype."""
    wide = x.astype(sum_dtype(x))
    order = sorted((0, 1), key=lambda axis: matrices[axis].shape[0] / matrices[axis].shape[1])  # shrink first
    for axis in order:
        wide = lax.platform_dependent(
            wide,
            tpu=partial(_apply_dense, matrices[axis], axis),  # constant gathers are slow there, products are not
            default=partial(_apply_sparse, matrices[axis], axis),
        )
    return wide.astype(x.dtype)


def _apply_dense(matrix: np.ndarray, axis: int, x: Array) -> Array:
    formula = "oh,hwc->owc" if axis == 0 else "pw,hwc->hpc"
    return jnp.einsum(formula, jnp.asarray(matrix, x.dtype), x, precision=lax.Precision.HIGHEST)


def _apply_sparse(matrix: np.ndarray, axis: int, x: Array) -> Array:
    taps = max(int((matrix != 0).sum(1).max()), 1)
    if taps > MOST_TAPS:
        return _apply_dense(matrix, axis, x)
    if taps > 4:
        x = lax.optimization_barrier(x)  # else the axes fuse and this one's work is done again for each tap
    # The stable sort brings each row's nonzeros to the front; what fills up shorter rows has weight zero.
    index = np.argsort(matrix == 0, axis=1, kind="stable")[:, :taps]
    weight = np.take_along_axis(matrix, index, 1)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    terms = (jnp.take(x, index[:, t], axis) * jnp.asarray(weight[:, t].reshape(shape), x.dtype) for t in range(taps))
    return sum(terms, start=jnp.zeros((), x.dtype))


def _resize_unknown(axes: tuple[Axis, Axis], x: Array) -> Array:
    """Bilinear, of a size that an exported program is told when it runs: the taps are found in whole numbers."""
    wide = x.astype(sum_dtype(x))
    for dim, axis in enumerate(axes):
        if axis.method != "bilinear":
            raise JaxsegError(f"{axis.method} resizing can't be exported for any size, only bilinear: give a size")
        n, m, outputs = axis.size, axis.new_size, jnp.arange(axis.new_size)
        at, unit = (outputs * (n - 1), m - 1) if axis.align_corners else ((2 * outputs + 1) * n - m, 2 * m)
        unit = jnp.maximum(unit, 1)
        at = jnp.clip(at, 0, (n - 1) * unit)
        low = at // unit
        weight = ((at - low * unit) / unit).astype(wide.dtype).reshape((-1, 1, 1) if dim == 0 else (1, -1, 1))
        first, second = (jnp.take(wide, i, dim) for i in (low, jnp.minimum(low + 1, n - 1)))
        wide = first + (second - first) * weight
    return wide.astype(x.dtype)


def _matrix(axis: Axis) -> np.ndarray:
    """``[H', H]`` float64: row ``i`` holds the weights of output ``i``."""
    return {"nearest": _nearest, "bilinear": _bilinear, "bicubic": _bicubic}.get(axis.method, _filtered)(axis)


def _nearest_index(axis: Axis) -> Any:
    xp: Any = np if known(axis.size, axis.new_size) else jnp
    size, new_size = xp.float32(axis.size), xp.float32(axis.new_size)
    # In float32, since PyTorch's rounding decides ties.
    index = xp.floor(xp.arange(axis.new_size, dtype=xp.float32) * (size / new_size)).astype(xp.int32)
    return xp.minimum(index, axis.size - 1)


def _nearest(axis: Axis) -> np.ndarray:
    return np.eye(axis.size)[_nearest_index(axis)]


def _ratio(axis: Axis) -> float:
    if not axis.align_corners:
        return axis.size / axis.new_size
    return (axis.size - 1) / (axis.new_size - 1) if axis.new_size > 1 else 0.0


def _positions(axis: Axis) -> np.ndarray:
    outputs = np.arange(axis.new_size)
    return outputs * _ratio(axis) if axis.align_corners else (outputs + 0.5) * _ratio(axis) - 0.5


def _bilinear(axis: Axis) -> np.ndarray:
    inside = np.clip(_positions(axis), 0, axis.size - 1)
    return np.maximum(1 - np.abs(inside[:, None] - np.arange(axis.size)), 0)


def _bicubic(axis: Axis) -> np.ndarray:
    positions = _positions(axis)
    matrix = np.zeros((axis.new_size, axis.size))
    for tap in range(-1, 3):
        at = np.floor(positions).astype(int) + tap
        weight = _keys(positions - at, -0.75)
        np.add.at(matrix, (np.arange(axis.new_size), np.clip(at, 0, axis.size - 1)), weight)
    return matrix


def _filtered(axis: Axis) -> np.ndarray:
    """Antialiased: the filter stretched by the ratio where that shrinks, cut at the border, each row
    summing to 1.
    """
    cubic, ratio = axis.method == "cubic_filter", _ratio(axis)
    stretch = max(ratio, 1.0)
    support = (2 if cubic else 1) * stretch
    centres = ratio * (np.arange(axis.new_size) + 0.5)[:, None]
    pixels = np.arange(axis.size)[None]
    seen = (pixels >= np.trunc(centres - support + 0.5)) & (pixels < np.trunc(centres + support + 0.5))
    distance = (pixels - centres + 0.5) / stretch
    weight = _keys(distance, -0.5) if cubic else np.maximum(1 - np.abs(distance), 0)
    weight = np.where(seen, weight, 0)
    return weight / weight.sum(1, keepdims=True)


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
