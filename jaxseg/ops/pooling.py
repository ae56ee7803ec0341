"""Pooling, and the unpooling that gives the resolution back.

All functions take ``[..., H, W, C]``: one image or any leading axes. Where a window's largest value sits is
kept as a *switch*: its row-major position within the window (``u * kw + v``), 1 byte an output. Nothing
here gathers or scatters: a window is read as its ``kh * kw`` strided slices.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import IntPair, check_image, known, pair, sum_dtype
from jaxseg.ops.windows import Window, largest, pad, place, read_window, seen_at
from jaxseg.types import Array, JaxsegError


def max_pool(x: Array, window: IntPair, stride: IntPair | None = None, padding: IntPair = 0) -> Array:
    """Largest value of each window: ``y[i, j] = max_{u, v} x[i s + u - p, j s + v - p]``, outside is
    -infinity.

    Args:
      x: ``[..., H, W, C]``, floating point or integer.
      window, stride, padding: an int or (rows, columns); stride None means the window; padding at most half
        of it.

    Returns:
      ``[..., H', W', C]`` with ``H' = floor((H + 2 p - window) / stride) + 1``, dtype of ``x``. A NaN in a
      window is its result. The gradient goes to the first of equal values in row-major order, as in PyTorch.

    Raises:
      JaxsegError: a rank or dtype that does not fit, or a window larger than the padded image.
    """
    check_image("x", x, integers=True)
    geometry = read_window(x.shape[-3:-1], window, stride, padding)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return largest(geometry, x)[0]
    return _max_pool(geometry, x)


def max_pool_with_switches(
    x: Array, window: IntPair, stride: IntPair | None = None, padding: IntPair = 0
) -> tuple[Array, Array]:
    """:func:`max_pool` and, for each output, where in its window the largest value was.

    Returns:
      ``(pooled, switches)``, both ``[..., H', W', C]``; a switch is ``u * kw + v``, uint8 (int32 for
      windows of more than 254 pixels), the first of equal values. Arguments, errors and gradient as in
      :func:`max_pool`.

    Source: Zeiler & Fergus 2014, section 2.1; Noh et al. 2015, "Learning Deconvolution Network", section
    3.2.1.
    """
    check_image("x", x, integers=True)
    geometry = read_window(x.shape[-3:-1], window, stride, padding)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return largest(geometry, x)
    return _max_pool_with_switches(geometry, x)


def max_unpool(
    y: Array,
    switches: Array,
    window: IntPair,
    stride: IntPair | None,
    out_size: tuple[int, int],
    padding: IntPair = 0,
) -> Array:
    """Put each value back where its window's largest value was; zeros elsewhere.

    ``x[i s + u - p, j s + v - p] = y[i, j]`` with ``(u, v)`` the switch of window ``(i, j)``.

    Args:
      y: ``[..., H', W', C]``, floating point or integer.
      switches: of y's shape, from :func:`max_pool_with_switches`.
      window, stride, padding: as given to the pooling.
      out_size: (H, W) of what was pooled.

    Returns:
      ``[..., H, W, C]``, dtype of ``y``. ``max_pool(max_unpool(y)) == y`` for y >= 0 where windows do not
      overlap. Where they do, several windows may have chosen the same pixel: it is written once, by the
      last of them in row-major order (not their sum). After a pooling they all hold the same value anyway,
      its maximum. The gradient goes to the window that wrote; PyTorch's goes to every window that chose the
      pixel.

    Raises:
      JaxsegError: shapes that do not fit each other or ``out_size``.

    Source: Noh et al. 2015, section 3.2.1; Badrinarayanan et al. 2017 (SegNet), section 3.
    """
    check_image("y", y, integers=True)
    geometry = read_window(out_size, window, stride, padding)
    _check_switches(y.shape, switches, geometry)
    if jnp.issubdtype(y.dtype, jnp.integer):
        return place(geometry, y, switches)
    return _max_unpool(geometry, y, switches)


def switches_to_flat_indices(
    switches: Array, window: IntPair, stride: IntPair | None, in_size: tuple[int, int], padding: IntPair = 0
) -> Array:
    """Switches as PyTorch's indices ``row * W + column`` into the pooled image of ``in_size`` (H, W).

    Returns:
      int32 of the shape of ``switches`` (``[..., H', W', C]``; PyTorch's ``[..., C, H', W']`` is its
      transpose).

    Raises:
      JaxsegError: switches that such a pooling can't have given.
    """
    geometry = read_window(in_size, window, stride, padding)
    _check_switches(switches.shape, switches, geometry)
    rows, columns = (
        np.arange(n, dtype=np.int32) * s - p for n, s, p in zip(geometry.out_size, geometry.stride, geometry.padding)
    )
    codes = switches.astype(jnp.int32)
    rank = (1,) * (switches.ndim - 3)
    row = codes // geometry.window[1] + jnp.asarray(rows).reshape(*rank, -1, 1, 1)
    column = codes % geometry.window[1] + jnp.asarray(columns).reshape(*rank, 1, -1, 1)
    return row * geometry.in_size[1] + column


def avg_pool(x: Array, window: IntPair, stride: IntPair | None = None, padding: IntPair = 0) -> Array:
    """Mean of each window, zeros of the padding counted (PyTorch's default ``count_include_pad=True``).

    ``y[i, j] = sum_{u, v} x[i s + u - p, j s + v - p] / (kh kw)``. Arguments and errors as in
    :func:`max_pool`, but floating point only.
    """
    check_image("x", x)
    geometry = read_window(x.shape[-3:-1], window, stride, padding)
    padded = pad(geometry, x, 0.0)
    (kh, kw), (down, right), (rows, columns) = geometry.window, geometry.stride, geometry.out_size
    # The sum is separable: kh + kw slices, not kh * kw.
    strips = [padded[..., u : u + (rows - 1) * down + 1 : down, :, :] for u in range(kh)]
    strip = sum(strips[1:], start=strips[0])
    parts = [strip[..., v : v + (columns - 1) * right + 1 : right, :] for v in range(kw)]
    total = sum(parts[1:], start=parts[0])
    return total / jnp.asarray(geometry.window[0] * geometry.window[1], x.dtype)


def adaptive_avg_pool(x: Array, size: IntPair) -> Array:
    """Mean of each of ``size`` bins: bin ``i`` covers the rows ``floor(i H / H') ... ceil((i + 1) H / H') - 1``.

    Bins overlap where H is no multiple, and repeat pixels where H' > H, as PyTorch's ``adaptive_avg_pool2d``.

    Args:
      x: ``[..., H, W, C]``, floating point.
      size: (H', W'), an int or (rows, columns).

    Returns:
      ``[..., H', W', C]``, dtype of ``x``, summed in float32 at least.

    Raises:
      JaxsegError: a rank, dtype or size that does not fit.
    """
    check_image("x", x)
    wide = x.astype(sum_dtype(x))
    rows, columns = (_bins(n, m).astype(wide.dtype) for n, m in zip(x.shape[-3:-1], pair("size", size, 1)))
    pooled = jnp.einsum("ih,...hwc,jw->...ijc", rows, wide, columns, precision="highest")
    return pooled.astype(x.dtype)


def _bins(size: int, bins: int) -> Any:
    """``[bins, size]``: the weight of each pixel in each bin's mean."""
    xp: Any = np if known(size) else jnp
    bin, pixel = xp.arange(bins)[:, None], xp.arange(size)[None]
    begin, end = bin * size // bins, -(-(bin + 1) * size // bins)
    return xp.where((begin <= pixel) & (pixel < end), 1 / (end - begin), 0.0)


def bed_of_nails(x: Array, factor: IntPair) -> Array:
    """Each value at the upper left of a ``factor`` x ``factor`` block of zeros: ``y[f i, f j] = x[i, j]``.

    ``x [..., H, W, C]`` of any dtype -> ``[..., f H, f W, C]``. Raises JaxsegError for a factor below 1.
    """
    check_image("x", x, integers=True)
    rows, columns = pair("factor", factor, 1)
    lead = [(0, 0, 0)] * (x.ndim - 3)
    config = [*lead, (0, rows - 1, rows - 1), (0, columns - 1, columns - 1), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def unpool_nearest(x: Array, factor: IntPair) -> Array:
    """Each value fills a ``factor`` x ``factor`` block: ``y[i, j] = x[i // f, j // f]``.

    ``x [..., H, W, C]`` of any dtype -> ``[..., f H, f W, C]``. :func:`avg_pool` by the same factor undoes
    it. Raises JaxsegError for a factor below 1.
    """
    check_image("x", x, integers=True)
    rows, columns = pair("factor", factor, 1)
    *lead, h, w, c = x.shape
    blocks = jnp.broadcast_to(x[..., :, None, :, None, :], (*lead, h, rows, w, columns, c))
    return blocks.reshape(*lead, h * rows, w * columns, c)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool(geometry: Window, x: Array) -> Array:
    return largest(geometry, x)[0]


def _max_pool_forward(geometry: Window, x: Array) -> tuple[Array, Array]:
    return largest(geometry, x)  # keeps 1 byte an output for the gradient, not the image


def _max_pool_backward(geometry: Window, switches: Array, g: Array) -> tuple[Array]:
    return (place(geometry, g, switches, add=True),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool_with_switches(geometry: Window, x: Array) -> tuple[Array, Array]:
    return largest(geometry, x)


def _with_switches_forward(geometry: Window, x: Array) -> tuple[tuple[Array, Array], Array]:
    pooled, switches = largest(geometry, x)
    return (pooled, switches), switches


def _with_switches_backward(geometry: Window, switches: Array, g: tuple[Array, Array]) -> tuple[Array]:
    return (place(geometry, g[0], switches, add=True),)


_max_pool_with_switches.defvjp(_with_switches_forward, _with_switches_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_unpool(geometry: Window, y: Array, switches: Array) -> Array:
    return place(geometry, y, switches)


def _max_unpool_forward(geometry: Window, y: Array, switches: Array) -> tuple[Array, Array]:
    return _max_unpool(geometry, y, switches), switches


def _max_unpool_backward(geometry: Window, switches: Array, g: Array) -> tuple[Array, np.ndarray]:
    no_gradient = np.zeros(switches.shape, jax.dtypes.float0)
    if geometry.overlaps:  # some values were written over: let jax see which
        blank = jnp.zeros(switches.shape, g.dtype)
        return jax.vjp(partial(place, geometry, switches=switches), blank)[1](g)[0], no_gradient
    padded = pad(geometry, g, 0.0)
    result = jnp.zeros(switches.shape, g.dtype)
    for code, tap in geometry.taps():
        result = jnp.where(switches == code, seen_at(geometry, padded, tap), result)
    return result, no_gradient


_max_unpool.defvjp(_max_unpool_forward, _max_unpool_backward)


def _check_switches(shape: tuple[int, ...], switches: Array, geometry: Window) -> None:
    if switches.shape != shape or not jnp.issubdtype(switches.dtype, jnp.integer):
        raise JaxsegError(f"switches are {switches.dtype} {switches.shape}; expected whole numbers of shape {shape}")
    if shape[-3:-1] != geometry.out_size:
        raise JaxsegError(
            f"pooling {geometry.in_size} by {geometry.window}, stride {geometry.stride}, padding {geometry.padding} "
            f"gives {geometry.out_size}, but the pooled array has {shape[-3:-1]}: give the size before pooling"
        )
