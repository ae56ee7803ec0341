"""What the localizer's heads read, and that every part of it learns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import ops
from jaxseg.models.localizer import Localizer
from jaxseg.nn.resnet import ResNet
from tests.models.test_contract import images, variables_of

K, P = 5, 3
BACKBONE = ResNet((1, 1, 1, 1), bottleneck=False, base=4, output_stride=8)


def build(**settings):
    return Localizer(K, BACKBONE, grid=3, hidden=(16, 12), dropout=0.0, **settings)


def test_the_heads_are_the_layers_they_claim():
    model = build(per_class=True, joints=P)
    x = images(40, 56)
    variables = variables_of(model, x)
    params = variables["params"]
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    backbone = {
        name: {k: v for k, v in tree.items() if k.startswith(("conv1", "bn1", "layer"))}
        for name, tree in variables.items()
    }
    apply = jax.jit(lambda variables, x: BACKBONE.apply(variables, model.normalization(x), train=False)["layer4"])
    features = np.asarray(apply(backbone, x))

    def dense(name, x):
        return x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])[None]

    np.testing.assert_allclose(outputs["logits"], dense("fc", np.mean(features, (1, 2))), rtol=1e-3, atol=1e-4)
    h = np.asarray(jax.jit(partial(ops.adaptive_avg_pool, size=3))(features)).reshape(2, -1)
    for name in ("regress1", "regress2"):
        h = np.maximum(dense(name, h), 0)
    np.testing.assert_allclose(outputs["boxes"], dense("box", h).reshape(2, K, 4), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(outputs["joints"], dense("joint", h).reshape(2, P, 2), rtol=1e-3, atol=1e-4)
    plain = jax.eval_shape(lambda x: build().init_with_output(jax.random.key(0), x, train=False)[0], x)
    assert {name: v.shape for name, v in plain.items()} == {"logits": (2, K), "boxes": (2, 4)}


def test_one_set_of_variables_serves_every_size():
    model = build(joints=P)
    variables = variables_of(model, images(64, 64))
    for size in ((33, 70), (1, 1)):
        outputs = jax.jit(partial(model.apply, train=False))(variables, images(*size))
        assert outputs["boxes"].shape == (2, 4)
        assert all(np.isfinite(outputs[name]).all() for name in ("logits", "boxes", "joints"))


def test_every_parameter_learns_and_bfloat16_gives_float32():
    model = build(per_class=True, joints=P)
    x = images(64, 64)
    variables = variables_of(model, x)

    def loss(params, model):
        outputs, _ = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return sum(jnp.mean((outputs[name] - 1) ** 2) for name in ("logits", "boxes", "joints"))

    gradients = jax.jit(jax.grad(partial(loss, model=model)))(variables["params"])
    dead = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.any(g)]
    assert dead == []
    half = build(per_class=True, joints=P, dtype=jnp.bfloat16)
    outputs, exact = (jax.jit(partial(m.apply, train=False))(variables, x) for m in (half, model))
    for name in ("logits", "boxes", "joints"):
        assert outputs[name].dtype == jnp.float32
        np.testing.assert_allclose(outputs[name], exact[name], atol=0.1 * float(np.abs(exact[name]).max()))
