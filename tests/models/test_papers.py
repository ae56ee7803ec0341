"""What the papers say of their networks in numbers: parameters, strides, and the identities they argue with."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models, nn, ops
from jaxseg.models import resnet
from jaxseg.types import JaxsegError
from tests.helpers import slowly, variables_of


def shapes_of(model, size=(64, 64), **inputs):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.eval_shape(partial(model.init, train=False, **inputs), jax.random.key(0), x)


def parameters(model):
    return sum(np.prod(s.shape) for s in jax.tree.leaves(shapes_of(model)["params"]))


@pytest.mark.parametrize(
    ("model", "published"),
    [
        (partial(models.FRRNA, 19), 17.7e6),  # table 1
        (partial(models.DeepLabV1, 21), 20.5e6),  # table 3 of v1, without the CRF
        (partial(resnet.ResNet18, 1000), 11_689_512),  # torchvision's documentation
        (partial(resnet.ResNet50, 1000), 25_557_032),
        (partial(resnet.WideResNet50, 1000), 68_883_240),
        (partial(models.FCNResNet50, 21), 35_322_218),
        (partial(models.DeepLabV3ResNet50, 21), 42_004_074),
        *slowly(
            (partial(models.FRRNB, 19), 24.8e6),
            (partial(resnet.ResNet34, 1000), 21_797_672),
            (partial(resnet.ResNet101, 1000), 44_549_160),
            (partial(resnet.ResNet152, 1000), 60_192_808),
            (partial(resnet.WideResNet101, 1000), 126_886_696),
            (partial(models.FCNResNet101, 21), 54_314_346),
            (partial(models.DeepLabV3ResNet101, 21), 60_996_202),
        ),
    ],
)
def test_published_numbers_of_parameters(model, published):
    assert parameters(model()) == pytest.approx(published, rel=5e-3 if published % 1e5 == 0 else 0)


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(64, 64), (65, 51)])
def test_output_stride(stride, size):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    features = jax.eval_shape(nn.ResNet18(output_stride=stride).init_with_output, jax.random.key(0), x)[0]
    reached = {
        name: min(2 ** (i + 1), stride) for i, name in enumerate(("stem", "layer1", "layer2", "layer3", "layer4"))
    }
    for name, s in reached.items():
        assert features[name].shape[1:3] == tuple(-(-side // s) for side in size), name


def test_a_convolution_with_holes_is_the_dense_one_between_the_samples():
    """DeepLab v1, section 3.1: the features of a network without the last subsampling, at all shifts of the sampling.

    A layer of stride 2 and then a 3x3 convolution see every second pixel; the same convolution with holes of rate 2 on
    the layer without its stride gives, at every second pixel, just that, and between them what shifted images would.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 24, 20, 3)).astype(np.float32)
    first, second = (jnp.asarray(rng.normal(size=(3, 3, c, 4)), jnp.float32) for c in (3, 4))
    dense = np.asarray(ops.conv(ops.conv(x, first, padding=1), second, padding=2, dilation=2))
    every_second = jax.jit(lambda x: ops.conv(ops.conv(x, first, stride=2, padding=1), second, padding=1))
    for top in (0, 1):
        for left in (0, 1):
            shifted = np.roll(x, (-top, -left), (1, 2))
            strided = np.asarray(every_second(shifted))
            inside = np.s_[:, 2:-2, 2:-2]  # away from the border, where the roll comes round
            np.testing.assert_allclose(dense[:, top::2, left::2][inside], strided[inside], rtol=1e-4, atol=1e-4)


def test_atrous_vgg_has_vggs_weights_and_stride_8():
    """The dilated net keeps stride 8 to the end, and VGG's weights fit it as they are."""
    x = jax.ShapeDtypeStruct((1, 65, 49, 3), jnp.float32)
    features = jax.eval_shape(nn.VGG16(dilated=True).init_with_output, jax.random.key(0), x)[0]
    assert features["pool5"].shape == (1, 9, 7, 512)
    dilated, plain = (shapes_of(model(5))["params"]["vgg"] for model in (models.DeepLabV1, models.FCN8s))
    assert jax.tree.map(jnp.shape, dilated) == jax.tree.map(jnp.shape, plain)


def test_multi_scale_is_the_maximum_over_scales():
    backbone = nn.ResNet18(base=4, output_stride=8, norm="frozen")
    network = models.DeepLabResNet(3, backbone)
    both = models.MultiScale(network, scales=(1.0, 0.5))
    x = jnp.asarray(np.random.default_rng(0).random((1, 32, 48, 3)), jnp.float32)
    variables = variables_of(both, x)
    inner = {name: tree["network"] for name, tree in variables.items()}

    @jax.jit
    def by_hand(x):
        small = jax.vmap(partial(ops.resize_bilinear, size=(16, 24)))(x)
        whole, half = (network.apply(inner, image, train=False)["logits"] for image in (x, small))
        return whole, jax.vmap(partial(ops.resize_bilinear, size=(32, 48)))(half)

    whole, enlarged = by_hand(x)
    outputs = jax.jit(partial(both.apply, train=True, mutable=["batch_stats"]))(variables, x)[0]
    np.testing.assert_allclose(outputs["logits"], np.maximum(whole, enlarged), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(outputs["aux_scale1"], enlarged, rtol=1e-4, atol=1e-3)


def test_multi_grid_dilates_the_last_stage_block_by_block():
    backbone = nn.ResNet50(output_stride=16, multi_grid=(1, 2, 4))
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    jaxpr = str(jax.make_jaxpr(partial(backbone.init, train=False))(jax.random.key(0), x))
    for dilation in (2, 4, 8):
        assert f"rhs_dilation=({dilation}, {dilation})" in jaxpr or f"dilation=({dilation}, {dilation})" in jaxpr
    with pytest.raises(JaxsegError, match="expected 3 factors"):
        shapes_of(resnet.ResNet50(5, multi_grid=(1, 2)))


def test_what_batch_normalisation_would_erase_is_refused():
    """DeepLab v3's image pooling, normalised over one image in training, would be its bias whatever the image."""
    model = models.DeepLabV3(3, nn.ResNet18(base=4, output_stride=16), features=4)
    variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), jnp.zeros((1, 32, 32, 3)))

    def train(model, variables, images):
        rngs = {"dropout": jax.random.key(0)}
        apply = partial(model.apply, train=True, mutable=["batch_stats"], rngs=rngs)
        return jax.eval_shape(apply, variables, images)

    with pytest.raises(JaxsegError, match="single value"):
        train(model, variables, jnp.zeros((1, 32, 32, 3)))
    train(model, variables, jnp.zeros((2, 32, 32, 3)))
    spared = model.clone(norm="group", backbone=nn.ResNet18(base=4, output_stride=16, norm="group"))
    train(spared, shapes_of(spared, (32, 32)), jnp.zeros((1, 32, 32, 3)))
