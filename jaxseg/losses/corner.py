"""CornerNet's losses (Law & Deng 2018, sections 3.2 and 3.3), of a whole batch. That of the offsets (equation 3) is
:func:`jaxseg.losses.smooth_l1`."""

import jax
import jax.numpy as jnp

from jaxseg.losses.reduce import divide_by_total
from jaxseg.types import Array, JaxsegError


def corner_focal_loss(logits: Array, heat: Array, *, alpha: float = 2.0, beta: float = 4.0) -> Array:
    """Focal loss that takes places near a corner less for wrong (equation 1):

    ``-1/N sum (1 - p)^alpha log(p)`` where ``heat`` is 1, and ``(1 - heat)^beta p^alpha log(1 - p)`` elsewhere, N the
    number of corners (1 where there are none).

    Args:
      logits, heat: ``[B, h, w, K]``.
    """
    if logits.shape != heat.shape:
        raise JaxsegError(f"corner_focal_loss: logits {list(logits.shape)} and heat {list(heat.shape)} must be alike")
    z = logits.astype(jnp.float32)
    p, corner = jax.nn.sigmoid(z), heat == 1
    missed = jax.nn.sigmoid(-z) ** alpha * jax.nn.softplus(-z)
    seen = (1 - heat) ** beta * p**alpha * jax.nn.softplus(z)
    return divide_by_total(jnp.sum(jnp.where(corner, missed, seen)), corner.astype(jnp.float32))


def pull_push_loss(first: Array, second: Array, valid: Array, *, margin: float = 1.0) -> tuple[Array, Array]:
    """Embeddings of the two corners of an object are drawn together, those of different objects of one image pushed
    apart: ``(pull, push)`` (equations 4 and 5), means over images.

    ``pull = 1/N sum (a_k - m_k)^2 + (b_k - m_k)^2`` with ``m_k = (a_k + b_k) / 2``; ``push = 1 / (N (N - 1)) sum over
    j != k of max(0, margin - |m_k - m_j|)``. 0 where there are not enough objects.

    Args:
      first, second: ``[B, N]``, embeddings at the corners.
      valid: ``[B, N]``.
    """
    if not first.shape == second.shape == valid.shape:
        raise JaxsegError(
            f"pull_push_loss: first {list(first.shape)}, second {list(second.shape)} and valid {list(valid.shape)}; "
            "expected [B, N] each"
        )
    a, b = (jnp.where(valid, x, 0).astype(jnp.float32) for x in (first, second))
    middle, count = (a + b) / 2, jnp.sum(valid, axis=1, dtype=jnp.float32)
    pull = jnp.sum((a - middle) ** 2 + (b - middle) ** 2, axis=1) / jnp.maximum(count, 1)
    two = valid[:, :, None] & valid[:, None] & ~jnp.eye(valid.shape[1], dtype=bool)[None]
    apart = jnp.abs(middle[:, :, None] - middle[:, None])
    push = jnp.sum(jnp.where(two, jnp.maximum(margin - apart, 0), 0), axis=(1, 2))
    return jnp.mean(pull), jnp.mean(push / jnp.maximum(count * (count - 1), 1))
