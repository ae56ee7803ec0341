"""Binary cross-entropy beside PyTorch's, on known answers; unknown ones count for nothing."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import JaxsegError


def example():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)).astype(np.float32) * 3, rng.integers(-1, 2, (6, 4)).astype(np.int32)


def test_equals_torchs_on_the_known_answers():
    torch = pytest.importorskip("torch")
    z, y = example()
    there = torch.tensor(z, requires_grad=True)
    known = torch.tensor(y >= 0)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        there[known], torch.tensor(y, dtype=torch.float32)[known]
    )
    loss.backward()
    value, gradient = jax.jit(jax.value_and_grad(partial(losses.binary_cross_entropy, ignore_index=-1)))(z, y)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, there.grad, rtol=1e-5, atol=1e-7)


def test_unknown_answers_and_huge_logits_are_safe():
    z, y = example()
    f = jax.jit(jax.value_and_grad(partial(losses.binary_cross_entropy, ignore_index=-1)))
    spoilt = np.where(y < 0, np.nan, z)
    value, gradient = f(spoilt, y)
    np.testing.assert_array_equal(value, f(z, y)[0])
    assert (np.asarray(gradient)[y < 0] == 0).all()
    nothing, none = f(spoilt, np.full_like(y, -1))
    assert nothing == 0.0
    assert (np.asarray(none) == 0.0).all()
    value, gradient = f(z * np.float32(1e30), y)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    with pytest.raises(JaxsegError, match="one floating point logit for each label"):
        losses.binary_cross_entropy(z, y[:, :1])
