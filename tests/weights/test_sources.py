"""timm's, Hugging Face's and segmentation_models.pytorch's weights: their names, and their networks' numbers."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import weights
from jaxseg.models import resnet
from jaxseg.models.unet_resnet import unet_resnet
from jaxseg.nn import resnet as backbones

torch = pytest.importorskip("torch")
from tests.helpers import but_slowly  # noqa: E402
from tests.torchvision_models import nchw, nhwc  # noqa: E402
from tests.weights import twins  # noqa: E402
from tests.weights.recorded import RECORDED, v3_plus  # noqa: E402

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
BOTTLENECKS = backbones.ResNet((2, 2, 2, 2))
BASIC = partial(backbones.ResNet, (1, 1, 1, 1), bottleneck=False)
dilated_d = partial(backbones.ResNet, (2, 2, 2, 2), stem="3x3 half", pooled_shortcut=True)
# the names, the blocks of each stage, ours with so many, the twin, the size (smp's v3+ takes only multiples of 16)
NETWORKS = {
    "d": ("timm_resnet50d", 2, resnet.classifier(7, dilated_d), twins.timm_resnet_d, (65, 51)),
    "d at 8": (
        "timm_resnet50d",
        2,
        resnet.classifier(7, partial(dilated_d, output_stride=8)),
        partial(twins.timm_resnet_d, output_stride=8),
        (64, 40),
    ),
    "bottlenecks": (
        "huggingface_resnet50",
        2,
        resnet.ResNetClassifier(7, BOTTLENECKS),
        twins.huggingface_resnet,
        (65, 51),
    ),
    "basic": ("huggingface_resnet18", 1, resnet.classifier(7, BASIC), twins.huggingface_resnet, (64, 40)),
    "unet": ("smp_unet_resnet18", 1, unet_resnet(6, BASIC), twins.smp_unet, (65, 51)),
    "unet even": ("smp_unet_resnet18", 1, unet_resnet(6, BASIC), twins.smp_unet, (64, 32)),
    "v3+": ("smp_deeplabv3plus_resnet18", 1, v3_plus(BASIC), twins.smp_deeplab_v3_plus, (80, 48)),
    "v3+ at 8": (
        "smp_deeplabv3plus_resnet18",
        1,
        v3_plus(BASIC, output_stride=8),
        partial(twins.smp_deeplab_v3_plus, output_stride=8),
        (48, 64),
    ),
}


def shapes_of(model):
    return jax.eval_shape(partial(model.init, train=False), jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))


def images(h, w):
    return np.random.default_rng(h).uniform(size=(1, h, w, 3)).astype(np.float32)


def assert_close(ours, reference, name):
    error = np.abs(np.asarray(ours) - reference).max() / np.abs(reference).max()
    assert error < 1e-4, f"{name}: {error}"


KIN = ("d at 8", "v3+ at 8", "unet even")  # others at another size


@pytest.mark.parametrize("case", but_slowly(NETWORKS, KIN))
def test_stages_and_logits(tmp_path, case):
    file, blocks, model, twin, size = NETWORKS[case]
    state = twins.random_state(file, blocks)
    np.savez(tmp_path / "weights.npz", **state)
    variables = weights.load(tmp_path / "weights.npz", shapes_of(model), patterns=RECORDED[file][1])
    x = images(*size)
    with torch.no_grad():
        stages, logits = twin(state, nchw(((x - MEAN) / STD).astype(np.float32)))
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    for i, stage in enumerate(stages, 1):
        assert_close(outputs["features"][f"layer{i}"], nhwc(stage), f"layer{i}")
    assert_close(outputs["logits"], nhwc(logits) if logits.ndim == 4 else logits.numpy(), "logits")


@pytest.mark.parametrize("file", RECORDED)
def test_names_and_arrays_survive_the_way_there_and_back(file):
    model, patterns = RECORDED[file]
    state = twins.random_state(file)
    back = weights.to_torch(weights.to_jaxseg(shapes_of(model), state, patterns), patterns)
    assert {*back} == {name for name in state if not name.endswith("num_batches_tracked")}
    for name, value in back.items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_timms_plain_resnets_have_torchvisions_names():
    assert weights.timm.RESNET is weights.torchvision.RESNET
