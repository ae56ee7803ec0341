"""Energies of the labels of each pixel: what a dense CRF begins from."""

import jax
import jax.numpy as jnp

from jaxseg.types import VOID, Array, JaxsegError


def unary_from_logits(logits: Array) -> Array:
    """``-log softmax(logits)`` over the last axis, float32: a network's output as energies, finite for any logits."""
    return -jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)


def unary_from_probabilities(probabilities: Array, *, scale: float = 1.0, clip: float = 1e-5) -> Array:
    """``-log p``, with ``p`` kept at ``clip`` at least, so that 0 stays finite.

    Args:
      probabilities: ``[..., L]`` floating point, in [0, 1].
      scale: how far they are trusted: ``scale * p + (1 - scale) / L``.
      clip: the least probability.

    Returns:
      ``[..., L]`` float32.

    Raises:
      JaxsegError: ``scale`` or ``clip`` outside of (0, 1].
    """
    for name, value in (("scale", scale), ("clip", clip)):
        if not 0 < value <= 1:
            raise JaxsegError(f"{name} is {value}; it must lie in (0, 1]")
    p = probabilities.astype(jnp.float32)
    return -jnp.log(jnp.clip(scale * p + (1 - scale) / p.shape[-1], clip, 1.0))


def unary_from_labels(labels: Array, num_labels: int, *, confidence: float) -> Array:
    """Energies of a map of labels that is right with probability ``confidence``.

    ``-log(confidence)`` for the label that is there, ``-log((1 - confidence) / (L - 1))`` for the others, ``log L`` for
    all of a void pixel (255).

    Args:
      labels: ``[...]`` integers in [0, L) or 255.
      num_labels: L, at least 2.
      confidence: in (0, 1).

    Returns:
      ``[..., L]`` float32.

    Raises:
      JaxsegError: a number of labels or a confidence out of range, or labels that are not integers.
    """
    if num_labels < 2 or not 0 < confidence < 1:
        raise JaxsegError(f"num_labels is {num_labels} and confidence {confidence}; expected 2 or more, and (0, 1)")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise JaxsegError(f"labels are {labels.dtype}; expected integers")
    here = jax.nn.one_hot(labels, num_labels, dtype=jnp.bool_)
    energies = jnp.where(here, -jnp.log(confidence), -jnp.log((1 - confidence) / (num_labels - 1)))
    return jnp.where((labels == VOID)[..., None], jnp.log(float(num_labels)), energies).astype(jnp.float32)
