"""Forms of the convolution that are fast on a CPU, with their gradients."""

from functools import partial
from typing import NamedTuple

import jax
from jax import lax

from jaxseg.types import Array


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
    return conv_lax(geometry, x, kernel)


def backward(geometry: Geometry, x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
    return jax.vjp(partial(conv_lax, geometry), x, kernel)[1](g)
