"""Convolution of images: XLA's own on GPU and TPU, on a CPU the form that measures fastest (see
conv_cpu.py).
"""

from functools import partial

import jax
from jax import lax

from jaxseg.ops import conv_cpu
from jaxseg.ops.arguments import IntPair, Padding, check_image, pair, sides, vary_alike
from jaxseg.ops.conv_cpu import Geometry, conv_lax
from jaxseg.types import Array, JaxsegError


def conv(
    x: Array,
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
      x: ``[B, H, W, C]``, floating point.
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
    check_image("x", x, 4)
    geometry = Geometry(
        pair("stride", stride, 1), sides("padding", padding), pair("dilation", dilation, 1), int(groups)
    )
    _check_kernel(x, kernel, geometry)
    return _conv(geometry, *vary_alike(x, kernel))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(geometry: Geometry, x: Array, kernel: Array) -> Array:
    # The platform is chosen at lowering, not from jax.default_backend(): an exported program then runs
    # anywhere.
    return lax.platform_dependent(
        x, kernel, cpu=partial(conv_cpu.forward, geometry), default=partial(conv_lax, geometry)
    )


def _conv_forward(geometry: Geometry, x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv(geometry, x, kernel), (x, kernel)


def _conv_backward(geometry: Geometry, kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    # custom_vjp is outermost and the platform choice inside: a choice between a custom_vjp and a plain branch
    # would make jax carry the residuals of both.
    return lax.platform_dependent(
        *kept, g, cpu=partial(conv_cpu.backward, geometry), default=partial(_backward_lax, geometry)
    )


def _backward_lax(geometry: Geometry, x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
    return jax.vjp(partial(conv_lax, geometry), x, kernel)[1](g)


_conv.defvjp(_conv_forward, _conv_backward)


def _check_kernel(x: Array, kernel: Array, geometry: Geometry) -> None:
    groups = geometry.groups
    if kernel.ndim != 4 or groups < 1 or kernel.shape[2] * groups != x.shape[3] or kernel.shape[3] % groups:
        raise JaxsegError(
            f"kernel has shape {kernel.shape} and x {x.shape} with groups={groups}; expected "
            f"[kh, kw, {x.shape[3]} / groups, O] with O a multiple of groups: check the kernel's layout"
        )
    if kernel.dtype != x.dtype:
        raise JaxsegError(f"x is {x.dtype} and kernel {kernel.dtype}; convert one to the other's dtype")
    if min(geometry.out_size(x.shape, kernel.shape)) < 1:
        raise JaxsegError(
            f"a kernel of {kernel.shape[:2]} with dilation {geometry.dilation} is larger than the image "
            f"{x.shape[1:3]} with padding {geometry.padding}: pad more, or use a larger image"
        )
