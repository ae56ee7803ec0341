"""Batch normalisation: numpy, PyTorch's gradients, and the same numbers over two devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import DATA_AXIS, JaxsegError
from tests.ops.jitted import value_and_gradients


def make(rng, batch=4):
    x = (rng.normal(size=(batch, 3, 5, 2)) * 3 + 1).astype(np.float32)
    scale, bias = (rng.normal(size=2).astype(np.float32) for _ in range(2))
    return x, scale, bias


def test_values(rng):
    x, scale, bias = make(rng)
    y, mean, var = jax.jit(ops.batch_norm)(x, scale, bias, 1e-3)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=1e-4)
    want = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3) * scale + bias
    np.testing.assert_allclose(y, want, atol=1e-4)


def test_gradients_are_pytorchs(torch, to_torch, from_torch, rng):
    x, scale, bias = make(rng)
    tx, ts, tb = to_torch(x), *(torch.tensor(a, requires_grad=True) for a in (scale, bias))
    y = torch.nn.functional.batch_norm(tx, None, None, ts, tb, training=True)
    g = rng.normal(size=y.shape).astype(np.float32)
    y.backward(torch.tensor(g))
    f = lambda *a: ops.batch_norm(*a)[0]
    _, (dx, ds, db) = value_and_gradients(f, (x, scale, bias), g.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(dx, from_torch(tx.grad), atol=1e-4)
    np.testing.assert_allclose(ds, ts.grad, atol=1e-4)
    np.testing.assert_allclose(db, tb.grad, atol=1e-4)


@pytest.mark.parametrize("way", ["jit", "pmap"])
def test_two_devices_see_one_batch(rng, way):
    x, scale, bias = make(rng)
    weights = rng.normal(size=x.shape).astype(np.float32)

    def loss(x, w, scale, bias):
        return jnp.mean(ops.batch_norm(x, scale, bias)[0] * w)

    gradient = jax.grad(loss, argnums=(2, 3))
    want = gradient(x, weights, scale, bias)
    if way == "pmap":

        def mean(x, w):
            return jax.lax.pmean(gradient(x, w, scale, bias), DATA_AXIS)

        halves = [a.reshape(2, 2, *a.shape[1:]) for a in (x, weights)]
        got = jax.tree.map(lambda a: a[0], jax.pmap(mean, DATA_AXIS, devices=jax.devices()[:2])(*halves))
    else:
        got = jax.jit(gradient)(x, weights, scale, bias)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_statistics_carry_no_gradient_and_a_constant_image_no_nan(rng):
    x, scale, bias = make(rng)
    g = jax.jit(jax.grad(lambda x: sum(a.sum() for a in ops.batch_norm(x, scale, bias)[1:])))(x)
    np.testing.assert_array_equal(g, np.zeros_like(x))
    f = lambda x: ops.batch_norm(x, scale, bias)[0]
    y, gradients = value_and_gradients(f, (np.full_like(x, 1e3),), np.ones_like(x))
    np.testing.assert_allclose(y, np.broadcast_to(bias, x.shape), atol=0.1)
    assert np.isfinite(gradients[0]).all()


def test_bfloat16_has_float32_statistics(rng):
    x, scale, bias = make(rng)
    y, mean, var = jax.eval_shape(ops.batch_norm, x.astype(jnp.bfloat16), scale, bias)
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)


def test_message():
    with pytest.raises(JaxsegError, match="one a channel"):
        ops.batch_norm(np.ones((1, 2, 2, 3), np.float32), np.ones(2, np.float32), np.ones(3, np.float32))
