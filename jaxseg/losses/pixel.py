"""Losses that are a weighted mean over pixels: cross-entropy, focal, and online hard example mining.

Logits are ``[..., K]`` with the classes last, labels ``[...]``; the leading axes may be any, so a batch
needs no vmap. For the rule of void see :mod:`jaxseg.losses`.
"""

import jax

from jaxseg.losses.reduce import Reduction, is_class, known_pixels, pick, pixel_weight, reduce_pixels
from jaxseg.types import VOID, Array, JaxsegError


def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = VOID,
    class_weights: Array | None = None,
    label_smoothing: float = 0.0,
    pixel_weights: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Softmax cross-entropy per pixel.

    ``L(x) = v(x) [(1 - s) w_y nll_y(x) + s / K sum_c w_c nll_c(x)]`` with ``nll_c = logsumexp(z) - z_c``,
    the true class ``y``, class weights ``w``, pixel weights ``v`` and smoothing ``s``. The mean divides by
    ``sum_x v(x) w_y(x)`` over the pixels that count, which is PyTorch's rule for class weights.

    Args:
        logits: ``[..., K]`` of any float type; computed in float32.
        labels: ``[...]`` integers.
        ignore_index: the label of void.
        class_weights: ``[K]``, at least 0.
        label_smoothing: ``s`` in 0..1.
        pixel_weights: ``[...]``, at least 0, such as :func:`jaxseg.losses.unet_weight_map`.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the weighted losses ``[...]``, 0 at void.

    Returns:
        float32: a scalar, or ``[...]``. All void gives exactly 0 with a gradient of exactly 0.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Long, Shelhamer and Darrell 2015, "Fully convolutional networks", section 4; smoothing: Szegedy et al.
    2016, "Rethinking the Inception architecture", section 7.
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise JaxsegError(f"cross_entropy: label_smoothing is {label_smoothing}, expected 0..1")
    x, safe, valid = known_pixels("cross_entropy", logits, labels, ignore_index)
    truth = is_class(safe, x.shape[-1])
    v, w = pixel_weight("cross_entropy", truth, valid, class_weights, pixel_weights)
    normaliser = jax.nn.logsumexp(x, axis=-1)
    loss = (normaliser - pick(x, truth)) * pick(w, truth)
    if label_smoothing:
        spread = (w * (normaliser[..., None] - x)).mean(-1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * spread
    return reduce_pixels(v * loss, v * pick(w, truth), reduction)
