"""Linear models fitted to the features of a network: R-CNN's support vector machines and its regression of boxes."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxseg.types import Array, JaxsegError


class Linear(NamedTuple):
    """``x @ weights + bias``: ``weights [D]`` and ``bias []``, or ``[D, T]`` and ``[T]``."""

    weights: Array
    bias: Array


def linear_svm(
    features: Array,
    positive: Array,
    costs: Array,
    *,
    bias: float = 1.0,
    tolerance: float = 1e-3,
    max_passes: int = 1000,
) -> Linear:
    """A support vector machine: ``min |w|^2 / 2 + sum_i c_i max(0, 1 - y_i w x_i)``, y -1 or 1, by ascending the dual
    one coordinate after another, as liblinear does (Hsieh et al., ICML 2008, algorithm 1; without shrinking and without
    a random order).

    Each feature vector is extended by a constant, ``bias``, whose weight is punished like any other: the larger, the
    less. One program serves any number of examples if they are padded with some of cost 0, which change nothing.

    Args:
      features: ``[N, D]``.
      positive: ``[N]`` bool.
      costs: ``[N]``, at least 0.
      tolerance: ends when no example violates the optimality conditions by more.
      max_passes: over all examples, at most.
    """
    n = len(features)
    if features.ndim != 2 or positive.shape != (n,) or costs.shape != (n,) or not n:
        raise JaxsegError(
            f"linear_svm: features have shape {features.shape}, positive {positive.shape} and costs {costs.shape}; "
            "expected [N, D], [N] and [N]"
        )
    x = jnp.concatenate([features.astype(jnp.float32), jnp.full((n, 1), bias, jnp.float32)], axis=1)
    x = jnp.where((costs > 0)[:, None], x, 0) * jnp.where(positive, 1.0, -1.0)[:, None]
    square, costs = jnp.sum(x * x, axis=1), jnp.asarray(costs, jnp.float32)

    def improve(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        w, alpha, worst = state
        slope = jnp.sum(w * x[i]) - 1
        at_low, at_high = alpha[i] <= 0, alpha[i] >= costs[i]
        violation = jnp.where(at_low, jnp.minimum(slope, 0), jnp.where(at_high, jnp.maximum(slope, 0), slope))
        violation = jnp.where(costs[i] > 0, jnp.abs(violation), 0)
        new = jnp.clip(alpha[i] - slope / jnp.maximum(square[i], 1e-12), 0, costs[i])
        return w + (new - alpha[i]) * x[i], alpha.at[i].set(new), jnp.maximum(worst, violation)

    def again(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        w, alpha, _, passes = state
        return *lax.fori_loop(0, n, improve, (w, alpha, jnp.zeros(()))), passes + 1

    begin = jnp.zeros(x.shape[1]), jnp.zeros(n), jnp.full((), jnp.inf), jnp.zeros((), jnp.int32)
    w, *_ = lax.while_loop(lambda s: (s[2] > tolerance) & (s[3] < max_passes), again, begin)
    return Linear(w[:-1], w[-1] * bias)


def ridge_regression(features: Array, targets: Array, weights: Array, penalty: float) -> Linear:
    """``min sum_i m_i |t_i - x_i w - b|^2 + penalty |w|^2`` in closed form, the bias free (Girshick et al. 2014,
    appendix C, equation 5, with ``penalty`` 1000).

    Solved in as many unknowns as there are examples or features, whichever are fewer. Examples of weight 0 change
    nothing; where all are, weights and bias are 0.

    Args:
      features: ``[N, D]``; targets: ``[N, T]``; weights: ``[N]``, at least 0.
      penalty: above 0.
    """
    n, d = features.shape
    if targets.shape[:1] != (n,) or targets.ndim != 2 or weights.shape != (n,) or not n or penalty <= 0:
        raise JaxsegError(
            f"ridge_regression: features {features.shape}, targets {targets.shape}, weights {weights.shape} and "
            f"penalty {penalty}; expected [N, D], [N, T], [N] and a number above 0"
        )
    weights = weights.astype(jnp.float32)
    counts, total = (weights > 0)[:, None], jnp.maximum(weights.sum(), 1e-12)
    x, t = (jnp.where(counts, v, 0).astype(jnp.float32) for v in (features, targets))
    mean_x, mean_t = (jnp.einsum("n,nd->d", weights, v, precision="highest") / total for v in (x, t))
    root = jnp.sqrt(weights)[:, None]
    x, t = (x - mean_x[None]) * root, (t - mean_t[None]) * root
    if n < d:
        gram = jnp.einsum("nd,md->nm", x, x, precision="highest") + penalty * jnp.eye(n)
        w = jnp.einsum("nd,nt->dt", x, _solve(gram, t), precision="highest")
    else:
        gram = jnp.einsum("nd,ne->de", x, x, precision="highest") + penalty * jnp.eye(d)
        w = _solve(gram, jnp.einsum("nd,nt->dt", x, t, precision="highest"))
    return Linear(w, mean_t - jnp.einsum("d,dt->t", mean_x, w, precision="highest"))


def _solve(a: Array, b: Array) -> Array:
    """As jax has it, with types."""
    return jnp.linalg.solve(a, b)
