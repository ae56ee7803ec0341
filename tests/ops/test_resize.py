"""Resizing: stored PyTorch values by hand, PyTorch itself up, down and sideways, its gradients, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError

SIZES = [((7, 5), (14, 10)), ((7, 5), (3, 9)), ((8, 6), (5, 13)), ((1, 1), (3, 2)), ((6, 3), (1, 2)), ((4, 4), (4, 4))]
METHODS = [("nearest", None)] + [
    (m, {"align_corners": c, "antialias": a})
    for m in ("bilinear", "bicubic")
    for c in (False, True)
    for a in (False, True)
]


def line(values, n, f, **how):
    x = jnp.asarray(values, jnp.float32)[:, None, None]
    return np.asarray(f(x, (n, 1), **how))[:, 0, 0]


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
    got, vjp = jax.vjp(lambda x: getattr(ops, f"resize_{method}")(x, new, **(how or {})), x[0])
    np.testing.assert_allclose(got, from_torch(y)[0], atol=2e-5)
    np.testing.assert_allclose(vjp(g[0])[0], from_torch(tx.grad)[0], atol=2e-5)


@pytest.mark.parametrize(("method", "how"), METHODS)
def test_same_size_is_the_identity_and_a_constant_stays(rng, method, how):
    resize = getattr(ops, f"resize_{method}")
    x = rng.normal(size=(5, 4, 2)).astype(np.float32)
    if not (how and how["antialias"] and how["align_corners"]):  # whose centres lie elsewhere, as in PyTorch
        np.testing.assert_allclose(resize(x, (5, 4), **(how or {})), x, atol=1e-6)
    for size in ((9, 3), (1, 1), (2, 11)):
        np.testing.assert_allclose(resize(jnp.ones((5, 4, 2)), size, **(how or {})), np.ones((*size, 2)), atol=1e-6)


def test_dense_form_equals_the_sparse_one(rng):
    x = rng.normal(size=(6, 7, 2)).astype(np.float32)
    f = jax.jit(lambda x: ops.resize_bicubic(x, (9, 4)))
    assert "gather" not in f.trace(x).lower(lowering_platforms=("tpu",)).as_text()
    from jaxseg.ops import resize

    rows, columns = (resize.Axis("bicubic", n, m) for n, m in ((6, 9), (7, 4)))
    dense = resize._apply_dense(resize._matrix(columns), 1, resize._apply_dense(resize._matrix(rows), 0, x))
    np.testing.assert_allclose(f(x), dense, atol=1e-5)


def test_gradient_does_not_scatter():
    for f in (ops.resize_nearest, ops.resize_bilinear):
        text = str(jax.make_jaxpr(jax.grad(lambda x, f=f: f(x, (64, 64)).sum()))(jnp.ones((8, 8, 21))))
        assert "scatter" not in text


def test_labels_stay_integers():
    x = jnp.asarray([[0, 255], [7, 3]], jnp.uint8)[..., None]
    y = ops.resize_nearest(x, (3, 4))
    assert y.dtype == jnp.uint8
    assert set(np.unique(y)) == {0, 3, 7, 255}


def test_bfloat16_is_computed_in_float32(rng):
    x = jnp.asarray(rng.normal(size=(4, 4, 2)), jnp.bfloat16)
    y = ops.resize_bilinear(x, (9, 9))
    assert y.dtype == jnp.bfloat16
    want = ops.resize_bilinear(x.astype(jnp.float32), (9, 9)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(y.astype(jnp.float32), want.astype(jnp.float32))


def test_messages():
    for f, word in [
        (lambda: ops.resize_bilinear(jnp.ones((1, 4, 4, 3)), (2, 2)), "vmap"),
        (lambda: ops.resize_bilinear(jnp.ones((4, 4, 3), jnp.uint8), (2, 2)), "astype"),
        (lambda: ops.resize_nearest(jnp.ones((4, 4, 3)), (0, 2)), "size"),
        (lambda: ops.resize_nearest(jnp.ones((4, 4, 3)), (2.0, 2)), "size"),
    ]:
        with pytest.raises(JaxsegError, match=word):
            f()
