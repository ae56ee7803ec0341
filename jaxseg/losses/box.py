"""Regression of boxes, box transforms and joints: losses of vectors ``[..., D]``, each counted or not.

``d = prediction - target``; what a vector costs is a sum over its D coordinates, and vectors are averaged by their
weights: ``sum_i w_i sum_j f(d_ij) / sum_i w_i`` (:func:`jaxseg.losses.weighted_mean`). A vector of weight 0 may hold
anything, NaN included: it changes neither value nor gradient, and no weight at all gives exactly 0.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxseg.losses.reduce import Reduction, reduce_pixels
from jaxseg.types import Array, JaxsegError


def l2(predictions: Array, targets: Array, weights: Array | None = None, *, reduction: Reduction = "mean") -> Array:
    """``f(d) = d^2``: the squared distance (Toshev & Szegedy 2014, "DeepPose", equation 4).

    Args:
        predictions, targets: ``[..., D]``, floating point; computed in float32.
        weights: ``[...]``, at least 0, such as ``valid``; by default every vector counts 1.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the weighted losses ``[...]``.

    Returns:
        float32: a scalar, or ``[...]``.

    Raises:
        JaxsegError: shapes, types or options that do not fit.
    """
    return _regression("l2", jnp.square, predictions, targets, weights, reduction)


def l1(predictions: Array, targets: Array, weights: Array | None = None, *, reduction: Reduction = "mean") -> Array:
    """``f(d) = |d|``: forgives far misses more than :func:`l2`, whose arguments it has."""
    return _regression("l1", jnp.abs, predictions, targets, weights, reduction)


def smooth_l1(
    predictions: Array,
    targets: Array,
    weights: Array | None = None,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
) -> Array:
    """``f(d) = d^2 / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``.

    ``beta``, above 0: where the square becomes straight. Other arguments as :func:`l2`. Girshick 2015, "Fast R-CNN",
    equation 3 (beta 1); Ren et al.'s code has beta 1/9 for proposals.
    """
    if beta <= 0:
        raise JaxsegError(f"smooth_l1: beta is {beta}, expected above 0; for beta 0 use l1")

    def f(d: Array) -> Array:
        return jnp.where(jnp.abs(d) < beta, 0.5 / beta * d * d, jnp.abs(d) - 0.5 * beta)

    return _regression("smooth_l1", f, predictions, targets, weights, reduction)


def _regression(
    name: str,
    f: Callable[[Array], Array],
    predictions: Array,
    targets: Array,
    weights: Array | None,
    reduction: str,
) -> Array:
    if predictions.ndim < 1 or predictions.shape != targets.shape:
        raise JaxsegError(
            f"{name}: predictions {list(predictions.shape)} and targets {list(targets.shape)} must have one shape "
            "[..., D]"
        )
    weights = jnp.ones(predictions.shape[:-1]) if weights is None else weights.astype(jnp.float32)
    if weights.shape != predictions.shape[:-1]:
        raise JaxsegError(
            f"{name}: weights {list(weights.shape)}, expected one for each vector: {list(predictions.shape[:-1])}"
        )
    counts = (weights > 0)[..., None]
    p, t = (jnp.where(counts, x, 0).astype(jnp.float32) for x in (predictions, targets))
    return reduce_pixels(weights * f(p - t).sum(-1), weights, reduction)
