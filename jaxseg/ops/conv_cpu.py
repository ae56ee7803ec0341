"""Forms of the convolution that are fast on a CPU. Each is here because it measured faster than XLA's own.

Measured on 2 cores (AVX-512), float32, jax 0.10.2, in turns with XLA's own:

* 3x3 of 96 channels or more is Winograd's (winograd_cpu.py): 1.4 to 2.1 times as fast (512 to 512 channels on 64x64,
  dilation 4: 54 ms against 99), its gradients 1.5 to 2.1 times; at 64 channels equal, the kernel's gradient 1.6 times.
  Its largest difference from XLA's is 1e-6 of the largest value.
* The weight gradient else is a matrix product over blocks of rows, so that the patches stay in the cache: 2 to 6 times
  as fast for 3x3 at 64 to 256 channels and 2 images of 512 to 128 pixels, 3 times at 24 channels, no slower at 1024.
* The input gradient at stride 1 is a convolution with the turned kernel: twice as fast at 24 channels, equal at more.
* 3x3 on 3 channels is 27 products and sums: 6 times as fast to 24 channels, equal to 64 (hence the bound).
* 1x1 is one matrix product. At other strides the input gradient stays XLA's: nothing tried was faster.
* XLA's own is 5 times slower without any padding than with some (32 channels, 4 images of 128 pixels; 3 times with 64):
  it gets one row more, which is cut off. It is 3 to 11 times slower from 3 to 24 or 32 channels than from 4 (as fast to
  16 and 48, hence the bounds), and 70 times slower with a kernel larger than the image (FCN's fc6, 7x7 on 6x6 at 512
  channels: 0.7 s against 10 ms as one matrix product over patches).
* Taps that often fall into the padding (atrous convolutions whose dilation is near the image's size) are one matrix
  product each over the pixels that they see: at 2048 to 256 channels on 4 images of 32 pixels 2 times as fast at
  dilation 12, 6 times at 24, 29 times at 36, where only the centre sees anything; the gradients 1.1 to 1.4, 3 to 4 and
  11 to 19 times.
* Depthwise 3x3 is 9 products and sums: at least 4 times as fast, its gradients 11 times (2 images of 33 to 129
  pixels, 64 to 2048 channels, on a busy machine; up to 79 and 54 times, most at few channels or with a stride).
"""

from collections.abc import Iterator
from functools import partial, reduce
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops import winograd_cpu
from jaxseg.ops.arguments import known, sum_dtype
from jaxseg.types import Array

BLOCK = 1_200_000  # numbers in one block of patches: about 5 MB, the fastest of those tried from 1 to 40 MB
MOST_SEEN = 0.8  # a kernel whose taps see the image less often than this is taken tap by tap
LEAST_PRODUCTS = 500_000_000  # below, XLA's own takes a few milliseconds, and every other form longer to compile
LEAST_CHANNELS = 96  # in and out, for Winograd's form to spare more than its sums cost
MOST_IN_TILES = 5.1  # products an output, of 9: more than 4 where tiles reach beyond the image (measured to 5.06)
LEAST_POSITIONS = 256  # a block sums over at least so many positions, else adding up large kernels costs more


class Geometry(NamedTuple):
    """What a convolution does besides its numbers; a hashable value."""

    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    groups: int

    def out_size(self, x_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the result (Dumoulin & Visin 2016, relationship 15)."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel_shape[:2])]
        padded = [n + sum(p) for n, p in zip(x_shape[1:3], self.padding)]
        rows, columns = ((n - r) // s + 1 for n, r, s in zip(padded, reach, self.stride))
        return rows, columns

    def seen(self, x_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> list["Tap"]:
        """The taps that see any of the image at stride 1, and what they see."""
        sizes = self.out_size(x_shape, kernel_shape)
        places: list[list[tuple[int, int, int, int]]] = []  # of rows, and of columns
        for n, out, k, d, (before, _) in zip(x_shape[1:3], sizes, kernel_shape, self.dilation, self.padding):
            shifts = (u * d - before for u in range(k))
            places.append([(u, s, max(0, -s), min(out, n - s)) for u, s in enumerate(shifts)])
        return [
            Tap((u, v), (slice(i0, i1), slice(j0, j1)), (slice(i0 + s, i1 + s), slice(j0 + t, j1 + t)))
            for u, s, i0, i1 in places[0]
            for v, t, j0, j1 in places[1]
            if i0 < i1 and j0 < j1
        ]

    def form(self, x: Array, kernel: Array) -> Literal["plain", "Winograd", "tap by tap"]:
        """The form that takes fewest products, of those that are fast with as many channels as here; plain where the
        size is not known, and of a batch that is not, as for one image."""
        kh, kw, c, o = kernel.shape
        if self.stride != (1, 1) or self.groups > 1 or kh * kw == 1 or not known(*x.shape[1:3]):
            return "plain"
        rows, columns = self.out_size(x.shape, kernel.shape)
        if (x.shape[0] if known(x.shape[0]) else 1) * rows * columns * kernel.size < LEAST_PRODUCTS:
            return "plain"
        seen = sum((i.stop - i.start) * (j.stop - j.start) for _, (i, j), _ in self.seen(x.shape, kernel.shape))
        down, right = winograd_cpu.tiles((rows, columns), self.dilation)
        in_tiles = 16 * down * right * self.dilation[0] * self.dilation[1]
        fewer = in_tiles <= min(seen, MOST_IN_TILES * rows * columns)
        if (kh, kw) == (3, 3) and x.dtype == jnp.float32 and min(c, o) >= LEAST_CHANNELS and fewer:
            return "Winograd"
        return "tap by tap" if seen < MOST_SEEN * kh * kw * rows * columns else "plain"

    def is_pointwise(self, kernel_shape: tuple[int, ...]) -> bool:
        """Whether every output pixel is a matrix times one input pixel."""
        return kernel_shape[:2] == (1, 1) and self.padding == ((0, 0), (0, 0)) and self.groups == 1

    def is_depthwise(self, kernel_shape: tuple[int, ...]) -> bool:
        """Whether every output channel sees the one input channel of its own number, through not too many taps."""
        kh, kw, c, o = kernel_shape
        return c == 1 < o == self.groups and kh * kw <= 25


class Tap(NamedTuple):
    """A place of the kernel, the output's pixels (rows, columns) that see the image there, and the pixels they see."""

    place: tuple[int, int]
    outputs: tuple[slice, slice]
    inputs: tuple[slice, slice]


def conv_lax(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """XLA's own convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def forward(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """The convolution. ``x [B, H, W, C]``, ``kernel [kh, kw, C / groups, O]``."""
    kh, kw, c, o = kernel.shape
    if geometry.stride != (1, 1) and not known(*x.shape[1:3]):
        return conv_lax(geometry, x, kernel)  # jax can't see that the sizes of other forms' results are equal
    if geometry.is_pointwise(kernel.shape):
        seen = x[:, :: geometry.stride[0], :: geometry.stride[1]]
        return seen @ kernel[0, 0]
    if geometry.groups == 1 and kh * kw * c <= 27 and o <= 32 and x.dtype == jnp.float32:
        return _sum_of_products(geometry, x, kernel)
    if geometry.is_depthwise(kernel.shape):
        return _depthwise(geometry, x, kernel)
    return _conv(geometry, x, kernel)


def backward(geometry: Geometry, x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
    """Gradients of ``sum(g * conv(x, kernel))`` by ``x`` and ``kernel``."""
    if geometry.groups > 1:
        form = _depthwise if geometry.is_depthwise(kernel.shape) else conv_lax
        return jax.vjp(partial(form, geometry), x, kernel)[1](g)
    return input_gradient(geometry, x, kernel, g), kernel_gradient(geometry, x, kernel, g)


def input_gradient(geometry: Geometry, x: Array, kernel: Array, g: Array) -> Array:
    """``dx``: ``g`` convolved with the turned kernel, its channels swapped, at stride 1 (and XLA's own at
    others).
    """
    if geometry.is_pointwise(kernel.shape) and geometry.stride == (1, 1):
        return (g.reshape(-1, g.shape[-1]) @ kernel[0, 0].T).reshape(x.shape)
    reach = [d * (k - 1) for d, k in zip(geometry.dilation, kernel.shape[:2])]
    if geometry.stride != (1, 1) or any(max(p) > r for p, r in zip(geometry.padding, reach)):
        return jax.vjp(partial(conv_lax, geometry, kernel=kernel), x)[1](g)[0]
    (top, bottom), (left, right) = geometry.padding
    padding = ((reach[0] - top, reach[0] - bottom), (reach[1] - left, reach[1] - right))
    geometry, turned = geometry._replace(padding=padding), kernel[::-1, ::-1].swapaxes(2, 3)
    if geometry.form(g, turned) == "Winograd":
        return _winograd(geometry, g, kernel, turned=True)
    return _conv(geometry, g, turned)


def _conv(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """The form that takes fewest products; else XLA's own, kept off the ways on which it is slow."""
    kh, kw, c, o = kernel.shape
    form = geometry.form(x, kernel)
    if form != "plain":
        return (_winograd if form == "Winograd" else _tap_by_tap)(geometry, x, kernel)
    rows, columns = geometry.out_size(x.shape, kernel.shape)
    small = known(*x.shape[1:3]) and (kh >= x.shape[1] or kw >= x.shape[2])
    if geometry.groups == 1 and c >= 16 and small:
        patches = jnp.concatenate([seen for seen, _ in _taps(geometry, x, kernel)], -1)  # [B, H', W', kh kw C]
        y = patches.reshape(-1, kh * kw * c) @ kernel.reshape(-1, o)
        return y.reshape(x.shape[0], rows, columns, o)
    if c == 3 and 16 < o < 48 and geometry.groups == 1:
        x, kernel = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1))), jnp.pad(kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
    if geometry.padding == ((0, 0), (0, 0)):
        geometry = geometry._replace(padding=((0, 1), (0, 0)))
    return conv_lax(geometry, x, kernel)[:, :rows]


def kernel_gradient(geometry: Geometry, x: Array, kernel: Array, g: Array) -> Array:
    """``dkernel[u, v, c, o] = sum_{b, i, j} g[b, i, j, o] x[b, i s + u d - p, j s + v d - p, c]``, in
    blocks of rows.
    """
    kh, kw, c, o = kernel.shape
    form = geometry.form(x, kernel)
    if form == "tap by tap":
        return _kernel_gradient_tap_by_tap(geometry, x, kernel, g)
    if form == "Winograd":
        (top, _), (left, _) = geometry.padding
        return winograd_cpu.kernel_gradient(x, g, dilation=geometry.dilation, before=(top, left))
    padded = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    b, height, width, _ = g.shape
    positions = max(BLOCK // (kh * kw * c), LEAST_POSITIONS)
    rows = min(max(positions // (b * width), 1), height)
    block = partial(_kernel_gradient_of_rows, geometry, (kh, kw), padded, g)
    first = (height - 1) % rows + 1  # what the whole blocks leave over, 1 to rows

    def add(total: Array, start: Array) -> tuple[Array, None]:
        return total + block(start, rows), None

    total = block(0, first)  # [O, kh kw C]
    if first < height:
        total, _ = lax.scan(add, total, jnp.arange(first, height, rows))
    return total.T.reshape(kh, kw, c, o).astype(kernel.dtype)


def _kernel_gradient_of_rows(
    geometry: Geometry, window: tuple[int, int], padded: Array, g: Array, start: Array | int, rows: int
) -> Array:
    """The part of the sum over ``rows`` rows of ``g`` from ``start`` on: ``[O, kh kw C]``, in ``sum_dtype``."""
    (down, right), (kh, kw), width = geometry.stride, window, g.shape[2]
    reach = geometry.dilation[0] * (kh - 1)
    seen = lax.dynamic_slice_in_dim(padded, start * down, (rows - 1) * down + reach + 1, 1)
    patches: list[Array] = []
    for u in range(0, reach + 1, geometry.dilation[0]):
        for v in range(0, geometry.dilation[1] * (kw - 1) + 1, geometry.dilation[1]):
            patches.append(seen[:, u : u + (rows - 1) * down + 1 : down, v : v + (width - 1) * right + 1 : right])
    patch = jnp.concatenate(patches, -1) if len(patches) > 1 else patches[0]  # [B, rows, W', kh kw C]
    wanted = lax.dynamic_slice_in_dim(g, start, rows, 1).reshape(-1, g.shape[3])
    patch = patch.reshape(-1, patch.shape[-1])
    return lax.dot_general(wanted, patch, (((0,), (0,)), ((), ())), preferred_element_type=sum_dtype(g))


def _winograd(geometry: Geometry, x: Array, kernel: Array, turned: bool = False) -> Array:
    (top, _), (left, _) = geometry.padding
    size = geometry.out_size(x.shape, kernel.shape)
    return winograd_cpu.conv(x, kernel, size, dilation=geometry.dilation, before=(top, left), turned=turned)


def _tap_by_tap(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """A matrix product a tap, of the pixels that it sees, added where it sees them."""
    b, c, o = x.shape[0], *kernel.shape[2:]
    total = jnp.zeros((b, *geometry.out_size(x.shape, kernel.shape), o), sum_dtype(x))
    for place, outputs, inputs in geometry.seen(x.shape, kernel.shape):
        seen = x[:, *inputs]
        product = jnp.matmul(seen.reshape(-1, c), kernel[place], preferred_element_type=sum_dtype(x))
        total = total.at[:, *outputs].set(total[:, *outputs] + product.reshape(*seen.shape[:3], o))
    return total.astype(x.dtype)


def _kernel_gradient_tap_by_tap(geometry: Geometry, x: Array, kernel: Array, g: Array) -> Array:
    """The same for ``dkernel``; taps that see nothing get 0."""
    total, c = jnp.zeros(kernel.shape, sum_dtype(x)), x.shape[-1]
    by_rows = x.reshape(*x.shape[:2], -1)  # cut out otherwise than in the forward pass: XLA would keep its slices
    for place, outputs, (rows, columns) in geometry.seen(x.shape, kernel.shape):
        seen = by_rows[:, rows, columns.start * c : columns.stop * c].reshape(-1, c)
        wanted = g[:, *outputs].reshape(-1, g.shape[-1])
        product = lax.dot_general(seen, wanted, (((0,), (0,)), ((), ())), preferred_element_type=sum_dtype(x))
        total = total.at[place].set(product)
    return total.astype(kernel.dtype)


def _sum_of_products(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """One product a kernel number, which XLA fuses into a single pass over the output."""
    rows, columns = geometry.out_size(x.shape, kernel.shape)
    total = jnp.zeros((), x.dtype)
    for seen, weights in _taps(geometry, x, kernel):
        for channel in range(kernel.shape[2]):
            total = total + seen[..., channel, None] * weights[channel][None, None, None]
    return jnp.broadcast_to(total, (x.shape[0], rows, columns, kernel.shape[3]))


def _depthwise(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """One product a tap, summed in float32 at least."""
    taps = _taps(geometry, x.astype(sum_dtype(x)), kernel.astype(sum_dtype(x)))
    return reduce(jnp.add, (seen * weights[None, None] for seen, weights in taps)).astype(x.dtype)


def _taps(geometry: Geometry, x: Array, kernel: Array) -> Iterator[tuple[Array, Array]]:
    """For each place of the kernel, what the output pixels see there ``[B, H', W', C]``, and its weights ``[c, O]``."""
    rows, columns = geometry.out_size(x.shape, kernel.shape)
    padded = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    (down, right), (spread_h, spread_w) = geometry.stride, geometry.dilation
    for u in range(kernel.shape[0]):
        for v in range(kernel.shape[1]):
            i, j = u * spread_h, v * spread_w
            seen = padded[:, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right]
            yield seen, kernel[u, v]
