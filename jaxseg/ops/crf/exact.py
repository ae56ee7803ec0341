"""Gaussian filtering of scattered points by the definition: every pair, a block of rows at a time."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.types import Array, JaxsegError

_BLOCK = 256


def exact_filter(features: Array, values: Array) -> Array:
    """``y[i] = sum_j exp(-|f_i - f_j|^2 / 2) x[j]``, the point itself among them; O(N^2) time, O(N) memory.

    Args:
      features: ``[N, d]`` floating point, in units of the kernel's standard deviation.
      values: ``[N, L]`` floating point.

    Returns:
      ``[N, L]``, dtype of ``values``; computed in float32. Differentiable in both.

    Raises:
      JaxsegError: shapes that do not fit each other.
    """
    if features.ndim != 2 or values.ndim != 2 or len(features) != len(values):
        raise JaxsegError(f"features {features.shape} and values {values.shape}; expected [N, d] and [N, L]")
    n = len(features)
    points, x = features.astype(jnp.float32), values.astype(jnp.float32)
    block = min(_BLOCK, n)

    @jax.checkpoint
    def rows(some: Array) -> Array:
        # By differences: |f|^2 - 2 f g + |g|^2 would lose the digits that decide for far points.
        squares = sum(jnp.square(some[:, k, None] - points[None, :, k]) for k in range(points.shape[1]))
        return jnp.matmul(jnp.exp(-0.5 * squares), x, precision="highest")

    blocks = jnp.pad(points, ((0, -n % block), (0, 0))).reshape(-1, block, points.shape[1])
    return lax.map(rows, blocks).reshape(-1, x.shape[1])[:n].astype(values.dtype)
