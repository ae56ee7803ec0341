"""How pixel losses are checked, masked and averaged: written once, used by all of them."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxseg.metrics.labels import split_void
from jaxseg.types import Array, JaxsegError, mean_over_devices

Reduction = Literal["mean", "sum", "none"]


def weighted_mean(values: Array, weights: Array) -> Array:
    """``sum(weights * values) / sum(weights)``, and exactly 0 where all weights are 0.

    The sum of weights is averaged over the devices (:func:`jaxseg.types.mean_over_devices`), so that the
    mean over the devices of this value is the weighted mean over the global batch however unevenly the
    weights fall. Use it too for losses of one example: ``weighted_mean(jax.vmap(dice)(logits, labels),
    batch["valid"])``.

    Args:
        values: any shape, finite wherever the weight is not 0.
        weights: the same shape, at least 0; booleans or numbers.

    Returns:
        A float32 scalar.

    Raises:
        JaxsegError: the shapes differ.
    """
    if values.shape != weights.shape:
        raise JaxsegError(f"values {list(values.shape)} and weights {list(weights.shape)} must have one shape")
    weights = weights.astype(jnp.float32)
    weighted = jnp.where(weights > 0, values.astype(jnp.float32), 0.0) * weights
    return divide_by_total(weighted.sum(), weights)


def divide_by_total(total_loss: Array, weights: Array) -> Array:
    """``total_loss / mean_over_devices(sum(weights))``; 0 weight divides by 1, so that nothing stays nothing.

    The guard asks whether the sum is 0 rather than taking ``max(sum, 1)``: class weights, or a mean over
    devices, may rightly sum to less than 1.
    """
    total = mean_over_devices(weights.sum())
    return total_loss / jnp.where(total > 0, total, 1.0)


def reduce_pixels(losses: Array, weights: Array, reduction: str) -> Array:
    """Reduces losses that are already weighted: their ``mean`` divides by the sum of ``weights``."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return divide_by_total(losses.sum(), weights)
    raise JaxsegError(f"reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")


def known_pixels(name: str, logits: Array, labels: Array, ignore_index: int) -> tuple[Array, Array, Array]:
    """Checks a pair and applies the rule of void: float32 logits, labels in 0..K-1, and which pixels count.

    The logits of void pixels become 0 before anything is computed from them, so that not even an infinite
    logit there reaches the value or the gradient.
    """
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise JaxsegError(f"{name}: logits are {logits.dtype}, expected floating point before the softmax")
    if logits.ndim < 1 or logits.shape[:-1] != labels.shape:
        raise JaxsegError(
            f"{name}: logits {list(logits.shape)} and labels {list(labels.shape)} do not fit: expected "
            "logits [..., K] with the classes last and labels [...] of class numbers (resize the logits "
            "to the labels, and squeeze a trailing axis of 1 from the labels)"
        )
    if logits.shape[-1] < 2:
        raise JaxsegError(
            f"{name}: logits have {logits.shape[-1]} class, expected at least 2: a softmax over one class "
            "is always 1. For one foreground class give two channels, background first"
        )
    safe, valid = split_void(labels, logits.shape[-1], ignore_index)
    return jnp.where(valid[..., None], logits, 0).astype(jnp.float32), safe, valid


def is_class(labels: Array, num_classes: int) -> Array:
    """``[..., K]`` bool, True at each pixel's class. Compared rather than gathered: it fuses, and needs no
    scatter."""
    return jnp.expand_dims(labels, -1) == jax.lax.broadcasted_iota(jnp.int32, (*labels.shape, num_classes), labels.ndim)


def pick(values: Array, truth: Array) -> Array:
    """``values[..., label]``, of values ``[..., K]`` and the truth ``[..., K]`` of :func:`is_class`."""
    return jnp.where(truth, values, 0.0).sum(-1)


def pixel_weight(
    name: str, truth: Array, valid: Array, class_weights: ArrayLike | None, pixel_weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """``v = valid * pixel_weights``, ``v w_y`` of each pixel's class y, and w in the rank of ``truth``, if any."""
    v = valid.astype(jnp.float32)
    if pixel_weights is not None:
        if pixel_weights.shape != valid.shape:
            raise JaxsegError(
                f"{name}: pixel_weights {list(pixel_weights.shape)}, expected {list(valid.shape)} as the labels have"
            )
        v = jnp.where(valid, pixel_weights.astype(jnp.float32), 0.0)
    if class_weights is None:
        return v, v, None  # nothing is picked: a pass over the logits saved
    w = jnp.asarray(class_weights, jnp.float32)
    if w.shape != truth.shape[-1:]:
        raise JaxsegError(
            f"{name}: class_weights {list(w.shape)}, expected one for each class of the logits: [{truth.shape[-1]}]"
        )
    w = w.reshape((1,) * valid.ndim + w.shape)
    return v, v * pick(w, truth), w
