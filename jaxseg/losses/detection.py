"""Losses of two-stage detectors, each over the anchors or RoIs that were sampled, of a whole batch.

``valid`` says which of a fixed number of places hold one. What is not valid may hold anything: it changes neither value
nor gradient, and where none is the loss is exactly 0.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxseg.losses.box import l1, smooth_l1
from jaxseg.losses.pixel import cross_entropy
from jaxseg.losses.reduce import divide_by_total, weighted_mean
from jaxseg.types import UNKNOWN, Array, JaxsegError


def rpn_losses(
    logits: Array,
    deltas: Array,
    targets: Array,
    valid: Array,
    positive: Array,
    *,
    beta: float = 1 / 9,
    divisor: Literal["sampled", "all"] = "sampled",
) -> tuple[Array, Array]:
    """Objectness by binary cross-entropy, and the positive anchors' transforms by smooth L1: ``(objectness,
    box)``, both sums divided by one number (Ren et al. 2015, equation 1, with weights that make both terms alike).

    Args:
      logits: ``[B, S]``, of the anchors that were sampled.
      deltas, targets: ``[B, S, 4]``; targets count where ``positive``.
      valid, positive: ``[B, S]`` bool.
      beta: of :func:`jaxseg.losses.smooth_l1`; 0 for L1.
      divisor: ``"sampled"``: how many are valid, as in torchvision; ``"all"``: B S, as in detectron2.
    """
    if logits.shape != valid.shape or deltas.shape != targets.shape or deltas.shape != (*logits.shape, 4):
        raise JaxsegError(
            f"rpn_losses: logits {list(logits.shape)}, deltas {list(deltas.shape)}, targets {list(targets.shape)} and "
            f"valid {list(valid.shape)}; expected [B, S], [B, S, 4] twice and [B, S]"
        )
    z = jnp.where(valid, logits, 0).astype(jnp.float32)
    objectness = jnp.where(valid, jax.nn.softplus(z) - jnp.where(positive, z, 0), 0)
    box = _transforms(deltas, targets, valid & positive, beta)
    counted = valid if divisor == "sampled" else jnp.ones_like(valid)
    weights = counted.astype(jnp.float32)
    return divide_by_total(objectness.sum(), weights), divide_by_total(box.sum(), weights)


def roi_losses(
    logits: Array, deltas: Array, classes: Array, targets: Array, valid: Array, *, beta: float = 1 / 9
) -> tuple[Array, Array]:
    """Cross-entropy over classes and background, and smooth L1 of the true class's transform: ``(class, box)``.

    ``L = L_cls(p, u) + [u >= 1] L_loc(t^u, v)``, both over the number of RoIs (Girshick 2015, "Fast R-CNN", equation
    1): background has no transform, and no loss of one.

    Args:
      logits: ``[B, R, K + 1]``, background first.
      deltas: ``[B, R, K, 4]``, or ``[B, R, 1, 4]`` for one transform whatever the class.
      classes: ``[B, R]``, 0 background.
      targets: ``[B, R, 4]``.
      valid: ``[B, R]``.
      beta: of :func:`jaxseg.losses.smooth_l1`; 0 for L1.
    """
    if logits.shape[:2] != classes.shape or deltas.shape[:2] != classes.shape or targets.shape != (*classes.shape, 4):
        raise JaxsegError(
            f"roi_losses: logits {list(logits.shape)}, deltas {list(deltas.shape)}, classes {list(classes.shape)} and "
            f"targets {list(targets.shape)}; expected [B, R, K + 1], [B, R, K, 4], [B, R] and [B, R, 4]"
        )
    kind = cross_entropy(logits, jnp.where(valid, classes, UNKNOWN), ignore_index=UNKNOWN)
    own = jnp.maximum(classes - 1, 0) if deltas.shape[2] > 1 else jnp.zeros_like(classes)
    chosen = jnp.take_along_axis(deltas, own[..., None, None], axis=2)[..., 0, :]
    box = _transforms(chosen, targets, valid & (classes > 0), beta)
    return kind, divide_by_total(box.sum(), valid.astype(jnp.float32))


def mask_loss(logits: Array, targets: Array, valid: Array) -> Array:
    """Binary cross-entropy of the true class's mask alone, so that classes do not compete (He et al. 2017, section 3).

    Args:
      logits: ``[B, P, M, M]``, of each RoI's true class.
      targets: ``[B, P, M, M]`` in 0..1.
      valid: ``[B, P]``: positive RoIs.
    """
    if logits.shape != targets.shape or logits.shape[:2] != valid.shape:
        raise JaxsegError(
            f"mask_loss: logits {list(logits.shape)}, targets {list(targets.shape)} and valid {list(valid.shape)}; "
            "expected [B, P, M, M] twice and [B, P]"
        )
    z, t = (jnp.where(valid[..., None, None], x, 0).astype(jnp.float32) for x in (logits, targets))
    return weighted_mean(jnp.mean(jax.nn.softplus(z) - t * z, axis=(2, 3)), valid)


def _transforms(deltas: Array, targets: Array, counts: Array, beta: float) -> Array:
    """``[B, S]``: each one's loss, summed over its four numbers."""
    weights = counts.astype(jnp.float32)
    if beta == 0:
        return l1(deltas, targets, weights, reduction="none")
    return smooth_l1(deltas, targets, weights, beta=beta, reduction="none")
