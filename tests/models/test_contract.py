"""What holds for every semantic model: sizes, gradients, jit, bfloat16, batch mates, save and restore."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg import config
from jaxseg.models import (
    FRRN,
    ContextualNet,
    CRFasRNN,
    DeepLabResNet,
    DeepLabV1,
    DeepLabV2,
    DeepLabV3,
    FCN8s,
    FCN16s,
    FCN32s,
    FCNResNet,
    FullResolution,
    FusionNet,
    MultiScale,
    PSPNet,
    UNet,
)
from jaxseg.models.deconvnet import DeconvNet
from jaxseg.models.deeplab_v3_plus import deeplab_v3_plus
from jaxseg.models.sliding_window import SlidingWindow
from jaxseg.models.unet_resnet import unet_resnet
from jaxseg.nn import ResNet
from tests.helpers import but_slowly, variables_of

K = 5  # classes, but for models of configs


TINY_RESNET = partial(ResNet, (1, 1, 1, 1), bottleneck=False, base=4)


def on_resnet(model, output_stride=8, dtype=jnp.float32, **settings):
    """``model`` on a narrow and shallow ResNet of ``output_stride``."""
    return model(K, TINY_RESNET(output_stride=output_stride, dtype=dtype), dtype=dtype, **settings)


def multi_scale(dtype=jnp.float32):
    return MultiScale(on_resnet(DeepLabResNet, dtype=dtype), scales=(1.0, 0.5))


def crf_as_rnn(dtype=jnp.float32):
    return CRFasRNN(UNet(K, base=4, depth=1, dropout=0.0, dtype=dtype), iterations=2, test_iterations=3)


MODELS = {
    "crf_as_rnn": crf_as_rnn,
    "full_resolution": partial(FullResolution, K, features=4, depth=3, norm="batch"),
    "unet": partial(UNet, K, base=4, depth=3, dropout=0.0),
    "unet_batch": partial(UNet, K, base=4, depth=2, norm="batch", dropout=0.0),
    "unet_group": partial(UNet, K, base=4, depth=2, norm="group", dropout=0.0),
    "unet_mirror": partial(UNet, K, base=4, depth=2, padding="mirror", dropout=0.0),
    "unet_remat": partial(UNet, K, base=4, depth=2, remat=True, dropout=0.0),
    "fcn32s": partial(FCN32s, K, base=4, fc_features=8, dropout=0.0, paper_padding=False),
    "fcn16s": partial(FCN16s, K, base=4, fc_features=8, dropout=0.0, paper_padding=False),
    "fcn8s": partial(FCN8s, K, base=4, fc_features=8, dropout=0.0, paper_padding=False),
    "fcn_resnet": partial(on_resnet, FCNResNet),
    "deeplab_v1": partial(DeepLabV1, K, base=4, fc_features=8, dropout=0.0),
    "deeplab_v2": partial(DeepLabV2, K, base=4, fc_features=8, dropout=0.0),
    "deeplab_v2_resnet": multi_scale,
    "deeplab_v3": partial(on_resnet, DeepLabV3, 16, features=8, dropout=0.0),
    "pspnet": partial(on_resnet, PSPNet, features=8, dropout=0.0),
    "frrn": partial(FRRN, K, down=((2, 2), (1, 4)), up=((1, 2),), base=4, residual_features=4),
    "fusionnet": partial(FusionNet, K, base=4, depth=2),
    "contextual": partial(ContextualNet, K, base=4, branch_features=4, dropout=0.0),
    "deeplab_v3_plus": partial(deeplab_v3_plus, K, TINY_RESNET, features=8, low_features=4, dropout=0.0),
    "unet_resnet": partial(unet_resnet, K, TINY_RESNET, features=(8, 8, 8, 4, 4)),
    "deconvnet": partial(DeconvNet, K, base=4, fc_features=8, crop=32),
    "sliding_window": partial(SlidingWindow, K, kernels=(4, 4), top=1, features=4, fc_features=5),
}
ELSEWHERE = {"ProposalWise"}  # trains on boxes of the picture: tests/models/test_deconvnet.py


def of_config(path, dtype=jnp.float32):
    """A config's tiny model, all of it of ``dtype``."""

    def typed(module):
        parts = {
            f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.name not in ("parent", "name")
        }
        changes = {name: typed(part) for name, part in parts.items() if isinstance(part, nn.Module)}
        return dataclasses.replace(module, **changes, **({"dtype": dtype} if "dtype" in parts else {}))

    return typed(config.load_config(path, tiny=True).model)


def new_systems():
    """Models that label pixels, of configs, of a kind that the table has not: a system is tested from its first day."""
    known = {type(make()).__name__ for make in MODELS.values()} | ELSEWHERE
    experiments = {path: config.load_config(path, tiny=True) for path in sorted(config.config_folder().glob("*.py"))}
    labels = {path: e for path, e in experiments.items() if e.task.about == "pixels"}
    return {path.stem: partial(of_config, path) for path, e in labels.items() if type(e.model).__name__ not in known}


MODELS |= new_systems()
LARGE = ("fcn32s", "fcn16s", "deeplab_v1", "contextual", "deconvnet", "crf_as_rnn")  # and like fcn8s, v2 or U-Net
SMALL = [name for name in MODELS if name not in LARGE]
KIN = ("unet_batch", "unet_group", "unet_mirror", "unet_remat", "fcn16s")  # another model but for one setting
ON_KNOWN_PARTS = ("fcn8s", "fcn_resnet", "deeplab_v2", "deeplab_v2_resnet", "pspnet", "fusionnet", "deeplab_v3_plus",
                  "unet_resnet")  # fmt: skip


def images(h, w, batch=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((batch, h, w, 3)), jnp.float32)


@cache
def made(name):
    """A model, its variables (of which no test needs others), and its logits as one compiled function of both."""
    model = MODELS[name]()
    return model, variables_of(model, images(64, 64)), jax.jit(partial(logits_of, model))


def logits_of(model, variables, x):
    return model.apply(variables, x, train=False)["logits"]


def check_size(name, size):
    _, variables, apply = made(name)
    logits = apply(variables, images(*size))
    assert logits.shape[:3] == (2, *size)
    assert logits.dtype == jnp.float32
    assert np.isfinite(np.asarray(logits)).all()


@pytest.mark.parametrize("name", but_slowly(SMALL, KIN))
def test_logits_have_the_images_size(name):
    check_size(name, (65, 33))


@pytest.mark.parametrize("name", but_slowly(SMALL, (*KIN, *ON_KNOWN_PARTS)))
def test_an_image_may_be_a_pixel(name):
    check_size(name, (1, 1))


# The CRF's own parameters learn in its file, and DeconvNet's gradient is PyTorch's.
@pytest.mark.parametrize("name", but_slowly(MODELS, (*KIN, *ON_KNOWN_PARTS, "crf_as_rnn", "deconvnet")))
def test_every_parameter_learns(name):
    model, variables, _ = made(name)

    def loss(params, x):
        settings = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}}
        outputs, _ = model.apply({**variables, "params": params}, x, **settings)
        _, h, w, classes = outputs["logits"].shape  # fewer than the image has where only whole windows count
        target = np.random.default_rng(2).random((2, 64, 64, classes), np.float32)[:, :h, :w]
        scores = [outputs["logits"], *(outputs[name] for name in outputs if name.startswith("aux_"))]
        return sum(jnp.mean((logits - target) ** 2) for logits in scores)

    gradients = jax.jit(jax.grad(loss))(variables["params"], images(64, 64))
    dead = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.any(g)]
    assert dead == []


@pytest.mark.parametrize("name", but_slowly(SMALL, KIN))
def test_mates_do_not_matter(name):
    _, variables, apply = made(name)
    x, others = (np.array(images(65, 33, seed=seed)) for seed in (0, 1))
    others[0] = x[0]
    logits, among_others = (np.asarray(apply(variables, batch)) for batch in (x, others))
    np.testing.assert_allclose(logits[0], among_others[0], rtol=1e-4, atol=1e-5 * np.abs(logits).max())
    assert np.any(logits[1] != among_others[1])


@pytest.mark.parametrize("name", but_slowly(SMALL, (*KIN, *ON_KNOWN_PARTS, "deeplab_v3")))
def test_jit_equals_eager_one_by_one(name):
    model, variables, apply = made(name)
    x = images(65, 33)
    jitted = np.asarray(apply(variables, x))
    eager = np.concatenate([logits_of(model, variables, one) for one in (x[:1], x[1:])])
    np.testing.assert_allclose(jitted, eager, rtol=1e-4, atol=1e-5 * np.abs(jitted).max())


@pytest.mark.parametrize("name", but_slowly(SMALL, (*KIN, *ON_KNOWN_PARTS)))
def test_bfloat16_inside_float32_outside(name):
    _, variables, apply = made(name)
    x = images(65, 33)
    logits = jax.jit(partial(logits_of, MODELS[name](dtype=jnp.bfloat16)))(variables, x)
    reference = np.asarray(apply(variables, x))
    assert logits.dtype == jnp.float32
    error = np.abs(np.asarray(logits) - reference).mean() / np.abs(reference).mean()
    assert 0 < error < 0.1


def test_unet_padding_changes_nothing_where_none_is_needed():
    _, variables, apply = made("unet")
    wide = np.pad(images(60, 57), ((0, 0), (0, 4), (0, 7), (0, 0)), constant_values=0.5)  # 0.5 is the model's zero
    wide, narrow = (np.asarray(apply(variables, x)) for x in (wide, wide[:, :60, :57]))
    np.testing.assert_array_equal(wide[:, :60, :57], narrow)
    assert wide.shape == (2, 64, 64, K)


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
