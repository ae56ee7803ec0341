"""Losses that are a weighted mean over pixels: cross-entropy, focal, and online hard example mining.

Logits are ``[..., K]`` with the classes last, labels ``[...]``; the leading axes may be any, so a batch
needs no vmap. For the rule of void see :mod:`jaxseg.losses`.
"""

from typing import cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxseg.losses.reduce import (
    Reduction,
    divide_by_total,
    is_class,
    known_pixels,
    pick,
    pixel_weight,
    reduce_pixels,
)
from jaxseg.types import VOID, Array, JaxsegError


def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = VOID,
    class_weights: ArrayLike | None = None,
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
    v, weight, w = pixel_weight("cross_entropy", truth, valid, class_weights, pixel_weights)
    normaliser = jax.nn.logsumexp(x, axis=-1)
    loss = weight * (normaliser - pick(x, truth))
    if label_smoothing:
        of_class = normaliser[..., None] - x
        spread = v * (of_class if w is None else w * of_class).mean(-1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * spread
    return reduce_pixels(loss, weight, reduction)


def focal(
    logits: Array,
    labels: Array,
    *,
    gamma: float = 2.0,
    ignore_index: int = VOID,
    class_weights: ArrayLike | None = None,
    pixel_weights: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Focal loss per pixel, over a softmax.

    ``L(x) = v(x) w_y (1 - p_y(x))^gamma nll_y(x)``: cross-entropy that dwells on what is still wrong. At
    gamma 0 it is :func:`cross_entropy`, and its mean divides by the same sum of weights.

    ``log(1 - p_y)`` is taken as the logsumexp of the other classes less that of all, which keeps the gradient
    finite where ``p_y`` rounds to 1, for any gamma.

    Args:
        logits: ``[..., K]`` of any float type; computed in float32.
        labels: ``[...]`` integers.
        gamma: the focusing exponent, at least 0.
        ignore_index: the label of void.
        class_weights: ``[K]``, at least 0; the paper's alpha.
        pixel_weights: ``[...]``, at least 0.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the weighted losses ``[...]``, 0 at void.

    Returns:
        float32: a scalar, or ``[...]``. All void gives exactly 0 with a gradient of exactly 0.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Lin et al. 2017, "Focal loss for dense object detection", section 3 (for the sigmoid; here its softmax
    form, and a mean over pixels where detection divides by the number of objects).
    """
    if gamma < 0:
        raise JaxsegError(f"focal: gamma is {gamma}, expected at least 0")
    x, safe, valid = known_pixels("focal", logits, labels, ignore_index)
    truth = is_class(safe, x.shape[-1])
    _, weight, _ = pixel_weight("focal", truth, valid, class_weights, pixel_weights)
    normaliser = jax.nn.logsumexp(x, axis=-1)
    log_wrong = jnp.minimum(jax.nn.logsumexp(x, axis=-1, where=~truth) - normaliser, 0.0)
    loss = weight * jnp.exp(gamma * log_wrong) * (normaliser - pick(x, truth))
    return reduce_pixels(loss, weight, reduction)


def ohem_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    fraction: float | None = None,
    threshold: float | None = None,
    min_kept: int = 0,
    ignore_index: int = VOID,
    class_weights: ArrayLike | None = None,
) -> Array:
    """Cross-entropy over the hardest pixels only, hardness being ``nll_y`` without class weights.

    Of the n pixels that count, kept are, with ``fraction``, the ``max(1, round(fraction n))`` hardest; with
    ``threshold``, those whose true class has probability below it, and in any case the ``min_kept``
    hardest. Pixels that tie with the last one kept are kept too. The mean over them is that of
    :func:`cross_entropy`.

    The pixels compete within one call: give it a batch and they compete over the batch (under ``pmap`` over
    the device's share of it); vmap it and they compete within each image, which is the same for every
    number of devices. Shapes are static: pixels are weighted, not gathered, and the cut is found without
    sorting.

    Args:
        logits: ``[..., K]`` of any float type; computed in float32.
        labels: ``[...]`` integers.
        fraction: in (0, 1]. Give this or ``threshold``.
        threshold: a probability in (0, 1], commonly 0.7.
        min_kept: how many to keep at least, with ``threshold``; commonly 100 000 for a batch.
        ignore_index: the label of void.
        class_weights: ``[K]``, at least 0.

    Returns:
        A float32 scalar; exactly 0 where no pixel is kept.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Wu, Shen and van den Hengel 2016, "High-performance semantic segmentation using very deep fully
    convolutional networks", section 3 (online bootstrapping); after Shrivastava et al. 2016, "Training
    region-based object detectors with online hard example mining".
    """
    _check_ohem(fraction, threshold, min_kept)
    x, safe, valid = known_pixels("ohem_cross_entropy", logits, labels, ignore_index)
    truth = is_class(safe, x.shape[-1])
    _, weight, _ = pixel_weight("ohem_cross_entropy", truth, valid, class_weights, None)
    nll = jax.nn.logsumexp(x, axis=-1) - pick(x, truth)
    hardness = jnp.where(valid, lax.stop_gradient(nll), 0.0)
    if fraction is not None:
        wanted = jnp.maximum(jnp.round(fraction * valid.sum().astype(jnp.float32)).astype(jnp.int32), 1)
        kept = hardness >= kth_largest(hardness, wanted)
    else:
        kept = hardness > -jnp.log(jnp.float32(threshold))
        if min_kept:
            kept |= hardness >= kth_largest(hardness, jnp.int32(min_kept))
    weight = jnp.where(kept, weight, 0.0)
    return divide_by_total((weight * nll).sum(), weight)


def kth_largest(values: Array, k: Array) -> Array:
    """The k-th largest of non-negative float32 values, exactly and without sorting; 0 if there are fewer than k.

    The bits of a non-negative float, read as an integer, keep its order; so the answer is built bit by bit
    from the
    top: a bit is set if at least k values reach the number that results. That is 31 counts, 36 times
    quicker than XLA's sort of a million values on a CPU.
    """
    bits = lax.bitcast_convert_type(values, jnp.uint32)

    def try_bit(i: Array, found: Array) -> Array:
        candidate = found | (jnp.uint32(1 << 30) >> i.astype(jnp.uint32))
        return jnp.where((bits >= candidate).sum() >= k, candidate, found)

    answer = cast(Array, lax.fori_loop(0, 31, try_bit, jnp.uint32(0)))
    return lax.bitcast_convert_type(answer, jnp.float32)


def _check_ohem(fraction: float | None, threshold: float | None, min_kept: int) -> None:
    given = {"fraction": fraction, "threshold": threshold}
    values = {name: value for name, value in given.items() if value is not None}
    if len(values) != 1:
        raise JaxsegError("ohem_cross_entropy: give either fraction or threshold, one of the two")
    for name, value in values.items():
        if not 0.0 < value <= 1.0:
            raise JaxsegError(f"ohem_cross_entropy: {name} is {value}, expected above 0 and at most 1")
    if min_kept < 0 or (min_kept and fraction is not None):
        raise JaxsegError(f"ohem_cross_entropy: min_kept is {min_kept}; it is at least 0 and goes with threshold")
