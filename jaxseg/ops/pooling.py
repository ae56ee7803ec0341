"""Pooling, and the unpooling that gives the resolution back.

All functions take ``[..., H, W, C]``: one image or any leading axes. Where a window's largest value sits is
kept as a *switch*: its row-major position within the window (``u * kw + v``), 1 byte an output. Nothing
here gathers or scatters: a window is read as its ``kh * kw`` strided slices.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import IntPair, check_image, pair
from jaxseg.types import Array, JaxsegError


class Window(NamedTuple):
    """Sizes of a pooling: all (rows, columns). A hashable value."""

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    in_size: tuple[int, int]

    @property
    def out_size(self) -> tuple[int, int]:
        rows, columns = (
            (n + 2 * p - k) // s + 1 for n, p, k, s in zip(self.in_size, self.padding, self.window, self.stride)
        )
        return rows, columns

    @property
    def overlaps(self) -> bool:
        return any(k > s for k, s in zip(self.window, self.stride))

    @property
    def tiles(self) -> bool:
        """Whether the windows lie edge to edge from the first pixel on."""
        return self.window == self.stride and self.padding == (0, 0)

    def taps(self) -> Iterator[tuple[int, tuple[int, int]]]:
        return enumerate(itertools.product(range(self.window[0]), range(self.window[1])))


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
    geometry = _geometry(x.shape[-3:-1], window, stride, padding)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return _pool(geometry, x)[0]
    return _max_pool(geometry, x)


def max_pool_with_switches(
    x: Array, window: IntPair, stride: IntPair | None = None, padding: IntPair = 0
) -> tuple[Array, Array]:
    """:func:`max_pool` and, for each output, where in its window the largest value was.

    Returns:
      ``(pooled, switches)``, both ``[..., H', W', C]``; a switch is ``u * kw + v``, uint8 (int32 for
      windows of more than 256 pixels), the first of equal values. Arguments, errors and gradient as in
      :func:`max_pool`.

    Source: Zeiler & Fergus 2014, section 2.1; Noh et al. 2015, "Learning Deconvolution Network", section
    3.2.1.
    """
    check_image("x", x, integers=True)
    geometry = _geometry(x.shape[-3:-1], window, stride, padding)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return _pool(geometry, x)
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
    geometry = _geometry(out_size, window, stride, padding)
    _check_switches(y.shape, switches, geometry)
    if jnp.issubdtype(y.dtype, jnp.integer):
        return _place(geometry, y, switches)
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
    geometry = _geometry(in_size, window, stride, padding)
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
    geometry = _geometry(x.shape[-3:-1], window, stride, padding)
    padded = _pad(geometry, x, 0.0)
    total = _slice(geometry, padded, (0, 0))
    for _, tap in list(geometry.taps())[1:]:
        total = total + _slice(geometry, padded, tap)
    return total / jnp.asarray(geometry.window[0] * geometry.window[1], x.dtype)


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
    return _pool(geometry, x)[0]


def _max_pool_forward(geometry: Window, x: Array) -> tuple[Array, Array]:
    return _pool(geometry, x)  # keeps 1 byte an output for the gradient, not the image


def _max_pool_backward(geometry: Window, switches: Array, g: Array) -> tuple[Array]:
    return (_place(geometry, g, switches, add=True),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool_with_switches(geometry: Window, x: Array) -> tuple[Array, Array]:
    return _pool(geometry, x)


def _with_switches_forward(geometry: Window, x: Array) -> tuple[tuple[Array, Array], Array]:
    pooled, switches = _pool(geometry, x)
    return (pooled, switches), switches


def _with_switches_backward(geometry: Window, switches: Array, g: tuple[Array, Array]) -> tuple[Array]:
    return (_place(geometry, g[0], switches, add=True),)


_max_pool_with_switches.defvjp(_with_switches_forward, _with_switches_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_unpool(geometry: Window, y: Array, switches: Array) -> Array:
    return _place(geometry, y, switches)


def _max_unpool_forward(geometry: Window, y: Array, switches: Array) -> tuple[Array, Array]:
    return _max_unpool(geometry, y, switches), switches


def _max_unpool_backward(geometry: Window, switches: Array, g: Array) -> tuple[Array, np.ndarray]:
    no_gradient = np.zeros(switches.shape, jax.dtypes.float0)
    if geometry.overlaps:  # some values were written over: let jax see which
        blank = jnp.zeros(switches.shape, g.dtype)
        return jax.vjp(lambda y: _place(geometry, y, switches), blank)[1](g)[0], no_gradient
    padded = _pad(geometry, g, 0.0)
    result = jnp.zeros(switches.shape, g.dtype)
    for code, tap in geometry.taps():
        result = jnp.where(switches == code, _slice(geometry, padded, tap), result)
    return result, no_gradient


_max_unpool.defvjp(_max_unpool_forward, _max_unpool_backward)


def _pool(geometry: Window, x: Array) -> tuple[Array, Array]:
    """Largest value and its switch: one comparison a tap, strict, so that the first of equals stays."""
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    padded = _pad(geometry, x, lowest)
    count = geometry.window[0] * geometry.window[1]
    best = _slice(geometry, padded, (0, 0))
    switches = jnp.zeros(best.shape, jnp.uint8 if count <= 256 else jnp.int32)
    for code, tap in list(geometry.taps())[1:]:
        value = _slice(geometry, padded, tap)
        better = (value > best) | (value != value)  # NaN wins
        first_inside = _first_inside(geometry, tap)
        if first_inside.any():  # until here only padding was seen, which may not win, even against -infinity
            better = better | jnp.broadcast_to(first_inside[..., None], better.shape)
        best = jnp.where(better, value, best)
        switches = jnp.where(better, jnp.asarray(code, switches.dtype), switches)
    return best, switches


def _place(geometry: Window, y: Array, switches: Array, add: bool = False) -> Array:
    """``y`` at its switches on a canvas of zeros. Where several meet: added, or the last window's (``not
    add``).
    """
    *lead, rows, columns, c = y.shape
    if geometry.tiles:
        codes = np.arange(geometry.window[0] * geometry.window[1]).reshape(*geometry.window)
        codes = jnp.asarray(codes[:, None, :, None], switches.dtype)  # [kh, 1, kw, 1]
        codes = codes.reshape((1,) * len(lead) + (1, geometry.window[0], 1, geometry.window[1], 1))
        chosen = switches[..., :, None, :, None, :] == codes  # [..., H', kh, W', kw, C]
        canvas = jnp.where(chosen, y[..., :, None, :, None, :], jnp.zeros((), y.dtype))
        canvas = canvas.reshape(*lead, rows * geometry.window[0], columns * geometry.window[1], c)
        return _fit(canvas, geometry.in_size)
    canvas = None
    # A pixel's later windows see it nearer their beginning: from the last tap to the first, the last window
    # wins.
    for code, tap in reversed(list(geometry.taps())):
        chosen = switches == code
        value = _spread(geometry, jnp.where(chosen, y, jnp.zeros((), y.dtype)), tap)
        if canvas is None:
            canvas = value
        elif add or not geometry.overlaps:
            canvas = canvas + value
        else:
            canvas = jnp.where(_spread(geometry, chosen, tap), value, canvas)
    top, left = geometry.padding
    return canvas[..., top : top + geometry.in_size[0], left : left + geometry.in_size[1], :]


def _pad(geometry: Window, x: Array, value: float) -> Array:
    if geometry.padding == (0, 0):
        return x
    lead = [(0, 0, 0)] * (x.ndim - 3)
    config = [*lead, *((p, p, 0) for p in geometry.padding), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def _slice(geometry: Window, padded: Array, tap: tuple[int, int]) -> Array:
    """What every window sees at one of its positions: ``[..., H', W', C]``."""
    (u, v), (rows, columns) = tap, geometry.out_size
    down, right = geometry.stride
    return padded[..., u : u + (rows - 1) * down + 1 : down, v : v + (columns - 1) * right + 1 : right, :]


def _spread(geometry: Window, y: Array, tap: tuple[int, int]) -> Array:
    """The transpose of :func:`_slice`: ``[..., H + 2p, W + 2p, C]`` with zeros where the slice did not
    look.
    """
    config = [(0, 0, 0)] * (y.ndim - 3)
    for axis in range(2):
        low, stride = tap[axis], geometry.stride[axis]
        total = geometry.in_size[axis] + 2 * geometry.padding[axis]
        high = total - low - ((geometry.out_size[axis] - 1) * stride + 1)
        config.append((low, high, stride - 1))
    return lax.pad(y, jnp.zeros((), y.dtype), [*config, (0, 0, 0)])


def _fit(canvas: Array, size: tuple[int, int]) -> Array:
    """Zeros after the last row and column up to ``size`` (pixels that no window covered)."""
    short = [n - m for n, m in zip(size, canvas.shape[-3:-1])]
    config = [*[(0, 0, 0)] * (canvas.ndim - 3), *((0, s, 0) for s in short), (0, 0, 0)]
    return lax.pad(canvas, jnp.zeros((), canvas.dtype), config) if any(short) else canvas


def _first_inside(geometry: Window, tap: tuple[int, int]) -> np.ndarray:
    """``[H', W']``: whether ``tap`` is the window's first that lies on the image and not on its padding."""
    firsts = [
        np.maximum(p - np.arange(n) * s, 0) for n, s, p in zip(geometry.out_size, geometry.stride, geometry.padding)
    ]
    row, column = (f == t for f, t in zip(firsts, tap))
    return row[:, None] & column[None, :]


def _geometry(size: tuple[int, int], window: IntPair, stride: IntPair | None, padding: IntPair) -> Window:
    kernel = pair("window", window, 1)
    steps = kernel if stride is None else pair("stride", stride, 1)
    geometry = Window(kernel, steps, pair("padding", padding, 0), pair("size", tuple(size), 1))
    if any(2 * p > k for p, k in zip(geometry.padding, kernel)):
        raise JaxsegError(f"padding {padding} is more than half the window {window}: some windows would see no image")
    if min(geometry.out_size) < 1:
        raise JaxsegError(
            f"a window of {kernel} is larger than the image {geometry.in_size} with padding {geometry.padding}: "
            "pad the image, or use a smaller window"
        )
    return geometry


def _check_switches(shape: tuple[int, ...], switches: Array, geometry: Window) -> None:
    if switches.shape != shape or not jnp.issubdtype(switches.dtype, jnp.integer):
        raise JaxsegError(f"switches are {switches.dtype} {switches.shape}; expected whole numbers of shape {shape}")
    if shape[-3:-1] != geometry.out_size:
        raise JaxsegError(
            f"pooling {geometry.in_size} by {geometry.window}, stride {geometry.stride}, padding {geometry.padding} "
            f"gives {geometry.out_size}, but the pooled array has {shape[-3:-1]}: give the size before pooling"
        )
