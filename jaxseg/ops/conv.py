"""Convolution of images: XLA's own on GPU and TPU, on a CPU the form that measures fastest (see
conv_cpu.py).
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops import conv_cpu
from jaxseg.ops.arguments import IntPair, Padding, check_image, pair, sides, vary_alike
from jaxseg.ops.conv_cpu import Geometry, conv_lax
from jaxseg.types import Array, JaxsegError

_Operands = tuple[tuple[Array, ...], Array]
"""The parts of x and the kernel, or their gradients."""


def conv(
    x: Array | tuple[Array, ...] | list[Array],
    kernel: Array,
    *,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Array:
    """Convolution as networks mean it (cross-correlation, the kernel is not flipped).

    ``y[b, i, j, o] = sum_{u, v, c} x[b, i s + u d - p, j s + v d - p, c] kernel[u, v, c, o]``, zeros outside.

    Args:
      x: ``[B, H, W, C]``, floating point; or several such arrays, whose channels count one after the other, as
        where a skip meets what comes up from below. On a CPU each is convolved by itself, which spares making
        the concatenation and its gradient.
      kernel: ``[kh, kw, C / groups, O]``, of the same dtype.
      stride, dilation: an int, or (rows, columns).
      padding: zeros added around ``x``: an int, (rows, columns) or ((top, bottom), (left, right)).
      groups: channels are split into so many groups, each seen by ``O / groups`` outputs. ``groups = C`` is a
        depthwise convolution.

    Returns:
      ``[B, H', W', O]`` with ``H' = floor((H + top + bottom - d (kh - 1) - 1) / s) + 1``, dtype of ``x``.

    Raises:
      JaxsegError: ranks, dtypes or channels that do not fit, or a window larger than the padded image.

    Reverse-mode derivatives of any order only (``jax.grad``, ``jax.vjp``): the gradients are written out, so
    ``jax.jvp`` is refused. Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic", sections 2
    and 5.
    """
    parts = tuple(x) if isinstance(x, tuple | list) else (x,)
    _check_parts(parts)
    geometry = Geometry(
        pair("stride", stride, 1), sides("padding", padding), pair("dilation", dilation, 1), int(groups)
    )
    _check_kernel(parts, kernel, geometry)
    if geometry.groups > 1:  # a group may span two parts
        parts = (jnp.concatenate(parts, -1),)
    *parts, kernel = vary_alike(*parts, kernel)
    return _conv(geometry, tuple(parts), kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(geometry: Geometry, parts: tuple[Array, ...], kernel: Array) -> Array:
    # The platform is chosen at lowering, not from jax.default_backend(): an exported program then runs
    # anywhere.
    return lax.platform_dependent(
        parts, kernel, cpu=partial(_forward_cpu, geometry), default=partial(_forward_lax, geometry)
    )


def _conv_forward(geometry: Geometry, parts: tuple[Array, ...], kernel: Array) -> tuple[Array, _Operands]:
    return _conv(geometry, parts, kernel), (parts, kernel)


def _conv_backward(geometry: Geometry, kept: _Operands, g: Array) -> _Operands:
    # custom_vjp is outermost and the platform choice inside: a choice between a custom_vjp and a plain branch
    # would make jax carry the residuals of both.
    return lax.platform_dependent(
        *kept, g, cpu=partial(_backward_cpu, geometry), default=partial(_backward_lax, geometry)
    )


_conv.defvjp(_conv_forward, _conv_backward)


def _forward_lax(geometry: Geometry, parts: tuple[Array, ...], kernel: Array) -> Array:
    return conv_lax(geometry, jnp.concatenate(parts, -1), kernel)


def _backward_lax(geometry: Geometry, parts: tuple[Array, ...], kernel: Array, g: Array) -> _Operands:
    return jax.vjp(partial(_forward_lax, geometry), parts, kernel)[1](g)


def _forward_cpu(geometry: Geometry, parts: tuple[Array, ...], kernel: Array) -> Array:
    each = (conv_cpu.forward(geometry, x, k) for x, k in zip(parts, _kernel_of_each(parts, kernel)))
    return reduce(jnp.add, each)


def _backward_cpu(geometry: Geometry, parts: tuple[Array, ...], kernel: Array, g: Array) -> _Operands:
    gradients = [conv_cpu.backward(geometry, x, k, g) for x, k in zip(parts, _kernel_of_each(parts, kernel))]
    return tuple(dx for dx, _ in gradients), jnp.concatenate([dk for _, dk in gradients], 2)


def _kernel_of_each(parts: tuple[Array, ...], kernel: Array) -> list[Array]:
    if len(parts) == 1:
        return [kernel]
    starts = np.cumsum([x.shape[-1] for x in parts])[:-1]
    return jnp.split(kernel, starts.tolist(), axis=2)


def _check_parts(parts: tuple[Array, ...]) -> None:
    if not parts:
        raise JaxsegError("x is empty; expected an array [B, H, W, C], or several of the same B, H and W")
    for x in parts:
        check_image("x", x, 4)
    if len({(x.shape[:3], x.dtype) for x in parts}) > 1:
        what = ", ".join(f"{x.dtype}{list(x.shape)}" for x in parts)
        raise JaxsegError(f"the parts of x are {what}; they must agree in all but the channels: crop or convert them")


def _check_kernel(parts: tuple[Array, ...], kernel: Array, geometry: Geometry) -> None:
    groups, channels = geometry.groups, sum(x.shape[3] for x in parts)
    shape, dtype = (*parts[0].shape[:3], channels), parts[0].dtype
    if kernel.ndim != 4 or groups < 1 or kernel.shape[2] * groups != channels or kernel.shape[3] % groups:
        raise JaxsegError(
            f"kernel has shape {kernel.shape} and x {shape} with groups={groups}; expected "
            f"[kh, kw, {channels} / groups, O] with O a multiple of groups: check the kernel's layout"
        )
    if kernel.dtype != dtype:
        raise JaxsegError(f"x is {dtype} and kernel {kernel.dtype}; convert one to the other's dtype")
    if any(n < 1 for n in geometry.out_size(shape, kernel.shape)):
        raise JaxsegError(
            f"a kernel of {kernel.shape[:2]} with dilation {geometry.dilation} is larger than the image "
            f"{shape[1:3]} with padding {geometry.padding}: pad more, or use a larger image"
        )
