"""CornerNet's losses against loops of numpy, and with nothing to find."""

import jax
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import DATA_AXIS, JaxsegError


def test_focal_loss_is_equation_1():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
    heat = rng.uniform(0, 0.99, logits.shape).astype(np.float32)
    heat[0, 1, 2, 0] = heat[1, 3, 3, 2] = heat[1, 0, 5, 1] = 1
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    total = 0.0
    for at in np.ndindex(*heat.shape):
        if heat[at] == 1:
            total -= (1 - p[at]) ** 2 * np.log(p[at])
        else:
            total -= (1 - heat[at]) ** 4 * p[at] ** 2 * np.log(1 - p[at])
    assert losses.corner_focal_loss(logits, heat) == pytest.approx(total / 3, rel=1e-5)
    value, gradient = jax.value_and_grad(losses.corner_focal_loss)(
        np.full((1, 4, 4, 2), 200, np.float32), np.zeros((1, 4, 4, 2))
    )
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_pull_and_push_are_equations_4_and_5():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 3, 6)).astype(np.float32)
    valid = np.array([[1, 1, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0], [0] * 6], bool)
    pulls, pushes = [], []
    for a, b, seen in zip(first, second, valid):
        a, b = a[seen], b[seen]
        m, n = (a + b) / 2, len(a)
        pulls.append(sum((a - m) ** 2 + (b - m) ** 2) / max(n, 1))
        apart = [max(0, 1 - abs(m[i] - m[j])) for i in range(n) for j in range(n) if i != j]
        pushes.append(sum(apart) / max(n * (n - 1), 1))
    pull, push = losses.pull_push_loss(first, second, valid)
    assert pull == pytest.approx(np.mean(pulls), rel=1e-5)
    assert push == pytest.approx(np.mean(pushes), rel=1e-5)


def test_over_devices_the_mean_is_the_whole_batchs():
    """One of two devices sees no corner."""
    rng = np.random.default_rng(3)
    logits, heat = rng.normal(size=(2, 1, 4, 4, 2)).astype(np.float32), np.zeros((2, 1, 4, 4, 2), np.float32)
    heat[0, 0, 1, 2, 0] = 1
    apart = jax.vmap(losses.corner_focal_loss, axis_name=DATA_AXIS)(logits, heat)
    together = losses.corner_focal_loss(logits.reshape(2, 4, 4, 2), heat.reshape(2, 4, 4, 2))
    np.testing.assert_allclose(apart.mean(), together, rtol=1e-6)


def test_nothing_to_find_has_no_embedding_to_learn():
    none, bad = np.zeros((2, 4), bool), np.full((2, 4), np.nan, np.float32)
    value, gradient = jax.value_and_grad(lambda x: sum(losses.pull_push_loss(x, x, none)))(bad)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_what_is_refused():
    x = np.zeros((1, 4), np.float32)
    with pytest.raises(JaxsegError, match="alike"):
        losses.corner_focal_loss(x, x[:, 1:])
    with pytest.raises(JaxsegError, match=r"\[B, N\]"):
        losses.pull_push_loss(x, x, np.ones((1, 3), bool))
