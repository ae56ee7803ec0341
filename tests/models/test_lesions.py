"""A block that is taken out is exactly its shortcut; exchanged blocks are exactly each other."""

import functools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import lesions
from jaxseg.models.resnet import ResNetClassifier
from jaxseg.nn.resnet import ResNet
from jaxseg.types import JaxsegError
from tests.models.test_contract import images, variables_of

KINDS = {
    "basic": ResNet((1, 3, 1, 1), bottleneck=False, base=4),
    "bottleneck": ResNet((1, 3, 1, 1), base=4),
    "basic, none": ResNet((1, 3, 1, 1), bottleneck=False, base=4, norm="none"),
}


def build(kind):
    model = ResNetClassifier(5, KINDS[kind])
    x = images(64, 64)
    return model, variables_of(model, x), x


@functools.cache
def compiled(model):
    return jax.jit(partial(model.apply, train=False))


def layer(model, variables, x, name="layer2"):
    return compiled(model)(variables, x)["features"][name]


def shallower(variables, block):
    """The variables of the network built without ``block``: those after it move up by one."""
    stage, index = map(int, re.fullmatch(r"layer(\d)_(\d)", block).groups())

    def renamed(name):
        match = re.fullmatch(rf"layer{stage}_(\d)", name)
        return f"layer{stage}_{int(match[1]) - 1}" if match and int(match[1]) > index else name

    return {c: {renamed(n): v for n, v in tree.items() if n != block} for c, tree in variables.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_dropping_a_block_is_the_network_without_it(kind):
    model, variables, x = build(kind)
    depths = (1, 2, 1, 1)
    without = model.clone(backbone=model.backbone.clone(depths=depths))
    for block in ("layer2_1", "layer2_2"):  # one program each serves both
        dropped = layer(model, lesions.drop_blocks(variables, [block]), x)
        expected = layer(without, shallower(variables, block), x)
        np.testing.assert_allclose(dropped, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
        assert np.abs(dropped - layer(model, variables, x)).max() > 0.01


def test_dropping_several():
    model, variables, x = build("basic")
    without = model.clone(backbone=model.backbone.clone(depths=(1, 1, 1, 1)))
    both = lesions.drop_blocks(variables, ["layer2_1", "layer2_2"])
    np.testing.assert_array_equal(
        layer(model, both, x), layer(without, shallower(shallower(variables, "layer2_2"), "layer2_1"), x)
    )


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_where_the_shape_changes_the_projection_stays(kind):
    model, variables, x = build(kind)
    dropped = lesions.drop_blocks(variables, ["layer2_0"])
    only_first = model.clone(backbone=model.backbone.clone(depths=(1, 1, 1, 1)))
    before, after = (layer(only_first, dropped, x, name) for name in ("layer1", "layer2"))
    p, s = (variables[c]["layer2_0"] for c in ("params", "batch_stats"))
    y = np.einsum("bhwc,co->bhwo", before[:, ::2, ::2], p["downsample_conv"]["kernel"][0, 0])
    bn, stats = p["downsample_bn"], s["downsample_bn"]
    mean, var, scale, bias = (np.asarray(v) for v in (stats["mean"], stats["var"], bn["scale"], bn["bias"]))
    y = (y - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(after, np.maximum(y, 0), rtol=1e-3, atol=1e-4)


def test_exchanged_blocks_are_each_other_and_twice_is_nothing():
    model, variables, x = build("basic")
    swap = {"layer2_1": "layer2_2", "layer2_2": "layer2_1"}
    once = lesions.exchange_blocks(variables, swap)
    for collection, tree in once.items():
        for name, block in tree.items():
            theirs = variables[collection][swap.get(name, name)]
            assert jax.tree.all(jax.tree.map(jnp.array_equal, block, theirs))
    assert np.abs(layer(model, once, x) - layer(model, variables, x)).max() > 0.01
    twice = lesions.exchange_blocks(once, swap)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, twice, dict(variables)))


def test_permutations_stay_within_shapes_and_tau_is_scipys():
    from scipy.stats import kendalltau

    _, variables, _ = build("basic")
    names = lesions.block_names(variables)
    assert names == ["layer1_0", "layer2_0", "layer2_1", "layer2_2", "layer3_0", "layer4_0"]
    alike = lesions.blocks_alike(variables)
    assert alike == [["layer1_0"], ["layer2_0"], ["layer2_1", "layer2_2"], ["layer3_0"], ["layer4_0"]]
    order, tau = lesions.shuffled(variables, 1, np.random.default_rng(0))
    assert order == {"layer2_1": "layer2_2", "layer2_2": "layer2_1"}
    moved = [names.index(order.get(n, n)) for n in names]
    assert tau == pytest.approx(kendalltau(range(6), moved).statistic)
    assert lesions.shuffled(variables, 0, np.random.default_rng(0)) == ({}, 1.0)


def test_one_compiled_program_serves_every_lesion():
    model, variables, x = build("basic")
    apply = jax.jit(partial(model.apply, train=False))
    for lesion in (variables, lesions.drop_blocks(variables, ["layer2_1"])):
        apply(lesion, x)
    assert apply._cache_size() == 1


def test_a_block_inside_another_model_is_found():
    _, variables, _ = build("basic")
    nested = {c: {"backbone": tree} for c, tree in variables.items()}
    dropped = lesions.drop_blocks(nested, ["layer2_1"])
    assert not np.any(dropped["params"]["backbone"]["layer2_1"]["bn2"]["scale"])
    assert np.any(dropped["params"]["backbone"]["layer2_1"]["bn1"]["scale"])


def test_what_cannot_be_done_is_refused():
    _, variables, _ = build("basic")
    with pytest.raises(JaxsegError, match="no residual block layer9_0; there are layer1_0"):
        lesions.drop_blocks(variables, ["layer9_0"])
    with pytest.raises(JaxsegError, match="differ in shape: layer2_0 and layer2_1; exchange blocks within a stage"):
        lesions.exchange_blocks(variables, {"layer2_0": "layer2_1"})
