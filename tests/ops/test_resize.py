"""Resizing: stored PyTorch values by hand, PyTorch itself up, down and sideways, its gradients, invariances."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.ops.jitted import value_and_gradients

SIZES = [((7, 5), (14, 10)), ((7, 5), (3, 9)), ((6, 3), (1, 2))]
SIZES += slowly(((8, 6), (5, 13)), ((1, 1), (3, 2)), ((4, 4), (4, 4)))
METHODS = [("nearest", None)] + [
    (m, {"align_corners": c, "antialias": a})
    for m in ("bilinear", "bicubic")
    for c in (False, True)
    for a in (False, True)
]


def line(values, n, f, **how):
    x = np.float32(values)[:, None, None]
    return np.asarray(jax.jit(lambda x: f(x, (n, 1), **how))(x))[:, 0, 0]


def test_tables():
    up = [0, 0.25, 0.75, 1.25, 1.75, 2]
    np.testing.assert_allclose(line([0, 1, 2], 6, ops.resize_bilinear), up, atol=1e-6)
    np.testing.assert_allclose(line(range(8), 4, ops.resize_bilinear), [0.5, 2.5, 4.5, 6.5], atol=1e-6)
    smooth = line(range(8), 4, ops.resize_bilinear, antialias=True)
    np.testing.assert_allclose(smooth, [5 / 7, 2.5, 4.5, 6 + 2 / 7], atol=1e-6)
    corners = line([0, 1, 2], 5, ops.resize_bilinear, align_corners=True)
    np.testing.assert_allclose(corners, [0, 0.5, 1, 1.5, 2], atol=1e-6)
    np.testing.assert_array_equal(line([5, 6, 7], 5, ops.resize_nearest), [5, 5, 6, 6, 7])
    step = line([0, 0, 0, 1, 1, 1], 12, ops.resize_bicubic)
    assert step.min() < 0 < 1 < step.max()  # cubic overshoots an edge


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize(("method", "how"), METHODS)
def test_values_and_gradients_are_pytorchs(torch, to_torch, from_torch, rng, method, how, old, new):
    x, g = (rng.normal(size=(1, *s, 3)).astype(np.float32) for s in (old, new))
    tx = to_torch(x)
    y = tx
    # One axis after the other: in one go PyTorch 2.13 goes wrong where the antialiased result is 1 wide.
    for size in ((old[0], new[1]), new):
        y = torch.nn.functional.interpolate(y, size, mode=method, **(how or {}))
    y.backward(torch.tensor(g.transpose(0, 3, 1, 2).copy()))
    resize = partial(getattr(ops, f"resize_{method}"), size=new, **(how or {}))
    got, (dx,) = value_and_gradients(resize, (x[0],), g[0])
    np.testing.assert_allclose(got, from_torch(y)[0], atol=2e-5)
    np.testing.assert_allclose(dx, from_torch(tx.grad)[0], atol=2e-5)


@pytest.mark.parametrize(("method", "how"), METHODS)
def test_same_size_is_the_identity_and_a_constant_stays(rng, method, how):
    resize = lambda x, size: jax.jit(partial(getattr(ops, f"resize_{method}"), size=size, **(how or {})))(x)
    x = rng.normal(size=(5, 4, 2)).astype(np.float32)
    if not (how and how["antialias"] and how["align_corners"]):  # whose centres lie elsewhere, as in PyTorch
        np.testing.assert_allclose(resize(x, (5, 4)), x, atol=1e-6)
    for size in ((9, 3), (1, 1), (2, 11)):
        np.testing.assert_allclose(resize(np.ones_like(x), size), np.ones((*size, 2)), atol=1e-6)


def test_dense_form_equals_the_sparse_one(rng):
    x = rng.normal(size=(6, 7, 2)).astype(np.float32)
    f = jax.jit(lambda x: ops.resize_bicubic(x, (9, 4)))
    assert "gather" not in f.trace(x).lower(lowering_platforms=("tpu",)).as_text()
    from jaxseg.ops import resize

    rows, columns = (resize.Axis("bicubic", n, m) for n, m in ((6, 9), (7, 4)))
    by_rows = partial(resize._apply_dense, resize._matrix(rows), 0)
    dense = jax.jit(lambda x: resize._apply_dense(resize._matrix(columns), 1, by_rows(x)))
    np.testing.assert_allclose(f(x), dense(x), atol=1e-5)


def test_gradient_does_not_scatter():
    for f in (ops.resize_nearest, ops.resize_bilinear):
        text = str(jax.make_jaxpr(jax.grad(lambda x, f=f: f(x, (64, 64)).sum()))(np.ones((8, 8, 21), np.float32)))
        assert "scatter" not in text


def test_labels_stay_integers():
    x = np.uint8([[0, 255], [7, 3]])[..., None]
    y = jax.jit(partial(ops.resize_nearest, size=(3, 4)))(x)
    assert y.dtype == jnp.uint8
    assert set(np.unique(y)) == {0, 3, 7, 255}


def test_bfloat16_is_computed_in_float32(rng):
    x = rng.normal(size=(4, 4, 2)).astype(jnp.bfloat16)
    resize = jax.jit(partial(ops.resize_bilinear, size=(9, 9)))
    y = resize(x)
    assert y.dtype == jnp.bfloat16
    want = np.asarray(resize(x.astype(np.float32))).astype(jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(y).astype(np.float32), want.astype(np.float32))


def test_messages():
    for f, word in [
        (lambda: ops.resize_bilinear(np.ones((1, 4, 4, 3), np.float32), (2, 2)), "vmap"),
        (lambda: ops.resize_bilinear(np.ones((4, 4, 3), np.uint8), (2, 2)), "astype"),
        (lambda: ops.resize_nearest(np.ones((4, 4, 3), np.float32), (0, 2)), "size"),
        (lambda: ops.resize_nearest(np.ones((4, 4, 3), np.float32), (2.0, 2)), "size"),
    ]:
        with pytest.raises(JaxsegError, match=word):
            f()
