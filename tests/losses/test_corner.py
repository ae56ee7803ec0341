"""CornerNet's losses against loops of numpy, and with nothing to find."""

import jax
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import JaxsegError


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


def test_offsets_are_pytorchs_smooth_l1():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    offset, targets = rng.normal(size=(2, 2, 5, 2)).astype(np.float32)
    valid = rng.uniform(size=(2, 5)) < 0.6
    want = torch.nn.functional.smooth_l1_loss(
        torch.tensor(offset[valid]), torch.tensor(targets[valid]), reduction="sum"
    )
    assert losses.corner_offset_loss(offset, targets, valid) == pytest.approx(float(want) / valid.sum(), rel=1e-5)


def test_nothing_to_find_has_no_embedding_and_no_offset_to_learn():
    none = np.zeros((2, 4), bool)
    bad = np.full((2, 4), np.nan, np.float32)
    for loss, at in (
        (lambda x: sum(losses.pull_push_loss(x, x, none)), bad),
        (lambda x: losses.corner_offset_loss(x, x, none), np.stack([bad, bad], -1)),
    ):
        value, gradient = jax.value_and_grad(loss)(at)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_what_is_refused():
    x = np.zeros((1, 4), np.float32)
    with pytest.raises(JaxsegError, match="alike"):
        losses.corner_focal_loss(x, x[:, 1:])
    with pytest.raises(JaxsegError, match=r"\[B, N\]"):
        losses.pull_push_loss(x, x, np.ones((1, 3), bool))
    with pytest.raises(JaxsegError, match=r"\[B, N, 2\]"):
        losses.corner_offset_loss(x, x, np.ones((1, 4), bool))
