"""The geometry of pooling windows, and the two walks over them that pooling and unpooling are made of."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import IntPair, pair
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


def read_window(size: Sequence[int], window: IntPair, stride: IntPair | None, padding: IntPair) -> Window:
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


def largest(geometry: Window, x: Array) -> tuple[Array, Array]:
    """Largest value and its switch: one comparison a tap, strict, so that the first of equals stays."""
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    padded = pad(geometry, x, lowest)
    count = geometry.window[0] * geometry.window[1]
    best = seen_at(geometry, padded, (0, 0))
    switches = jnp.zeros(best.shape, jnp.uint8 if count <= 256 else jnp.int32)
    for code, tap in list(geometry.taps())[1:]:
        value = seen_at(geometry, padded, tap)
        better = (value > best) | (value != value)  # NaN wins
        first_inside = _first_inside(geometry, tap)
        if first_inside.any():  # until here only padding was seen, which may not win, even against -infinity
            better = better | jnp.broadcast_to(first_inside[..., None], better.shape)
        best = jnp.where(better, value, best)
        switches = jnp.where(better, jnp.asarray(code, switches.dtype), switches)
    return best, switches


def place(geometry: Window, y: Array, switches: Array, add: bool = False) -> Array:
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
    canvas: Any = None
    # A pixel's later windows see it nearer their beginning: from the last tap to the first, the last window
    # wins.
    for code, tap in reversed(list(geometry.taps())):
        chosen = switches == code
        value = spread(geometry, jnp.where(chosen, y, jnp.zeros((), y.dtype)), tap)
        if canvas is None:
            canvas = value
        elif add or not geometry.overlaps:
            canvas = canvas + value
        else:
            canvas = jnp.where(spread(geometry, chosen, tap), value, canvas)
    top, left = geometry.padding
    return canvas[..., top : top + geometry.in_size[0], left : left + geometry.in_size[1], :]


def pad(geometry: Window, x: Array, value: float) -> Array:
    if geometry.padding == (0, 0):
        return x
    lead = [(0, 0, 0)] * (x.ndim - 3)
    config = [*lead, *((p, p, 0) for p in geometry.padding), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def seen_at(geometry: Window, padded: Array, tap: tuple[int, int]) -> Array:
    """What every window sees at one of its positions: ``[..., H', W', C]``."""
    (u, v), (rows, columns) = tap, geometry.out_size
    down, right = geometry.stride
    return padded[..., u : u + (rows - 1) * down + 1 : down, v : v + (columns - 1) * right + 1 : right, :]


def spread(geometry: Window, y: Array, tap: tuple[int, int]) -> Array:
    """The transpose of :func:`seen_at`: ``[..., H + 2p, W + 2p, C]`` with zeros where the slice did not
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
