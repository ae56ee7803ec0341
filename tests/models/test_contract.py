"""What holds for every semantic model: sizes, gradients, jit, bfloat16, batch mates, save and restore."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import FCN8s, FCN16s, FCN32s, FullResolution, UNet
from jaxseg.models.deconvnet import DeconvNet
from jaxseg.models.sliding_window import SlidingWindow

K = 5
MODELS = {
    "full_resolution": partial(FullResolution, K, features=4, depth=3, norm="batch"),
    "unet": partial(UNet, K, base=4, depth=3, dropout=0.0),
    "unet_batch": partial(UNet, K, base=4, depth=2, norm="batch", dropout=0.0),
    "unet_group": partial(UNet, K, base=4, depth=2, norm="group", dropout=0.0),
    "unet_mirror": partial(UNet, K, base=4, depth=2, padding="mirror", dropout=0.0),
    "unet_remat": partial(UNet, K, base=4, depth=2, remat=True, dropout=0.0),
    "fcn32s": partial(FCN32s, K, fc_features=8, dropout=0.0, paper_padding=False),
    "fcn16s": partial(FCN16s, K, fc_features=8, dropout=0.0, paper_padding=False),
    "fcn8s": partial(FCN8s, K, fc_features=8, dropout=0.0, paper_padding=False),
    "deconvnet": partial(DeconvNet, K, fc_features=8, crop=32),
    "sliding_window": partial(SlidingWindow, K, kernels=(4, 4), top=1, features=4, fc_features=5),
}
SMALL = [name for name in MODELS if not name.startswith(("fcn", "deconvnet"))] + ["fcn8s"]


def images(h, w, batch=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((batch, h, w, 3)), jnp.float32)


def variables_of(model, x):
    """Variables drawn by numpy: no layer is zero, and nothing has to be compiled for them."""
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x)
    rng = np.random.default_rng(0)

    def draw(path, s):
        if path[-1].key in ("var", "scale"):
            return jnp.asarray(rng.uniform(0.5, 1.5, s.shape), s.dtype)
        fan_in = np.prod(s.shape[:-1]) if len(s.shape) > 1 else 100
        return jnp.asarray(rng.normal(0, (2 / fan_in) ** 0.5, s.shape), s.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def apply(model, variables, x):
    return jax.jit(partial(model.apply, train=False))(variables, x)["logits"]


@pytest.mark.parametrize("size", [(64, 64), (65, 33), (97, 130), (1, 1), (20, 126)])
@pytest.mark.parametrize("name", SMALL)
def test_logits_have_the_images_size(name, size):
    model = MODELS[name]()
    x = images(*size)
    logits = apply(model, variables_of(model, x), x)
    assert logits.shape == (2, *size, K)
    assert logits.dtype == jnp.float32
    assert np.isfinite(np.asarray(logits)).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    model = MODELS[name]()
    x = images(64, 64)
    variables = variables_of(model, x)
    target = jnp.asarray(np.random.default_rng(2).random((2, 64, 64, K)), jnp.float32)

    def loss(params):
        outputs, _ = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        h, w = outputs["logits"].shape[1:3]  # fewer than the image has where only whole windows count
        return jnp.mean((outputs["logits"] - target[:, :h, :w]) ** 2)

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    dead = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.any(g)]
    assert dead == []


@pytest.mark.parametrize("name", SMALL)
def test_jit_equals_eager_and_mates_do_not_matter(name):
    model = MODELS[name]()
    x = images(40, 48)
    variables = variables_of(model, x)
    jitted = apply(model, variables, x)
    np.testing.assert_allclose(jitted, model.apply(variables, x, train=False)["logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jitted[:1], apply(model, variables, x[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_inside_float32_outside(name):
    x = images(32, 32)
    exact = MODELS[name]()
    variables = variables_of(exact, x)
    logits = apply(MODELS[name](dtype=jnp.bfloat16), variables, x)
    reference = apply(exact, variables, x)
    assert logits.dtype == jnp.float32
    error = np.abs(np.asarray(logits - reference)).mean() / np.abs(np.asarray(reference)).mean()
    assert 0 < error < 0.1


def test_unet_padding_changes_nothing_where_none_is_needed():
    model = MODELS["unet"]()
    x = images(64, 64)
    variables = variables_of(model, x)
    wide = jnp.pad(images(60, 57), ((0, 0), (0, 4), (0, 7), (0, 0)), constant_values=0.5)  # 0.5 is the model's zero
    np.testing.assert_array_equal(
        apply(model, variables, wide)[:, :60, :57], apply(model, variables, wide[:, :60, :57])
    )
    assert apply(model, variables, x).shape == (2, 64, 64, K)


def test_remat_keeps_less_and_changes_no_gradient():
    """What is kept from the forward pass for the backward one, as jax accounts for it.

    (XLA on a CPU merges the recomputation with the original again, so the compiled program's memory shows nothing.)
    """
    x = images(32, 32)
    plain, remat = (UNet(K, base=8, depth=2, dropout=0.0, remat=r) for r in (False, True))
    variables = variables_of(plain, x)

    def loss(model, v):
        return jnp.sum(model.apply(v, x, train=True)["logits"] ** 2)

    def kept(model):
        residuals = jax.eval_shape(lambda v: jax.vjp(partial(loss, model), v)[1], variables)
        return sum(np.prod(r.shape) * r.dtype.itemsize for r in jax.tree.leaves(residuals))

    assert kept(remat) < 0.6 * kept(plain)
    a, b = (jax.jit(jax.grad(partial(loss, m)))(variables) for m in (plain, remat))
    for p, r in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        np.testing.assert_allclose(p, r, rtol=1e-4, atol=1e-3)


def test_wrong_input_is_refused():
    model = MODELS["unet"]()
    with pytest.raises(AssertionError, match="shape"):
        jax.eval_shape(partial(model.init, train=False), jax.random.key(0), jnp.zeros((2, 64, 64, 1)))
