"""The lattice against a dict of vertices, against all pairs, and its gradients against slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import build_lattice, exact_filter, lattice_filter
from jaxseg.ops.crf.lattice import CHUNK
from jaxseg.types import JaxsegError
from tests.ops.crf import oracle

NORMALIZATIONS = ("symmetric", "before", "after", "none")


def cloud(n, d, spread=3.0, seed=0):
    return (spread * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8])
def test_filter_is_adams_et_al(d):
    features, values = cloud(90, d), cloud(90, 3, 1.0, seed=1)
    expected, vertices = oracle.lattice_filter(features, values)
    lattice = build_lattice(jnp.asarray(features))
    assert lattice.num_vertices == vertices
    assert lattice.num_dropped == 0
    np.testing.assert_allclose(lattice_filter(lattice, jnp.asarray(values)), expected, rtol=1e-4, atol=2e-5)


def test_filter_of_many_vertices():
    """More slots than are summed at once, and neighbours far enough apart for the search between those of a few."""
    features, values = cloud(12000, 2, 60.0), cloud(12000, 1, 1.0, seed=1)
    expected, vertices = oracle.lattice_filter(features, values)
    lattice = build_lattice(jnp.asarray(features))
    assert lattice.num_vertices == vertices
    assert len(lattice.points) >= 2 * CHUNK
    np.testing.assert_allclose(lattice_filter(lattice, jnp.asarray(values)), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizations(normalization):
    features, values = cloud(60, 3), cloud(60, 2, 1.0, seed=1)
    kernel = np.stack([oracle.lattice_filter(features, row[:, None])[0][:, 0] for row in np.eye(60)], axis=1)
    expected = oracle.normalized(kernel, normalization) @ values
    got = lattice_filter(build_lattice(jnp.asarray(features)), jnp.asarray(values), normalization=normalization)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


def test_filter_is_near_all_pairs():
    """The approximation's own error: a few per cent."""
    features, values = cloud(3000, 2, 2.0), np.abs(cloud(3000, 2, 1.0, seed=1))
    exact = exact_filter(jnp.asarray(features), jnp.asarray(values))
    np.testing.assert_allclose(exact, oracle.pairs(features) @ values, rtol=1e-4)
    mean = exact / exact_filter(jnp.asarray(features), jnp.ones_like(values))
    near = lattice_filter(build_lattice(jnp.asarray(features)), jnp.asarray(values), normalization="after")
    assert np.linalg.norm(near - mean) < 0.05 * np.linalg.norm(mean)
    assert np.linalg.norm(near - mean) < 0.3 * np.linalg.norm(mean - mean.mean(axis=0, keepdims=True))


def test_too_little_room_is_told_and_enough_changes_nothing():
    features, values = jnp.asarray(cloud(200, 3)), jnp.asarray(cloud(200, 2, seed=1))
    enough = build_lattice(features)
    for room in (int(enough.num_vertices), 10**9):
        lattice = build_lattice(features, max_vertices=room)
        assert lattice.num_dropped == 0
        np.testing.assert_array_equal(lattice_filter(lattice, values), lattice_filter(enough, values))
    lattice = jax.jit(build_lattice, static_argnames="max_vertices")(features, max_vertices=100)
    assert lattice.num_vertices == enough.num_vertices
    assert lattice.num_dropped == enough.num_vertices - 100
    assert np.isfinite(lattice_filter(lattice, values)).all()


def test_one_point_and_equal_points():
    for features in (jnp.ones((1, 4)), jnp.full((9, 2), 0.3), jnp.zeros((5, 3))):
        lattice = build_lattice(features)
        assert lattice.num_vertices == features.shape[1] + 1
        values = jnp.arange(len(features), dtype=jnp.float32)[:, None]
        mean = lattice_filter(lattice, values, normalization="after")
        np.testing.assert_allclose(mean, jnp.broadcast_to(values.mean(), mean.shape), rtol=1e-5)


def test_jit_and_vmap_give_the_same():
    features, values = jnp.stack([cloud(50, 3, seed=s) for s in range(3)]), jnp.stack([cloud(50, 2)] * 3)

    def run(features, values):
        return lattice_filter(build_lattice(features, max_vertices=200), values, normalization="symmetric")

    together = jax.jit(jax.vmap(run))(features, values)
    for i in range(3):
        np.testing.assert_allclose(together[i], run(features[i], values[i]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_is_the_slope(normalization):
    """Of values and of features: barycentric weights are linear in them, as long as no point leaves its simplex."""
    features, values = jnp.asarray(cloud(40, 3)), jnp.asarray(cloud(40, 2, 1.0, seed=1))
    towards = jnp.asarray(cloud(40, 2, 1.0, seed=2))

    @jax.jit
    def loss(features, values):
        lattice = build_lattice(features, max_vertices=200)
        return jnp.vdot(towards, lattice_filter(lattice, values, normalization=normalization))

    g_features, g_values = jax.grad(loss, argnums=(0, 1))(features, values)
    step = jnp.asarray(cloud(40, 2, 1.0, seed=3))
    slope = (loss(features, values + step) - loss(features, values - step)) / 2  # it is linear in values
    np.testing.assert_allclose(jnp.vdot(g_values, step), slope, rtol=2e-3, atol=1e-4)
    step = 3e-4 * jnp.asarray(cloud(40, 3, 1.0, seed=4))
    slope = loss(features + step, values) - loss(features - step, values)
    np.testing.assert_allclose(2 * jnp.vdot(g_features, step), slope, rtol=2e-2, atol=1e-5)


def test_bfloat16_values_are_filtered_in_float32():
    features, values = jnp.asarray(cloud(50, 2)), jnp.asarray(cloud(50, 2, seed=1)).astype(jnp.bfloat16)
    lattice = build_lattice(features)
    got = lattice_filter(lattice, values)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, lattice_filter(lattice, values.astype(jnp.float32)).astype(jnp.bfloat16))


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
