"""The loss of captions against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import caption_loss
from jaxseg.types import JaxsegError

B, P, T, V = 2, 3, 4, 9


def test_a_mean_over_the_tokens_of_valid_captions():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(B, P, T, V)).astype(np.float32)
    tokens = rng.integers(1, V, (B, P, T)).astype(np.int32)
    tokens[0, 1, 2:] = tokens[1, 0, 1:] = 0
    valid = np.array([[True, True, False], [True, False, True]])
    theirs = torch.tensor(logits, requires_grad=True)
    wanted = torch.tensor(np.where(valid[..., None], tokens, 0), dtype=torch.long)
    expected = torch.nn.functional.cross_entropy(theirs.reshape(-1, V), wanted.reshape(-1), ignore_index=0)
    expected.backward()
    loss, gradient = jax.value_and_grad(caption_loss)(jnp.asarray(logits), tokens, valid)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-7)


def test_no_captions_no_loss():
    logits = jnp.full((B, P, T, V), jnp.nan)
    tokens, valid = jnp.ones((B, P, T), jnp.int32), jnp.zeros((B, P), bool)
    loss, gradient = jax.value_and_grad(caption_loss)(logits, tokens, valid)
    assert loss == 0
    assert not np.asarray(gradient).any()


def test_shapes_are_told():
    with pytest.raises(JaxsegError, match=r"expected \[B, P, T, V\], \[B, P, T\] and \[B, P\]"):
        caption_loss(jnp.ones((B, P, T, V)), jnp.ones((B, P, V), jnp.int32), jnp.ones((B, P), bool))
