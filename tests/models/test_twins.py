"""The systems beside the same networks written in plain PyTorch, on the same weights."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import models, nn
from tests.helpers import variables_of

torch = pytest.importorskip("torch")
from tests.models import torch_twins  # noqa: E402

K = 3
DOWN, UP = ((2, 2), (1, 4)), ((1, 2),)


def outputs_and_twin(model, h, w):
    x = np.random.default_rng(0).random((2, h, w, 3)).astype(np.float32)
    variables = variables_of(model, x)
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    return outputs, torch_twins.Twin(variables), torch.tensor(np.asarray(model.normalization(x)).transpose(0, 3, 1, 2))


def assert_equal(logits, theirs):
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    assert np.abs(logits - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_pspnet():
    model = models.PSPNet(K, nn.ResNet18(base=4, output_stride=8), features=8)
    outputs, net, _ = outputs_and_twin(model, 65, 51)
    features = torch.tensor(np.asarray(outputs["features"]["layer4"]).transpose(0, 3, 1, 2))
    logits = torch_twins.pspnet_head(net, features)
    theirs = torch.nn.functional.interpolate(logits, (65, 51), mode="bilinear", align_corners=False)
    assert_equal(outputs["logits"], theirs)


def test_frrn():
    model = models.FRRN(K, down=DOWN, up=UP, base=4, residual_features=6)
    outputs, net, x = outputs_and_twin(model, 32, 24)
    assert_equal(outputs["logits"], torch_twins.frrn(net, x, DOWN, UP))


def test_fusionnet():
    outputs, net, x = outputs_and_twin(models.FusionNet(K, base=4, depth=2), 32, 24)
    assert_equal(outputs["logits"], torch_twins.fusionnet(net, x, depth=2))


def test_deeplab_large_fov():
    outputs, net, x = outputs_and_twin(models.DeepLabV1(K, fc_features=8), 65, 49)
    assert_equal(outputs["logits"], torch_twins.deeplab_large_fov(net, x, rate=12))


def test_contextual():
    outputs, net, x = outputs_and_twin(models.ContextualNet(K, branch_features=4), 40, 32)
    assert_equal(outputs["logits"], torch_twins.contextual(net, x))
