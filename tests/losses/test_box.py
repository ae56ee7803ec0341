"""Regression losses beside PyTorch's, and the rule that what weighs nothing changes nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import JaxsegError

LOSSES = {
    "l2": losses.l2,
    "l1": losses.l1,
    "smooth_l1": losses.smooth_l1,
    "smooth_l1 beta 1/9": partial(losses.smooth_l1, beta=1 / 9),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def example(shape=(5, 3, 4)):
    rng = np.random.default_rng(0)
    p, t = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    return p, t, rng.integers(0, 3, shape[:-1]).astype(np.float32)


def by_torch(name):
    f = pytest.importorskip("torch").nn.functional
    return {
        "l2": partial(f.mse_loss, reduction="none"),
        "l1": partial(f.l1_loss, reduction="none"),
        "smooth_l1": partial(f.smooth_l1_loss, reduction="none"),
        "smooth_l1 beta 1/9": partial(f.smooth_l1_loss, reduction="none", beta=1 / 9),
    }[name]


@every_loss
def test_values_and_gradients_are_torchs(name):
    torch = pytest.importorskip("torch")
    p, t, w = example()
    there, weights = torch.tensor(p, requires_grad=True), torch.tensor(w)
    each = by_torch(name)(there, torch.tensor(t)).sum(-1) * weights
    for reduction, expected in (("mean", each.sum() / weights.sum()), ("sum", each.sum()), ("none", each)):
        found = jax.jit(partial(LOSSES[name], reduction=reduction))(p, t, w)
        np.testing.assert_allclose(found, expected.detach(), rtol=1e-5)
    (each.sum() / weights.sum()).backward()
    np.testing.assert_allclose(jax.jit(jax.grad(LOSSES[name]))(p, t, w), there.grad, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        LOSSES[name](p, t), by_torch(name)(there, torch.tensor(t)).sum(-1).mean().item(), rtol=1e-5
    )


@every_loss
def test_what_weighs_nothing_changes_nothing(name):
    p, t, w = example()
    f = jax.jit(jax.value_and_grad(LOSSES[name]))
    value, gradient = f(p, t, w > 0)
    spoilt, rubbish = p.copy(), t.copy()
    spoilt[w == 0], rubbish[w == 0] = np.nan, np.inf
    other, other_gradient = f(spoilt, rubbish, w > 0)
    assert other == value > 0
    np.testing.assert_array_equal(other_gradient, gradient)
    nothing, none = f(spoilt, t, np.zeros_like(w))
    assert nothing == 0.0
    assert (np.asarray(none) == 0.0).all()


@every_loss
def test_vmap_equals_a_loop_and_bfloat16_is_computed_in_float32(name):
    p, t, w = example()
    loop = [LOSSES[name](*x) for x in zip(p, t, w)]
    np.testing.assert_allclose(jax.vmap(LOSSES[name])(p, t, w), np.stack(loop), rtol=1e-6)
    rough = jnp.asarray(p, jnp.bfloat16)
    value = LOSSES[name](rough, t, w)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, LOSSES[name](rough.astype(jnp.float32), t, w), rtol=1e-6)


def test_what_does_not_fit_is_refused():
    p, t, w = example()
    with pytest.raises(JaxsegError, match="must have one shape"):
        losses.l1(p, t[:2])
    with pytest.raises(JaxsegError, match="expected one for each vector: \\[5, 3\\]"):
        losses.l2(p, t, w[:, :1])
    with pytest.raises(JaxsegError, match="beta is 0"):
        losses.smooth_l1(p, t, beta=0)
