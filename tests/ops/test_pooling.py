"""Pooling and unpooling: a numpy loop, PyTorch (values, gradients, indices), ties, NaN, no scatter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.ops import windows
from jaxseg.types import JaxsegError
from tests.ops.jitted import value_and_gradients

# window, stride, padding
CASES = [
    (2, 2, 0),
    (3, 2, 1),
    (3, 1, 1),
    (2, 3, 0),
    (3, 3, 1),
    (3, 2, 0),
    ((3, 2), (2, 1), (1, 1)),
    (1, 1, 0),
    (7, 7, 0),
]
SIZE = (7, 8)


@pytest.fixture(params=["tap by tap", "by rows"])
def walk(request, monkeypatch):
    """Both ways to the largest value; by size only large windows take the second."""
    if request.param == "by rows":
        monkeypatch.setattr(windows, "MANY_TAPS", 0)


def with_ties(rng):
    return rng.integers(-3, 3, size=(2, *SIZE, 3)).astype(np.float32)


def naive_pool(x, window, stride, padding):
    """Value and flat index of the first largest, looking at the image only."""
    (kh, kw), (s, t), (p, q) = ((v, v) if isinstance(v, int) else v for v in (window, stride, padding))
    b, h, w, c = x.shape
    out = ((h + 2 * p - kh) // s + 1, (w + 2 * q - kw) // t + 1)
    value, index = np.full((b, *out, c), -np.inf, np.float32), np.full((b, *out, c), -1)
    for i, j, u, v in np.ndindex(*out, kh, kw):
        r, k = i * s + u - p, j * t + v - q
        if 0 <= r < h and 0 <= k < w:
            better = (x[:, r, k] > value[:, i, j]) | (index[:, i, j] < 0)
            value[:, i, j] = np.where(better, x[:, r, k], value[:, i, j])
            index[:, i, j] = np.where(better, r * w + k, index[:, i, j])
    return value, index


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_indices_are_those_of_the_definition(rng, case):
    window, stride, padding = case

    @jax.jit
    def run(x):
        pooled, switches = ops.max_pool_with_switches(x, *case)
        index = ops.switches_to_flat_indices(switches, window, stride, SIZE, padding)
        return pooled, ops.max_pool(x, *case), switches, index

    ties = with_ties(rng)
    for x in (ties, np.full_like(ties, -np.inf)):
        value, index = naive_pool(x, *case)
        pooled, alone, switches, found = run(x)
        assert switches.dtype == jnp.uint8
        np.testing.assert_array_equal(pooled, value)
        np.testing.assert_array_equal(alone, value)
        np.testing.assert_array_equal(found, index)


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_gradients_and_indices_are_pytorchs(torch, to_torch, from_torch, rng, case):
    window, stride, padding = case
    x = with_ties(rng)
    tx = to_torch(x)
    y, indices = torch.nn.functional.max_pool2d(tx, window, stride, padding, return_indices=True)
    values = rng.normal(size=from_torch(y).shape).astype(np.float32)  # not the maxima: duplicates differ
    tv = to_torch(values)
    unpooled = torch.nn.functional.max_unpool2d(tv, indices, window, stride, padding, output_size=SIZE)
    g, more = (rng.normal(size=t.shape).astype(np.float32) for t in (y, unpooled))
    y.backward(torch.tensor(g))
    unpooled.backward(torch.tensor(more))

    @jax.jit
    def run(x, g, values, more):
        pools = [lambda x: ops.max_pool(x, *case), lambda x: ops.max_pool_with_switches(x, *case)[0]]
        pooled = [jax.vjp(f, x) for f in pools]
        switches = ops.max_pool_with_switches(x, *case)[1]
        mine, back = jax.vjp(lambda v: ops.max_unpool(v, switches, window, stride, SIZE, padding), values)
        flat = ops.switches_to_flat_indices(switches, window, stride, SIZE, padding)
        return [(y, vjp(g)[0]) for y, vjp in pooled], flat, mine, back(more)[0]

    pooled, flat, mine, dv = run(x, g.transpose(0, 2, 3, 1), values, more.transpose(0, 2, 3, 1))
    for got, dx in pooled:
        np.testing.assert_array_equal(got, from_torch(y))
        np.testing.assert_allclose(dx, from_torch(tx.grad), atol=1e-6)
    np.testing.assert_array_equal(flat, from_torch(indices))
    np.testing.assert_array_equal(mine, from_torch(unpooled))
    flat = np.asarray(flat)
    if all(len(np.unique(flat[b, ..., c])) == flat[b, ..., c].size for b in range(2) for c in range(3)):  # chosen once
        np.testing.assert_allclose(dv, from_torch(tv.grad), atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_is_pytorchs(torch, to_torch, from_torch, rng, case):
    x = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    tx = to_torch(x)
    y = torch.nn.functional.avg_pool2d(tx, *case)
    g = rng.normal(size=y.shape).astype(np.float32)
    y.backward(torch.tensor(g))
    got, (dx,) = value_and_gradients(lambda x: ops.avg_pool(x, *case), (x,), g.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got, from_torch(y), atol=1e-6)
    np.testing.assert_allclose(dx, from_torch(tx.grad), atol=1e-6)


@pytest.mark.parametrize("case", [(2, 2, 0), (3, 3, 1), (2, 3, 0), ((3, 2), (3, 2), (1, 1))], ids=str)
def test_pooling_undoes_unpooling_of_what_is_not_negative(rng, case):
    window, stride, padding = case

    @jax.jit
    def there_and_back(x):
        pooled, switches = ops.max_pool_with_switches(x, *case)
        y = jnp.abs(pooled)
        return y, ops.max_pool(ops.max_unpool(y, switches, window, stride, SIZE, padding), *case)

    y, again = there_and_back(rng.normal(size=(*SIZE, 3)).astype(np.float32))
    np.testing.assert_array_equal(again, y)


def test_overlapping_windows_write_their_common_maximum_once():
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1, 0] = 5
    pooled, switches = jax.jit(lambda x: ops.max_pool_with_switches(x, 2, 1))(x)
    assert np.all(pooled == 5)
    unpool = lambda y: ops.max_unpool(y, switches, 2, 1, (3, 3))
    unpooled, (g,) = value_and_gradients(unpool, (pooled,), np.ones_like(x))
    np.testing.assert_array_equal(unpooled, x)  # 5, not 4 * 5
    np.testing.assert_array_equal(np.asarray(g)[0, ..., 0], [[0, 0], [0, 1]])  # the window that wrote


def test_nan_is_not_hidden():
    x = np.float32([[1, np.nan], [3, 2]])[None, :, :, None]
    assert np.isnan(ops.max_pool(x, 2)).all()


def test_integers_and_large_windows():
    x = np.arange(4 * 4, dtype=np.int32).reshape(4, 4, 1)
    pooled, switches = jax.jit(lambda x: ops.max_pool_with_switches(x, 4))(x)
    assert (pooled.item(), switches.item()) == (15, 15)
    assert jax.eval_shape(lambda *a: ops.max_unpool(*a, 4, None, (4, 4)), pooled, switches).dtype == jnp.int32
    large = jax.ShapeDtypeStruct((17, 17, 1), jnp.float32)  # 289 positions do not fit into a byte
    assert jax.eval_shape(lambda x: ops.max_pool_with_switches(x, 17), large)[1].dtype == jnp.int32


def primitives(f, *args):
    found = set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            found.add(equation.primitive.name)
            for value in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    walk(inner)

    walk(jax.make_jaxpr(f)(*args).jaxpr)
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_scatters_or_gathers(rng, case):
    """Scatter adds in no fixed order on a GPU, and is slow on a TPU."""
    window, stride, padding = case
    x = with_ties(rng)

    def through(x):
        y, switches = ops.max_pool_with_switches(x, *case)
        unpooled = ops.max_unpool(y, switches, window, stride, SIZE, padding)
        return unpooled.sum() + ops.max_pool(x, *case).sum() + ops.avg_pool(x, *case).sum()

    names = primitives(jax.grad(through), x)
    assert "select_n" in names
    assert not {n for n in names if "scatter" in n or "gather" in n}


def test_gradient_keeps_a_byte_an_output_not_the_image():
    x = np.zeros((8, 8, 4), np.float32)
    kept = jax.vjp(lambda x: ops.max_pool(x, 2), x)[1]
    assert sum(a.nbytes for a in jax.tree.leaves(kept)) == 4 * 4 * 4


def test_bed_of_nails_and_nearest_by_hand():
    x = jnp.asarray([[1.0, 2.0]])[..., None]
    np.testing.assert_array_equal(ops.bed_of_nails(x, 2)[..., 0], [[1, 0, 2, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(ops.unpool_nearest(x, 2)[..., 0], [[1, 1, 2, 2], [1, 1, 2, 2]])
    assert ops.bed_of_nails(x.astype(jnp.uint8), (3, 1)).shape == (3, 2, 1)


@pytest.mark.parametrize("factor", [1, 2, (3, 2)])
def test_average_pooling_undoes_nearest(rng, factor):
    x = rng.normal(size=(5, 3, 2)).astype(np.float32)
    larger = jax.jit(lambda x: ops.unpool_nearest(x, factor))(x)
    np.testing.assert_allclose(jax.jit(lambda y: ops.avg_pool(y, factor))(larger), x, atol=1e-6)
    rows, columns = (factor, factor) if isinstance(factor, int) else factor
    resize = jax.jit(lambda x: ops.resize_nearest(x, (5 * rows, 3 * columns)))
    np.testing.assert_array_equal(larger, resize(x))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6), (7, 9)])
def test_adaptive_pooling_is_pytorchs(torch, to_torch, from_torch, rng, size):
    x = rng.normal(size=(2, 7, 5, 3)).astype(np.float32)
    tx = to_torch(x)
    y = torch.nn.functional.adaptive_avg_pool2d(tx, size)
    g = rng.normal(size=(2, *size, 3)).astype(np.float32)
    y.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    ours, (dx,) = value_and_gradients(lambda x: ops.adaptive_avg_pool(x, size), (x,), g)
    np.testing.assert_allclose(ours, from_torch(y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, from_torch(tx.grad), rtol=1e-5, atol=1e-6)


def test_messages():
    x = np.ones((4, 4, 1), np.float32)
    y, switches = x[:2, :2], np.zeros((2, 2, 1), np.uint8)
    for f, word in [
        (lambda: ops.max_pool(x[0], 2), "leading axes"),
        (lambda: ops.max_pool(x, 5), "larger than the image"),
        (lambda: ops.max_pool(x, 2, padding=2), "half the window"),
        (lambda: ops.max_pool(x, 0), "window"),
        (lambda: ops.avg_pool(x.astype(np.int32), 2), "floating point"),
        (lambda: ops.max_unpool(y, switches, 2, 2, (8, 8)), "size before pooling"),
        (lambda: ops.max_unpool(y, switches.astype(np.float32), 2, 2, (4, 4)), "whole numbers"),
        (lambda: ops.unpool_nearest(x, 0), "factor"),
    ]:
        with pytest.raises(JaxsegError, match=word):
            f()
