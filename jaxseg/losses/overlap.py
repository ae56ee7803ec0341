"""Losses on the overlap of regions: Tversky with its special cases Dice and Jaccard, and Lovász-softmax.

Logits are ``[..., K]``, labels ``[...]``. All leading axes together are ONE region: give one example ``[H,
W, K]`` and vmap over the batch for the mean of the images' losses (with
:func:`jaxseg.losses.weighted_mean`, so that rows which only fill the batch weigh nothing), or give ``[B, H,
W, K]`` for the overlap over the whole batch.

Which classes count: those with at least one counted pixel in the truth. A class absent from the truth
contributes nothing, whatever was predicted: a softmax never predicts exactly nothing, so "absent from the
prediction" is no question one can ask here. Probability wrongly given to it is paid for by the classes it
was taken from.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.losses.reduce import is_class, known_pixels
from jaxseg.types import VOID, Array, JaxsegError

ClassReduction = Literal["mean", "none"]


def tversky(
    logits: Array,
    labels: Array,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 0.0,
    include_background: bool = True,
    ignore_index: int = VOID,
    reduction: ClassReduction = "mean",
) -> Array:
    """Tversky loss: per class, then the mean over the classes present in the truth.

    ``L_c = 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)`` with the soft counts of the pixels that
    are not void, ``TP = sum p g``, ``FP = sum p (1 - g)``, ``FN = sum (1 - p) g``, p the softmax and g the
    truth of class c.

    Args:
        logits: ``[..., K]`` of any float type; computed in float32. One region, see the module.
        labels: ``[...]`` integers.
        alpha: the price of a false positive.
        beta: the price of a false negative.
        smooth: in pixels; 0 is the plain formula, 1 tempers the gradient of classes of very few pixels.
        include_background: whether class 0 is among the classes. If it is not, a truth without foreground
            gives 0, and false positives there cost nothing.
        ignore_index: the label of void.
        reduction: ``"mean"``, or ``"none"`` for the terms ``[K]``, 0 for classes that do not count.

    Returns:
        float32: a scalar, or ``[K]``. Exactly 0, with a gradient of exactly 0, where no class counts.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Salehi, Erdogmus and Gholipour 2017, "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks", equation 2 (there for two classes).
    """
    if min(alpha, beta, smooth) < 0:
        raise JaxsegError(f"tversky: alpha {alpha}, beta {beta} and smooth {smooth} must be at least 0")
    p, truth = _softmax_and_truth("tversky", logits, labels, ignore_index)
    positions = tuple(range(p.ndim - 1))
    hit = jnp.where(truth, p, 0.0).sum(positions)  # [K]
    false_positive = jnp.where(truth, 0.0, p).sum(positions)
    false_negative = jnp.where(truth, 1.0 - p, 0.0).sum(positions)
    whole = hit + alpha * false_positive + beta * false_negative + smooth
    terms = 1.0 - (hit + smooth) / jnp.where(whole > 0, whole, 1.0)
    return _mean_of_present(terms, truth.any(positions), include_background, reduction)


def dice(
    logits: Array,
    labels: Array,
    *,
    smooth: float = 0.0,
    include_background: bool = True,
    ignore_index: int = VOID,
    reduction: ClassReduction = "mean",
) -> Array:
    """Soft Dice loss, ``L_c = 1 - 2 (sum p g + smooth) / (sum p + sum g + 2 smooth)``: per class, then the
    mean.

    It is :func:`tversky` at alpha = beta = 1/2; see there for arguments, classes that count, and void.

    Drozdzal et al. 2016, "The importance of skip connections in biomedical image segmentation", section 3;
    Milletari, Navab and Ahmadi 2016, "V-Net", section 3, has squares in the denominator where this has none.
    """
    loss = partial(tversky, smooth=smooth, include_background=include_background)
    return loss(logits, labels, alpha=0.5, beta=0.5, ignore_index=ignore_index, reduction=reduction)


def jaccard(
    logits: Array,
    labels: Array,
    *,
    smooth: float = 0.0,
    include_background: bool = True,
    ignore_index: int = VOID,
    reduction: ClassReduction = "mean",
) -> Array:
    """Soft IoU loss, ``L_c = 1 - (sum p g + smooth) / (sum p + sum g - sum p g + smooth)``: per class, then
    the mean.

    It is :func:`tversky` at alpha = beta = 1; see there for arguments, classes that count, and void.

    Rahman and Wang 2016, "Optimizing intersection-over-union in deep neural networks for image segmentation",
    section 3.
    """
    loss = partial(tversky, smooth=smooth, include_background=include_background)
    return loss(logits, labels, alpha=1.0, beta=1.0, ignore_index=ignore_index, reduction=reduction)


def lovasz_softmax(
    logits: Array, labels: Array, *, ignore_index: int = VOID, reduction: ClassReduction = "mean"
) -> Array:
    """Lovász-softmax: the convex extension of each class's IoU loss, then the mean over the classes present.

    With the errors ``m_i = |g_i - p_i|`` of class c in falling order, ``L_c = sum_i m_i (J_i - J_{i-1})``,
    ``J_i`` the Jaccard loss of getting the i worst pixels wrong and the rest right.

    Args:
        logits: ``[..., K]`` of any float type; computed in float32. One region, see the module.
        labels: ``[...]`` integers.
        ignore_index: the label of void.
        reduction: ``"mean"``, or ``"none"`` for the terms ``[K]``, 0 for classes that do not count.

    Returns:
        float32: a scalar, or ``[K]``. Exactly 0, with a gradient of exactly 0, where no class counts.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Berman, Rannen Triki and Blaschko 2018, "The Lovász-softmax loss", section 3.2 and algorithm 1 (its
    ``classes='present'``).
    """
    p, truth = _softmax_and_truth("lovasz_softmax", logits, labels, ignore_index)
    truth = truth.reshape(-1, truth.shape[-1]).T  # [K, N]
    p = p.reshape(-1, p.shape[-1]).T
    # 0 at void, where p was set to 0: such pixels come last in the order, with no error to multiply.
    error = jnp.where(truth, 1.0 - p, p)
    weight = lax.stop_gradient(jax.vmap(_lovasz_weights)(lax.stop_gradient(error), truth))
    return _mean_of_present((error * weight).sum(-1), truth.any(-1), True, reduction)


def _lovasz_weights(error: Array, truth: Array) -> Array:
    """``J_i - J_{i-1}`` of one class at each of its N pixels, back in the pixels' own order.

    With I the pixels of the intersection and U those of the union after the i-th, a step onto a true pixel
    adds ``1 / U`` and one onto a false pixel ``I / (U (U - 1))``. In float32 this is exact to rounding
    where differences of neighbouring ``J``, each near 1, would lose most of their digits on a large image.
    """
    n = error.shape[0]
    # Error and truth share one key (a non-negative float's bits keep its order, and 30 of them hold 0..1):
    # XLA sorts two arrays sooner than three. Inverted, because it sorts upwards.
    key = (lax.bitcast_convert_type(error, jnp.uint32) << 1) | truth.astype(jnp.uint32)
    ordered, position = lax.sort((~key, jnp.arange(n)), num_keys=1)
    true = (~ordered & 1).astype(jnp.int32)
    seen = jnp.cumsum(true)
    total = seen[-1]
    intersection = (total - seen).astype(jnp.float32)
    union = jnp.maximum(total + jnp.cumsum(1 - true), 1).astype(jnp.float32)
    step = jnp.where(true == 1, 1.0 / union, intersection / (union * jnp.maximum(union - 1.0, 1.0)))
    return jnp.zeros(n, jnp.float32).at[position].set(step, unique_indices=True)


def _softmax_and_truth(name: str, logits: Array, labels: Array, ignore_index: int) -> tuple[Array, Array]:
    """The softmax and the truth ``[..., K]``, both 0 at void."""
    if logits.ndim < 2:
        raise JaxsegError(f"{name}: logits {list(logits.shape)}, expected [H, W, K] (or any [..., K] as one region)")
    x, safe, valid = known_pixels(name, logits, labels, ignore_index)
    counted = valid[..., None]
    return jnp.where(counted, jax.nn.softmax(x), 0.0), is_class(safe, x.shape[-1]) & counted


def _mean_of_present(terms: Array, present: Array, include_background: bool, reduction: str) -> Array:
    """The mean of the terms ``[K]`` of the classes present; exactly 0 if there are none."""
    if not include_background:
        present = present & (jnp.arange(present.shape[0]) > 0)
    terms = jnp.where(present, terms, 0.0)
    if reduction == "none":
        return terms
    if reduction == "mean":
        return terms.sum() / jnp.maximum(present.sum(), 1).astype(jnp.float32)
    raise JaxsegError(f"reduction is {reduction!r}, expected 'mean' or 'none' (a term per class)")
