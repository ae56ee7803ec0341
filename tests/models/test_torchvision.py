"""Every stage's activations and the logits of torchvision's networks, from their own names and arrays."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import cross_entropy
from jaxseg.models import deeplab_v3, fcn, resnet, vgg
from jaxseg.nn import ResNet
from jaxseg.weights import torchvision as names
from jaxseg.weights.match import to_jaxseg, to_torch

torch = pytest.importorskip("torch")
from tests.helpers import slowly  # noqa: E402
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

VGGS = {"vgg16": (vgg.VGG16, names.VGG16), "vgg16_bn": (vgg.VGG16BN, names.VGG16_BN)}


def narrow_vgg(name):
    models = import_torchvision().models.vgg
    module = models.VGG(models.make_layers(models.cfgs["D"], batch_norm=name == "vgg16_bn"), init_weights=False)
    for i, (inputs, outputs) in {0: (512 * 49, 32), 3: (32, 32), 6: (32, 7)}.items():
        module.classifier[i] = torch.nn.Linear(inputs, outputs)
    return module


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


def both_sizes(kinds, quick):
    """Each name at an even and an odd size; deep ones, which repeat the blocks of the others, at the odd one alone, and
    slowly. Quickly the ``quick``, whose blocks are all there are, at the odd one."""
    even, odd = (64, 96), (65, 51)
    cases = [(name, size) for name in kinds for size in (even, odd) if size == odd or not re.search("101|152", name)]
    first = [(name, odd) for name in quick]
    return first + slowly(*(case for case in cases if case not in first))


@pytest.mark.parametrize(("name", "size"), both_sizes(CLASSIFIERS, ["resnet18", "resnet50"]), ids=str)
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


@pytest.mark.parametrize("size", [*slowly(((64, 96),)), (75, 51)])
@pytest.mark.parametrize("name", VGGS)
def test_vgg(name, size):
    """The five poolings, rounded down, and the logits through fully connected layers (narrower, for speed)."""
    module = randomized(narrow_vgg(name))
    pools = [layer for layer in module.features if isinstance(layer, torch.nn.MaxPool2d)]
    seen = []
    for pool in pools:
        pool.register_forward_hook(lambda m, i, o: seen.append(nhwc(o)))
    x = images(*size)
    kind, patterns = VGGS[name]
    model = kind(7, fc_features=32)
    variables = variables_from(model, arrays_of(module), patterns, x)
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    with torch.no_grad():
        logits = module(theirs(x)).numpy()
    for stage, reference in enumerate(seen, 1):
        assert_close(outputs["features"][f"pool{stage}"], reference, f"pool{stage}")
    assert_close(outputs["logits"], logits, "logits")


@pytest.mark.parametrize(("name", "size"), both_sizes(SEGMENTERS, ["deeplabv3_resnet50"]), ids=str)
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


@pytest.mark.parametrize("name", [*slowly("vgg16"), "vgg16_bn"])
def test_vggs_names_survive_too(name):
    kind, patterns = VGGS[name]
    module = randomized(narrow_vgg(name))
    arrays = {k: v for k, v in arrays_of(module).items() if not k.endswith("num_batches_tracked")}
    variables = variables_from(kind(7, fc_features=32), arrays, patterns, images(32, 32))
    back = to_torch(variables, patterns, connected="^fc")
    assert set(back) == set(arrays)
    for key, value in arrays.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)


@pytest.mark.parametrize("name", ["resnet18", "deeplabv3_resnet50", *slowly("wide_resnet50_2", "fcn_resnet50")])
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


def losses_and_gradients(norm):
    """Of DeepLab v3 with both its losses, ours and torchvision's, in double precision.

    At random weights the gradient is ill-conditioned (in single precision PyTorch's own is off by percents where the
    batch's statistics are used), so that rounding would hide a real difference. The ResNet is one of few blocks.
    """
    tv, blocks = import_torchvision().models, (1, 1, 2, 2)
    backbone = tv.resnet.ResNet(tv.resnet.Bottleneck, blocks, replace_stride_with_dilation=[False, True, True])
    module = randomized(tv.segmentation.deeplabv3._deeplabv3_resnet(backbone, num_classes=6, aux=True))
    x = images(64, 64, batch=2)
    labels = np.random.default_rng(0).integers(0, 6, (2, 64, 64))
    model = partial(deeplab_v3.deeplab_v3, 6, partial(ResNet, blocks), dropout=0.0, aux_dropout=0.0, norm=norm)
    variables = variables_from(model(), arrays_of(module), names.DEEPLAB_V3, x)

    module = module.double().train(norm == "batch")
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    outputs = module(nchw((x.astype(np.float64) - MEAN) / STD))
    of_pixels = partial(torch.nn.functional.cross_entropy, target=torch.tensor(labels))
    expected = of_pixels(outputs["out"]) + 0.5 * of_pixels(outputs["aux"])
    expected.backward()
    reference = {name: p.grad.numpy() for name, p in module.named_parameters()}

    def of_ours(params, x):
        outputs, _ = model(dtype=jnp.float64).apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return cross_entropy(outputs["logits"], labels) + 0.5 * cross_entropy(outputs["aux_logits"], labels)

    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        loss, gradients = jax.jit(jax.value_and_grad(of_ours))(variables["params"], jnp.asarray(x, jnp.float64))
        gradients = to_torch({"params": gradients}, names.DEEPLAB_V3)
    return (float(loss), gradients), (expected.item(), reference)


def distance(gradients, exact):
    return np.sqrt(
        sum(np.sum((gradients[n] - exact[n]) ** 2) for n in exact) / sum(np.sum(g**2) for g in exact.values())
    )


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_gradients_of_deeplab_v3(norm):
    (ours, gradients), (theirs, reference) = losses_and_gradients(norm)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    if norm == "frozen":  # ours freezes scale and bias too
        reference = {name: g for name, g in reference.items() if g.ndim == 4}
    for name, expected in reference.items():
        assert distance(gradients, {name: expected}) < 1e-5, name
