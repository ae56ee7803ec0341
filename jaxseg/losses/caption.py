"""The loss of captions."""

import jax.numpy as jnp

from jaxseg.losses.pixel import cross_entropy
from jaxseg.types import UNKNOWN, Array, JaxsegError


def caption_loss(logits: Array, tokens: Array, valid: Array) -> Array:
    """Cross-entropy of every next token, the end among them, a mean over all tokens of valid captions (Johnson et al.
    2016, section 3.5).

    Args:
      logits: ``[B, P, T, V]``.
      tokens: ``[B, P, T]`` int, 0 after the end: these count for nothing.
      valid: ``[B, P]``.
    """
    if logits.shape[:3] != tokens.shape or valid.shape != tokens.shape[:2]:
        raise JaxsegError(
            f"caption_loss: logits {list(logits.shape)}, tokens {list(tokens.shape)} and valid {list(valid.shape)}; "
            "expected [B, P, T, V], [B, P, T] and [B, P]"
        )
    counts = valid[..., None] & (tokens > 0)
    return cross_entropy(logits, jnp.where(counts, tokens, UNKNOWN), ignore_index=UNKNOWN)
