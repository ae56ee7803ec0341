"""The lattice against a dict of vertices, against all pairs, and its gradients against slopes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import build_lattice, exact_filter, lattice_filter
from jaxseg.ops.crf.lattice import CHUNK
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.ops.crf import oracle

NORMALIZATIONS = ("symmetric", "before", "after", "none")


def cloud(n, d, spread=3.0, seed=0):
    return (spread * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


@partial(jax.jit, static_argnames="normalization")
def filtered(features, values, **how):
    """The lattice and what it makes of the values."""
    lattice = build_lattice(features)
    return lattice, lattice_filter(lattice, values, **how)


@pytest.mark.parametrize("d", [1, 2, *slowly(3), 5, *slowly(8)])
def test_filter_is_adams_et_al(d):
    features, values = cloud(90, d), cloud(90, 3, 1.0, seed=1)
    expected, vertices = oracle.lattice_filter(features, values)
    lattice, got = filtered(features, values)
    assert lattice.num_vertices == vertices
    assert lattice.num_dropped == 0
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
def test_filter_of_many_vertices():
    """More slots than are summed at once, and neighbours far enough apart for the search between those of a few."""
    features, values = cloud(12000, 2, 60.0), cloud(12000, 1, 1.0, seed=1)
    expected, vertices = oracle.lattice_filter(features, values)
    lattice = build_lattice(jnp.asarray(features))
    assert lattice.num_vertices == vertices
    assert len(lattice.points) >= 2 * CHUNK
    np.testing.assert_allclose(lattice_filter(lattice, jnp.asarray(values)), expected, rtol=1e-4, atol=2e-5)


def test_normalizations():
    features, values = cloud(60, 3), cloud(60, 2, 1.0, seed=1)
    kernel, _ = oracle.lattice_filter(features, np.eye(60))
    lattice = build_lattice(jnp.asarray(features))
    for normalization in NORMALIZATIONS:
        expected = oracle.normalized(kernel, normalization) @ values
        got = jax.jit(partial(lattice_filter, normalization=normalization))(lattice, values)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


def test_filter_is_near_all_pairs():
    """The approximation's own error: a few per cent."""
    features, values = cloud(3000, 2, 2.0), np.abs(cloud(3000, 2, 1.0, seed=1))
    exact = jax.jit(exact_filter)(features, values)
    np.testing.assert_allclose(exact, oracle.pairs(features) @ values, rtol=1e-4)
    mean = np.asarray(exact / jax.jit(exact_filter)(features, np.ones_like(values)))
    _, near = filtered(features, values, normalization="after")
    assert np.linalg.norm(near - mean) < 0.05 * np.linalg.norm(mean)
    assert np.linalg.norm(near - mean) < 0.3 * np.linalg.norm(mean - mean.mean(axis=0, keepdims=True))


def test_too_little_room_is_told_and_enough_changes_nothing():
    features, values = jnp.asarray(cloud(200, 3)), jnp.asarray(cloud(200, 2, seed=1))
    enough, run = build_lattice(features), jax.jit(lattice_filter)
    expected = run(enough, values)
    for room in (int(enough.num_vertices), 10**9):
        lattice = build_lattice(features, max_vertices=room)
        assert lattice.num_dropped == 0
        np.testing.assert_array_equal(run(lattice, values), expected)
    lattice = jax.jit(build_lattice, static_argnames="max_vertices")(features, max_vertices=100)
    assert lattice.num_vertices == enough.num_vertices
    assert lattice.num_dropped == enough.num_vertices - 100
    assert np.isfinite(run(lattice, values)).all()


def test_one_point_and_equal_points():
    for shape, value in (((1, 4), 1), ((9, 2), 0.3), ((9, 2), 0)):
        values = np.arange(shape[0], dtype=np.float32)[:, None]
        lattice, mean = filtered(np.full(shape, value, np.float32), values, normalization="after")
        assert lattice.num_vertices == shape[1] + 1
        np.testing.assert_allclose(mean, np.full_like(values, values.mean()), rtol=1e-5)


def test_vmap_gives_the_same():
    features, values = np.stack([cloud(50, 3, seed=s) for s in range(3)]), np.stack([cloud(50, 2)] * 3)

    def run(features, values):
        return lattice_filter(build_lattice(features, max_vertices=200), values, normalization="symmetric")

    together, alone = jax.jit(jax.vmap(run))(features, values), jax.jit(run)
    for i in range(3):
        np.testing.assert_allclose(together[i], alone(features[i], values[i]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalization", ["symmetric", *slowly("before"), "after", *slowly("none")])
def test_gradient_is_the_slope(normalization):
    """Of values and of features: barycentric weights are linear in them, as long as no point leaves its simplex."""
    features, values, towards = cloud(40, 3), cloud(40, 2, 1.0, seed=1), cloud(40, 2, 1.0, seed=2)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(features, values):
        lattice = build_lattice(features, max_vertices=200)
        return jnp.vdot(towards, lattice_filter(lattice, values, normalization=normalization))

    loss = lambda *arguments: run(*arguments)[0]
    _, (g_features, g_values) = run(features, values)
    step = cloud(40, 2, 1.0, seed=3)
    slope = (loss(features, values + step) - loss(features, values - step)) / 2  # it is linear in values
    np.testing.assert_allclose(np.vdot(g_values, step), slope, rtol=2e-3, atol=1e-4)
    step = np.float32(3e-4) * cloud(40, 3, 1.0, seed=4)
    slope = loss(features + step, values) - loss(features - step, values)
    np.testing.assert_allclose(2 * np.vdot(g_features, step), slope, rtol=2e-2, atol=1e-5)


def test_bfloat16_values_are_filtered_in_float32():
    features, values = cloud(50, 2), cloud(50, 2, seed=1).astype(jnp.bfloat16)
    lattice, got = filtered(features, values)
    assert got.dtype == jnp.bfloat16
    exact = jax.jit(lattice_filter)(lattice, values.astype(np.float32))
    np.testing.assert_array_equal(got, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_lattice(jnp.zeros((3, 4, 2))), r"expected floating point \[N, d\]"),
        (lambda: build_lattice(jnp.zeros((3, 2), jnp.int32)), "int32"),
        (lambda: build_lattice(jnp.zeros((0, 2))), "needs a point"),
        (lambda: build_lattice(jnp.zeros((3, 2)), max_vertices=0), "at least 1"),
        (lambda: build_lattice(1e4 * jnp.asarray(cloud(10, 9))), "larger standard deviations"),
        (lambda: lattice_filter(build_lattice(jnp.zeros((3, 2))), jnp.zeros((4, 1))), r"expected \[3, L\]"),
        (lambda: lattice_filter(build_lattice(jnp.zeros((3, 2))), jnp.zeros((3, 1)), normalization="no"), "'no'"),
        (lambda: exact_filter(jnp.zeros((3, 2)), jnp.zeros((4, 1))), "expected"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(JaxsegError, match=message):
        call()
