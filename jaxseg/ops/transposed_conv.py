"""Transposed convolution ("deconvolution", "up-convolution"): a convolution's matrix, transposed, as learnt
upsampling.

Every input value stamps its weighted copy of the kernel on the output, ``stride`` pixels apart; overlaps
add up.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import IntPair, check_image, pair
from jaxseg.ops.conv import conv
from jaxseg.types import Array, JaxsegError


def transposed_conv(
    x: Array,
    kernel: Array,
    stride: IntPair,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    *,
    groups: int = 1,
) -> Array:
    """Stamp the kernel at every input pixel: ``y[i s + u - p, j s + v - p, o] += x[i, j, c] kernel[u, v, c,
    o]``.

    Args:
      x: ``[B, H, W, C]``, floating point.
      kernel: ``[kh, kw, C, O / groups]``, as it is stamped (not flipped), of the same dtype. PyTorch's
        ``weight[c, o, u, v]`` is ``kernel[u, v, c, o]``.
      stride: pixels between stamps, an int or (rows, columns).
      padding: rows and columns cut off on every side (those that the convolution's padding had added).
      output_padding: rows and columns added below and on the right, below the stride: which of the sizes
        that a strided convolution maps to H was meant.
      groups: channels in so many groups, each of which makes ``O / groups`` outputs. ``groups = C`` with a
        kernel ``[kh, kw, C, 1]`` enlarges each channel by itself.

    Returns:
      ``[B, (H - 1) s - 2 p + kh + output_padding, ..., O]``, dtype of ``x``.

    Raises:
      JaxsegError: ranks, dtypes or channels that do not fit, or nothing left after cutting.

    Source: Dumoulin & Visin 2016, section 4; Long et al. 2015, "Fully Convolutional Networks", section 3.3.
    """
    check_image("x", x, 4)
    steps, cut, more = (
        pair("stride", stride, 1),
        pair("padding", padding, 0),
        pair("output_padding", output_padding, 0),
    )
    size = _out_size(x.shape, kernel, steps, cut, more, groups)
    if kernel.dtype != x.dtype:
        raise JaxsegError(f"x is {x.dtype} and kernel {kernel.dtype}; convert one to the other's dtype")
    if groups > 1 and groups == x.shape[3] and kernel.shape[3] == 1:
        canvas = _stamp_each_channel(x, kernel, steps)
    elif kernel.shape[:2] == steps and groups == 1:
        canvas = _stamp_side_by_side(x, kernel)
    else:
        canvas = _stamp_overlapping(x, kernel, steps, groups)
    short = [max(c + n - m, 0) for c, n, m in zip(cut, size, canvas.shape[1:3])]
    canvas = jnp.pad(canvas, ((0, 0), (0, short[0]), (0, short[1]), (0, 0))) if any(short) else canvas
    return canvas[:, cut[0] : cut[0] + size[0], cut[1] : cut[1] + size[1]]


def bilinear_kernel(size: int, channels: int, *, depthwise: bool = False) -> Array:
    """The transposed convolution's kernel that interpolates bilinearly, each channel by itself.

    ``kernel[u, v] = (1 - |u - centre| / f) (1 - |v - centre| / f)`` with ``f = ceil(size / 2)`` the factor
    it enlarges by and ``centre = f - 1`` for odd sizes, ``f - 1/2`` for even ones. Used with stride f;
    sizes are usually ``2 f`` (or ``2 f - 1`` for odd f).

    Args:
      size: side of the kernel in pixels.
      channels: number C of channels (score maps).
      depthwise: give ``[size, size, C, 1]`` for ``groups=C`` (fast), and not ``[size, size, C, C]`` with
        zeros off the diagonal (which training may fill).

    Returns:
      float32 kernel for :func:`transposed_conv`.

    Raises:
      JaxsegError: size or channels below 1.

    Source: Long et al. 2015, section 3.3 and their published ``upsample_filt``.
    """
    pair("size and channels", (size, channels), 1)
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    hat = 1 - np.abs(np.arange(size) - centre) / factor
    stamp = np.outer(hat, hat)[:, :, None, None].astype(np.float32)
    if depthwise:
        return jnp.asarray(np.tile(stamp, (1, 1, channels, 1)))
    return jnp.asarray(stamp * np.eye(channels, dtype=np.float32))


def conv_matrix_1d(kernel: Array, length: int, stride: int, padding: int = 0) -> Array:
    """The matrix of a 1-D convolution: ``conv(x) = M x``, and its transpose is the transposed convolution.

    ``M[o, o s + u - p] = kernel[u]``, zero elsewhere and where the column falls outside.

    Args:
      kernel: ``[k]``.
      length: number N of input values.
      stride, padding: as of the convolution.

    Returns:
      ``[floor((N + 2 p - k) / s) + 1, N]``, dtype of ``kernel``.

    Raises:
      JaxsegError: a kernel that is not 1-D or does not fit into the padded input.
    """
    if kernel.ndim != 1:
        raise JaxsegError(f"kernel has shape {kernel.shape}; expected one axis [k]")
    pair("length and stride", (length, stride), 1)
    pair("padding", padding, 0)
    rows = (length + 2 * padding - kernel.shape[0]) // stride + 1
    if rows < 1:
        raise JaxsegError(f"a kernel of {kernel.shape[0]} does not fit into {length} values padded by {padding}")
    tap = np.arange(length)[None] - np.arange(rows)[:, None] * stride + padding  # [out, N]
    inside = (tap >= 0) & (tap < kernel.shape[0])
    return jnp.where(inside, kernel[np.clip(tap, 0, kernel.shape[0] - 1)], jnp.zeros((), kernel.dtype))


def _stamp_side_by_side(x: Array, kernel: Array) -> Array:
    """Kernel = stride: stamps do not overlap, so one matrix product makes them all."""
    b, h, w, c = x.shape
    kh, kw, _, o = kernel.shape
    stamps = x.reshape(-1, c) @ kernel.transpose(2, 0, 1, 3).reshape(c, -1)  # [B H W, kh kw O]
    return stamps.reshape(b, h, w, kh, kw, o).transpose(0, 1, 3, 2, 4, 5).reshape(b, h * kh, w * kw, o)


def _stamp_overlapping(x: Array, kernel: Array, stride: tuple[int, int], groups: int) -> Array:
    """One convolution that computes the ``s x s`` outputs between two stamps as channels, then laid out as
    pixels.

    ``y[s i + r] = sum_m x[i - m] kernel[s m + r]``: for each r an ordinary convolution over ``ceil(k / s)``
    pixels.
    """
    phases = _phases(kernel, stride)[::-1, :, ::-1]  # [m, r, n, q, C, O/groups], m and n turned for conv's orientation
    rows, down, columns, right, c, o = phases.shape
    sub = phases.transpose(0, 2, 4, 1, 3, 5).reshape(rows, columns, groups, c // groups, down * right, o)
    sub = sub.transpose(0, 1, 3, 2, 4, 5).reshape(rows, columns, c // groups, groups * down * right * o)
    y = conv(x, sub, padding=(rows - 1, columns - 1), groups=groups)  # [B, H+m-1, W+n-1, groups s s O]
    b, h, w, _ = y.shape
    y = y.reshape(b, h, w, groups, down, right, o).transpose(0, 1, 4, 2, 5, 3, 6)
    return y.reshape(b, h * down, w * right, groups * o)


def _stamp_each_channel(x: Array, kernel: Array, stride: tuple[int, int]) -> Array:
    """Depthwise: the same phases as products and sums, since a matrix product has nothing to sum over."""
    b, h, w, c = x.shape
    phases = _phases(kernel, stride)[..., 0]  # [m, r, n, q, C]
    rows, down, columns, right, _ = phases.shape
    wide = jnp.pad(x, ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0)))
    h, w = h + rows - 1, w + columns - 1
    total = jnp.zeros((b, h, down, w, right, c), x.dtype)
    for m in range(rows):
        for n in range(columns):
            seen = wide[:, rows - 1 - m :, columns - 1 - n :][:, :h, :w]  # x[i - m, j - n]
            total = total + seen[:, :, None, :, None] * phases[m, :, n][None, None, :, None]
    return total.reshape(b, h * down, w * right, c)


def _phases(kernel: Array, stride: tuple[int, int]) -> Array:
    """``[kh, kw, C, O]`` -> ``[m, s, n, s, C, O]`` with ``kernel[s m + r, s n + q]`` at ``[m, r, n, q]``,
    zeros added.
    """
    kh, kw, c, o = kernel.shape
    rows, columns = -(-kh // stride[0]), -(-kw // stride[1])
    config = [(0, rows * stride[0] - kh, 0), (0, columns * stride[1] - kw, 0), (0, 0, 0), (0, 0, 0)]
    full = lax.pad(kernel, jnp.zeros((), kernel.dtype), config)
    return full.reshape(rows, stride[0], columns, stride[1], c, o)


def _out_size(
    shape: tuple[int, ...],
    kernel: Array,
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    groups: int,
) -> tuple[int, int]:
    if kernel.ndim != 4 or kernel.shape[2] != shape[3] or groups < 1 or shape[3] % groups:
        raise JaxsegError(
            f"kernel has shape {kernel.shape} and x {shape} with groups={groups}; expected "
            f"[kh, kw, {shape[3]}, O / groups] and groups that divide {shape[3]}: check the kernel's layout"
        )
    if any(m >= s for m, s in zip(output_padding, stride)) and output_padding != (0, 0):
        raise JaxsegError(f"output_padding {output_padding} must be smaller than the stride {stride}")
    rows, columns = (
        (n - 1) * s - 2 * p + k + m
        for n, s, p, k, m in zip(shape[1:3], stride, padding, kernel.shape[:2], output_padding)
    )
    if any(n < 1 for n in (rows, columns)):
        raise JaxsegError(f"padding {padding} cuts everything off: the result would be {rows} x {columns}")
    return rows, columns
