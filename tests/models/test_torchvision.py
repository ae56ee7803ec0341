"""Every stage's activations and the logits of torchvision's networks, from their own names and arrays."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import deeplab_v3, fcn, resnet
from jaxseg.weights import torchvision as names
from jaxseg.weights.match import to_jaxseg, to_torch

torch = pytest.importorskip("torch")
from tests.torchvision_models import arrays_of, import_torchvision, nchw, nhwc, randomized  # noqa: E402

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CLASSIFIERS = {
    "resnet18": resnet.ResNet18,
    "resnet34": resnet.ResNet34,
    "resnet50": resnet.ResNet50,
    "resnet101": resnet.ResNet101,
    "resnet152": resnet.ResNet152,
    "wide_resnet50_2": resnet.WideResNet50,
    "wide_resnet101_2": resnet.WideResNet101,
}
SEGMENTERS = {
    "fcn_resnet50": (fcn.FCNResNet50, names.FCN_RESNET),
    "fcn_resnet101": (fcn.FCNResNet101, names.FCN_RESNET),
    "deeplabv3_resnet50": (deeplab_v3.DeepLabV3ResNet50, names.DEEPLAB_V3),
    "deeplabv3_resnet101": (deeplab_v3.DeepLabV3ResNet101, names.DEEPLAB_V3),
}


def images(h, w, batch=1):
    return np.random.default_rng(h).uniform(size=(batch, h, w, 3)).astype(np.float32)


def theirs(x):
    return nchw(((x - MEAN) / STD).astype(np.float32))


def variables_from(model, arrays, patterns, x):
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x)
    empty = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    return to_jaxseg(empty, arrays, patterns)


def assert_close(ours, reference, name):
    reference = np.asarray(reference)
    error = np.abs(np.asarray(ours) - reference).max() / np.abs(reference).max()
    assert error < 1e-4, f"{name}: {error}"


def watch(module, layers):
    seen = {}
    for layer in layers:
        getattr(module, layer).register_forward_hook(lambda m, i, o, layer=layer: seen.update({layer: nhwc(o)}))
    return seen


@pytest.mark.parametrize("size", [(64, 96), (65, 51)])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(name, size):
    module = randomized(getattr(import_torchvision().models, name)(num_classes=7))
    seen = watch(module, ["layer1", "layer2", "layer3", "layer4"])
    x = images(*size)
    model = CLASSIFIERS[name](7)
    variables = variables_from(model, arrays_of(module), names.RESNET, x)
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    with torch.no_grad():
        logits = module(theirs(x)).numpy()
    for layer, reference in seen.items():
        assert_close(outputs["features"][layer], reference, layer)
    assert_close(outputs["logits"], logits, "logits")


@pytest.mark.parametrize("size", [(64, 96), (65, 51)])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenter(name, size):
    kind, patterns = SEGMENTERS[name]
    build = getattr(import_torchvision().models.segmentation, name)
    module = randomized(build(weights=None, weights_backbone=None, num_classes=6, aux_loss=True))
    seen = watch(module.backbone, ["layer1", "layer2", "layer3", "layer4"])
    x = images(*size)
    model = kind(6)
    variables = variables_from(model, arrays_of(module), patterns, x)
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    with torch.no_grad():
        reference = module(theirs(x))
    for layer, expected in seen.items():
        assert_close(outputs["features"][layer], expected, layer)
    assert_close(outputs["logits"], nhwc(reference["out"]), "logits")


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2", "fcn_resnet50", "deeplabv3_resnet50"])
def test_names_and_arrays_survive_the_way_there_and_back(name):
    models = import_torchvision().models
    if name in SEGMENTERS:
        kind, patterns = SEGMENTERS[name]
        module = getattr(models.segmentation, name)(weights=None, weights_backbone=None, num_classes=6, aux_loss=True)
    else:
        kind, patterns = CLASSIFIERS[name], names.RESNET
        module = getattr(models, name)(num_classes=6)
    arrays = {k: v for k, v in arrays_of(randomized(module)).items() if not k.endswith("num_batches_tracked")}
    back = to_torch(variables_from(kind(6), arrays, patterns, images(32, 32)), patterns)
    assert set(back) == set(arrays)
    for key, value in arrays.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)


def test_gradients_of_deeplab_v3_in_training():
    """Loss gradients of every parameter, statistics of the batch, both losses; dropout off on both sides."""
    module = import_torchvision().models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=6, aux_loss=True
    )
    randomized(module).train()
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    x = images(64, 64, batch=2)
    labels = np.random.default_rng(0).integers(0, 6, (2, 64, 64))
    arrays = {name: value.copy() for name, value in arrays_of(module).items()}
    outputs = module(theirs(x))
    target = torch.tensor(labels)
    loss = sum(w * torch.nn.functional.cross_entropy(outputs[k], target) for k, w in (("out", 1.0), ("aux", 0.5)))
    loss.backward()

    model = deeplab_v3.DeepLabV3ResNet50(6, dropout=0.0, aux_dropout=0.0)
    variables = variables_from(model, arrays, names.DEEPLAB_V3, x)

    def ours(params):
        outputs, _ = model.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
        )
        picked = jax.nn.one_hot(labels, 6)
        return sum(
            -w * jnp.mean(jnp.sum(jax.nn.log_softmax(outputs[k]) * picked, -1))
            for k, w in (("logits", 1.0), ("aux_logits", 0.5))
        )

    value, gradients = jax.jit(jax.value_and_grad(ours))(variables["params"])
    np.testing.assert_allclose(value, loss.item(), rtol=1e-4)
    flat = to_torch({"params": gradients}, names.DEEPLAB_V3)
    for name, parameter in module.named_parameters():
        expected = parameter.grad.numpy()
        scale = np.abs(expected).max()
        error = np.abs(flat[name] - expected).max() / scale
        assert error < 1e-3, f"{name}: {error} of {scale}"
