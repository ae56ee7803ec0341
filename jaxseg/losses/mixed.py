"""Cross-entropy and Dice together: smooth where Dice is flat, fair to small classes where cross-entropy is not."""

from functools import partial

import jax

from jaxseg.losses.overlap import dice
from jaxseg.losses.pixel import cross_entropy
from jaxseg.losses.reduce import weighted_mean
from jaxseg.metrics.labels import split_void
from jaxseg.types import VOID, Array


def cross_entropy_and_dice(
    logits: Array, labels: Array, *, ignore_index: int = VOID, dice_weight: float = 1.0
) -> Array:
    """Mean cross-entropy over pixels + ``dice_weight`` * mean of the Dice loss over the images that are not all void.

    Args:
      logits: ``[B, H, W, K]``.
      labels: ``[B, H, W]`` integers; void counts for nothing in either term.

    Returns:
      float32 scalar.

    Source: Isensee et al. 2021, nnU-Net, Methods ("loss function").
    """
    overlap = jax.vmap(partial(dice, ignore_index=ignore_index))(logits, labels)
    _, known = split_void(labels, logits.shape[-1], ignore_index)
    overlap = weighted_mean(overlap, known.any((1, 2)))
    return cross_entropy(logits, labels, ignore_index=ignore_index) + dice_weight * overlap
