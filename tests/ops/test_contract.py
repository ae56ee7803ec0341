"""What every public operation promises: jit == eager, vmap == loop, true gradients, nothing breaks on one pixel."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from tests.helpers import slowly

IMAGE, ONE = (5, 6, 3), (1, 1, 3)
BOX = np.float32([-0.4, 0.3, 3.2, 4.1])


def kernel(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def batched(f):
    return lambda x, *rest: f(x[None], *rest)[0]


def unpool(y):
    switches = jnp.asarray(np.random.default_rng(2).integers(0, 4, y.shape), jnp.uint8)
    return ops.max_unpool(y, switches, 2, None, (2 * y.shape[0] + 1, 2 * y.shape[1]))


def pool_value_plus_switch(x):
    y, switches = ops.max_pool_with_switches(x, 3, 2, 1)
    return y + switches.astype(jnp.float32)


# Name -> the operation as a function of one float image; every public name must be here.
OPERATIONS = {
    "adaptive_avg_pool": lambda x: ops.adaptive_avg_pool(x, (2, 4)),
    "avg_pool": lambda x: ops.avg_pool(x, 3, 2, 1),
    "batch_norm": lambda x: ops.batch_norm(x[None], jnp.full(3, 2.0), jnp.ones(3), 1e-1)[0][0],
    "bed_of_nails": lambda x: ops.bed_of_nails(x, 2),
    "conv": lambda x: ops.conv(x[None], kernel(3, 3, 3, 4), padding=1)[0],
    "conv_matrix_1d": lambda x: ops.conv_matrix_1d(x[0, 0], 5, 2, 1),
    "corner_pool": lambda x: ops.corner_pool(x, "left"),
    "crop_resize": lambda x: ops.crop_resize(x, BOX, (4, 3), 0.5),
    "max_pool": lambda x: ops.max_pool(x, 3, 2, 1),
    "max_pool_with_switches": pool_value_plus_switch,
    "max_unpool": unpool,
    "paste_resize": lambda x: ops.paste_resize(x, BOX, (6, 4)),
    "resize_bicubic": lambda x: ops.resize_bicubic(x, (3, 13)),
    "resize_bilinear": lambda x: ops.resize_bilinear(x, (3, 13)),
    "resize_nearest": lambda x: ops.resize_nearest(x, (3, 13)),
    "transposed_conv": lambda x: ops.transposed_conv(x[None], kernel(3, 3, 3, 2), 2, 1, 1)[0],
    "unpool_nearest": lambda x: ops.unpool_nearest(x, 3),
}
NOT_OF_AN_IMAGE = {
    *("bilinear_kernel", "context_boxes", "grid_boxes", "switches_to_flat_indices"),
    *("corner_radius", "corner_targets", "pair_corners"),
}


def mine():
    """The public functions of the modules that these tests are about."""
    modules = ("batch_norm", "conv", "corner", "crop", "pooling", "resize", "transposed_conv")
    return {
        n
        for n in ops.__all__
        if isinstance(f := getattr(ops, n), types.FunctionType) and f.__module__.split(".")[-1] in modules
    }


def test_every_operation_is_here():
    assert mine() == set(OPERATIONS) | NOT_OF_AN_IMAGE


def image(shape, seed=0):
    """Distinct values a tenth apart at least, so that finite differences change no maximum."""
    values = np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape)
    return (values / 10 - 1).astype(np.float32)


@pytest.mark.parametrize("shape", [IMAGE, *slowly((ONE,))])
@pytest.mark.parametrize("name", OPERATIONS)
def test_jit_equals_eager_and_is_finite(name, shape):
    x = image(shape)
    y = OPERATIONS[name](x)
    assert np.isfinite(y).all()
    assert y.size
    np.testing.assert_allclose(jax.jit(OPERATIONS[name])(x), y, atol=1e-5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_vmap_equals_a_loop(name):
    x = np.stack([image(IMAGE, seed) for seed in range(3)])
    f = jax.jit(jax.value_and_grad(lambda x: jnp.sum(jnp.sin(OPERATIONS[name](x)))))
    values, gradients = (np.asarray(y) for y in jax.jit(jax.vmap(f))(x))
    for i in range(3):
        value, gradient = f(x[i])
        np.testing.assert_allclose(values[i], value, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [IMAGE, ONE])
@pytest.mark.parametrize("name", OPERATIONS)
def test_gradient_is_the_slope(name, shape):
    rng = np.random.default_rng(3)
    x = image(shape)
    d = rng.normal(size=shape).astype(np.float32)
    weights = rng.normal(size=jax.eval_shape(OPERATIONS[name], x).shape).astype(np.float32)
    run = jax.jit(jax.value_and_grad(lambda x: jnp.sum(weights * OPERATIONS[name](x))))
    step = np.float32(1e-2)
    slope = (run(x + step * d)[0] - run(x - step * d)[0]) / (2 * step)
    value, gradient = run(x)
    assert np.isfinite(value)
    np.testing.assert_allclose(np.vdot(gradient, d), slope, rtol=2e-2, atol=2e-3)
    assert np.abs(gradient).max() > 0 or (name == "batch_norm" and shape == ONE)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"batch_norm"}))
def test_keeps_bfloat16(name):
    x = image(IMAGE).astype(jnp.bfloat16)
    arguments = {
        "conv": lambda x: ops.conv(x[None], jnp.ones((3, 3, 3, 4), x.dtype)),
        "transposed_conv": lambda x: ops.transposed_conv(x[None], jnp.ones((2, 2, 3, 4), x.dtype), 2),
        "max_pool_with_switches": lambda x: ops.max_pool_with_switches(x, 2)[0],
    }
    f = arguments.get(name, OPERATIONS[name])
    assert jax.eval_shape(f, x).dtype == jnp.bfloat16
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(f(x).astype(jnp.float32))))(x)
    assert gradient.dtype == jnp.bfloat16
