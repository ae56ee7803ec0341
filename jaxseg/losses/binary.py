"""Cross-entropy of independent yes-or-no questions: several classes may be present at once."""

import jax
import jax.numpy as jnp

from jaxseg.losses.reduce import Reduction, reduce_pixels
from jaxseg.metrics.labels import split_void
from jaxseg.types import VOID, Array, JaxsegError


def binary_cross_entropy(
    logits: Array, labels: Array, *, ignore_index: int = VOID, reduction: Reduction = "mean"
) -> Array:
    """Sigmoid cross-entropy: ``L = softplus(z) - y z = -y log s(z) - (1 - y) log(1 - s(z))``.

    Args:
        logits: any shape and float type; computed in float32.
        labels: the same shape; 1 present, 0 absent. Anything else is void and counts for nothing.
        ignore_index: the label of void.
        reduction: ``"mean"`` over the entries that count, ``"sum"``, or ``"none"`` (0 at void).

    Returns:
        float32: a scalar, or the shape of ``logits``. All void gives exactly 0 with a gradient of exactly 0.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Oquab et al. 2015, "Is object localization for free?", section 3.2: one logistic loss a class.
    """
    if logits.shape != labels.shape or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise JaxsegError(
            f"binary_cross_entropy: logits {logits.dtype} {list(logits.shape)} and labels {list(labels.shape)}; "
            "expected one floating point logit for each label"
        )
    safe, valid = split_void(labels, 2, ignore_index)
    z = jnp.where(valid, logits, 0).astype(jnp.float32)
    loss = jnp.where(valid, jax.nn.softplus(z) - z * safe.astype(jnp.float32), 0.0)
    return reduce_pixels(loss, valid.astype(jnp.float32), reduction)
