"""Batch normalisation with the statistics of the batch.

Plain formulas, differentiated by jax: a written-out gradient (one pass for both sums, then one for the
input) was slower on a CPU, since XLA already fuses these, and products with a row of ones were slower than
its sums.
"""

import jax.numpy as jnp
from jax import lax

from jaxseg.ops.arguments import check_image, sum_dtype
from jaxseg.types import Array, JaxsegError, mean_over_devices


def batch_norm(x: Array, scale: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """Normalise each channel by the mean and variance of the whole batch (over all devices).

    ``y = (x - mean) / sqrt(var + eps) * scale + bias`` with ``mean = E[x]``, ``var = E[x^2] - mean^2`` over
    B, H, W (the biased variance).

    Args:
      x: ``[B, H, W, C]``, floating point.
      scale, bias: ``[C]`` float32.
      eps: added to the variance.

    Returns:
      ``(y, mean, var)``: y of x's shape and dtype, mean and var ``[C]`` in float32 (float64 where x is).
      No gradient flows through the returned mean and var: they are for running averages.

    Raises:
      JaxsegError: shapes that do not fit.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", algorithm 1; the gradient in section 3.
    """
    check_image("x", x, 4)
    if scale.shape != x.shape[3:] or bias.shape != x.shape[3:]:
        raise JaxsegError(
            f"scale {scale.shape} and bias {bias.shape} must both have shape {x.shape[3:]}, one a channel"
        )
    y, mean, var = _batch_norm(eps, x, scale, bias)
    return y, lax.stop_gradient(mean), lax.stop_gradient(var)


def _batch_norm(eps: float, x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    wide = x.astype(sum_dtype(x))
    mean = mean_over_devices(wide.mean((0, 1, 2)))
    square = mean_over_devices((wide * wide).mean((0, 1, 2)))
    var = jnp.maximum(square - mean * mean, 0.0)
    gain = scale * lax.rsqrt(var + eps)
    y = wide * gain[None, None, None] + (bias - mean * gain)[None, None, None]
    return y.astype(x.dtype), mean, var
