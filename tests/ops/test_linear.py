"""Support vector machines and ridge regression against scikit-learn's."""

import jax
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError

svm = pytest.importorskip("sklearn.svm")
linear_model = pytest.importorskip("sklearn.linear_model")


def examples(n=120, d=9, seed=0):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    x = rng.normal(0, 2, (n, d)) + positive[:, None] * rng.normal(0, 1.2, d)
    return x.astype(np.float32), positive


@pytest.mark.parametrize(("cost", "bias"), [(1e-3, 10.0), (0.05, 1.0), (1.0, 10.0)])
def test_machines_are_liblinears(cost, bias):
    x, positive = examples()
    costs = np.where(positive, 2 * cost, cost).astype(np.float32)
    ours = jax.jit(lambda *a: ops.linear_svm(*a, bias=bias, tolerance=1e-4, max_passes=20000))(x, positive, costs)
    theirs = svm.LinearSVC(
        loss="hinge", dual=True, C=cost, class_weight={True: 2, False: 1}, intercept_scaling=bias, tol=1e-7,
        max_iter=1_000_000,
    ).fit(x, positive)  # fmt: skip
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=2e-3)
    np.testing.assert_allclose(ours.bias, theirs.intercept_[0], atol=2e-3)

    def objective(w, b):
        margins = 1 - np.where(positive, 1, -1) * (x @ w + b)
        return 0.5 * (w @ w + (b / bias) ** 2) + np.sum(costs * np.maximum(margins, 0))

    best = objective(theirs.coef_[0], theirs.intercept_[0])
    assert objective(np.asarray(ours.weights, np.float64), float(ours.bias)) <= best * (1 + 1e-4)


def test_padding_changes_no_machine_and_classes_go_side_by_side():
    x, positive = examples(40, 5)
    costs = np.full(40, 0.1, np.float32)
    machine = jax.jit(ops.linear_svm)
    plain = jax.tree.map(np.asarray, machine(x, positive, costs))
    padded = machine(
        np.pad(x, ((0, 9), (0, 0)), constant_values=np.nan), np.pad(positive, (0, 9)), np.pad(costs, (0, 9))
    )
    both = jax.jit(jax.vmap(ops.linear_svm, (None, 0, None)))(x, np.stack([positive, ~positive]), costs)
    both = jax.tree.map(np.asarray, both)
    for a, b, c in zip(plain, padded, both, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(a, c[0], atol=1e-5)
        np.testing.assert_allclose(a, -c[1], atol=2e-3)
    nothing = machine(x, positive, np.zeros(40, np.float32))
    assert not np.any(nothing.weights)


@pytest.mark.parametrize("shape", [(60, 7), (12, 30), (1, 4)])
def test_regression_is_scikit_learns(shape):
    rng = np.random.default_rng(2)
    x, t = rng.normal(3, 1, shape).astype(np.float32), rng.normal(1, 1, (shape[0], 4)).astype(np.float32)
    m = rng.integers(0, 2, shape[0]).astype(np.float32) if shape[0] > 1 else np.ones(1, np.float32)
    theirs = linear_model.Ridge(alpha=3.0).fit(x[m > 0], t[m > 0])
    x[m == 0] = np.nan
    regress = jax.jit(lambda *a: ops.ridge_regression(*a, 3.0))
    ours = regress(x, t, m)
    np.testing.assert_allclose(ours.weights, theirs.coef_.T, atol=1e-4)
    np.testing.assert_allclose(ours.bias, theirs.intercept_, atol=1e-4)
    nothing = regress(x, t, 0 * m)
    assert not np.any(nothing.weights)
    assert not np.any(nothing.bias)


def test_what_does_not_fit_is_refused():
    with pytest.raises(JaxsegError, match="linear_svm: features"):
        ops.linear_svm(np.zeros((3, 2)), np.zeros(2, bool), np.zeros(3))
    with pytest.raises(JaxsegError, match="ridge_regression: features"):
        ops.ridge_regression(np.zeros((3, 2)), np.zeros((3, 4)), np.zeros(3), 0.0)
