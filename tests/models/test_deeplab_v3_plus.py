"""DeepLab v3+ as the paper and its authors' code have it, in plain PyTorch (smp's form: test_sources.py)."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.models.deeplab_v3_plus import DeepLabV3PlusResNet50, deeplab_v3_plus
from jaxseg.nn.resnet import ResNet
from jaxseg.types import JaxsegError
from jaxseg.weights import to_torch
from tests.helpers import slowly, variables_of

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

from tests.torchvision_models import nchw, nhwc  # noqa: E402
from tests.weights.twins import Net  # noqa: E402

TINY = partial(ResNet, (1, 1, 1, 1), bottleneck=False, base=4)


def decoder(net, low, last, size, rates, separable):
    """Figure 2 of the paper, from the backbone's first and last stage to the logits."""

    def block(name, x, rate=1):
        if not separable:
            return net.conv_norm(f"{name}.conv", f"{name}.bn", x, dilation=rate)
        x = F.relu(net.norm(f"{name}.depthwise_bn", net.conv(f"{name}.depthwise", x, dilation=rate, depthwise=True)))
        return net.conv_norm(f"{name}.pointwise.conv", f"{name}.pointwise.bn", x)

    def one(name, x):
        return net.conv_norm(f"{name}.conv", f"{name}.bn", x)

    def enlarged(x, size):
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    branches = [one("aspp.conv0", last)]
    branches += [block(f"aspp.conv{i}", last, rate) for i, rate in enumerate(rates, 1)]
    branches += [one("aspp.pooling", last.mean((2, 3), keepdim=True)).expand(-1, -1, *last.shape[2:])]
    x = one("aspp.project", torch.cat(branches, 1))
    x = torch.cat([enlarged(x, low.shape[2:]), one("low_level", low)], 1)
    x = block("decoder_conv2", block("decoder_conv1", x))
    return enlarged(net.conv("score", x), size)


@pytest.mark.parametrize(
    ("size", "output_stride", "separable"),
    [((65, 97), 16, True), ((64, 64), 16, False), *slowly(((50, 64), 8, True))],
)
def test_the_papers_decoder(size, output_stride, separable):
    settings = {"features": 8, "low_features": 4, "separable": separable}
    model = deeplab_v3_plus(5, TINY, output_stride, **settings)
    images = np.random.default_rng(0).uniform(size=(1, *size, 3)).astype(np.float32)
    variables = variables_of(model, images)
    outputs = jax.jit(partial(model.apply, train=False))(variables, images)
    features = outputs["features"]
    assert features["layer4"].shape[1:3] == tuple(-(-side // output_stride) for side in size)
    rates = (6, 12, 18) if output_stride == 16 else (12, 24, 36)
    stages = nchw(features["layer1"]), nchw(features["layer4"])
    expected = nhwc(decoder(Net(to_torch(variables, ())), *stages, size, rates, separable))
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-4 * np.abs(expected).max())


def test_the_papers_sizes():
    """256 channels, 48 of low level, and ResNet-50's 4x from stage to stage (section 4.1)."""
    shapes = jax.eval_shape(DeepLabV3PlusResNet50(21).init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    kernel = {path: shapes["params"][path]["pointwise"]["conv"]["kernel"].shape for path in ("decoder_conv1",)}
    assert kernel == {"decoder_conv1": (1, 1, 256 + 48, 256)}
    assert shapes["params"]["low_level"]["conv"]["kernel"].shape == (1, 1, 256, 48)
    assert shapes["params"]["aspp"]["conv1"]["depthwise"]["kernel"].shape == (3, 3, 1, 2048)


def test_another_output_stride_is_refused():
    with pytest.raises(JaxsegError, match="output_stride is 4"):
        jax.eval_shape(deeplab_v3_plus(5, TINY, 4).init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
