"""From names and files to variables, every array accounted for; the table of published weights is torchvision's."""

import re
from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.models import DETECTORS, deeplab_v3, fcn, resnet, vgg
from jaxseg.models.fcn import FCN8s
from jaxseg.models.vgg import VGG16
from jaxseg.nn.resnet import ResNet
from jaxseg.types import JaxsegError
from jaxseg.weights import PUBLISHED, load, to_jaxseg, to_torch, torchvision
from tests.helpers import but_slowly
from tests.weights.recorded import RECORDED

TINY = partial(ResNet, (1, 1, 1, 1), bottleneck=False, base=4)


MODELS = {
    **{f"resnet{n}": getattr(resnet, f"ResNet{n}") for n in (18, 34, 50, 101, 152)},
    **{f"wide_resnet{n}_2": getattr(resnet, f"WideResNet{n}") for n in (50, 101)},
    **{f"fcn_resnet{n}": getattr(fcn, f"FCNResNet{n}") for n in (50, 101)},
    **{f"deeplabv3_resnet{n}": getattr(deeplab_v3, f"DeepLabV3ResNet{n}") for n in (50, 101)},
    "vgg16": vgg.VGG16,
    "vgg16_bn": vgg.VGG16BN,
}


def zeros_of(model):
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    return jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)


def random_arrays(model, patterns, **how):
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), zeros_of(model))
    return variables, to_torch(variables, patterns, **how)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Puts a file of a tiny ResNet where a published one would be once fetched; gives its variables."""
    variables, arrays = random_arrays(resnet.classifier(10, TINY), torchvision.RESNET)
    np.savez(tmp_path / "tiny.npz", **arrays, **{"bn1.num_batches_tracked": np.array(3)})
    value = PUBLISHED["resnet18_imagenet1k_v1"]._replace(name="tiny", url="http://127.0.0.1:9/tiny.npz", sha256="")
    monkeypatch.setitem(PUBLISHED, "tiny", value)
    monkeypatch.setenv("JAXSEG_CACHE", str(tmp_path))
    return variables


def test_a_name_gives_a_models_variables(published):
    assert_equal(load("tiny", zeros_of(resnet.classifier(10, TINY))), published)
    assert_equal(load(PUBLISHED["tiny"], zeros_of(resnet.classifier(10, TINY))), published)


def test_half_precision_files_become_what_the_model_has(tmp_path):
    """As torchvision's wide_resnet50_2 of 2020 is stored."""
    model = resnet.classifier(10, TINY)
    variables, arrays = random_arrays(model, torchvision.RESNET)
    np.savez(tmp_path / "half.npz", **{name: value.astype(np.float16) for name, value in arrays.items()})
    loaded = load(tmp_path / "half.npz", zeros_of(model), patterns=torchvision.RESNET)
    assert {a.dtype for a in jax.tree.leaves(loaded)} == {np.dtype(np.float32)}
    assert_equal(loaded, jax.tree.map(lambda a: a.astype(np.float16).astype(np.float32), variables))


def test_a_part_alone(published):
    empty = zeros_of(deeplab_v3.deeplab_v3(3, TINY, features=4))
    loaded = load("tiny", empty, part="backbone")
    for collection in ("params", "batch_stats"):
        assert_equal(
            loaded[collection]["backbone"], {k: v for k, v in published[collection].items() if k not in ("fc",)}
        )
        assert_equal(loaded[collection]["aspp"], empty[collection]["aspp"])
    with pytest.raises(JaxsegError, match=r"no part named 'back'; its parts are aspp, aux, backbone, head, score"):
        load("tiny", empty, part="back")


@pytest.mark.parametrize("classes", [10, 3])
def test_layers_that_stay_fresh(published, classes):
    empty = zeros_of(resnet.classifier(classes, TINY))
    loaded = load("tiny", empty, fresh="^fc$")
    assert_equal(loaded["params"]["fc"], empty["params"]["fc"])
    assert_equal(loaded["params"]["layer4_0"], published["params"]["layer4_0"])
    with pytest.raises(JaxsegError, match=r"2 misshapen \(fc.bias \[10\], not \[4\]"):
        load("tiny", zeros_of(resnet.classifier(4, TINY)))


def test_every_fault_is_listed():
    model = resnet.classifier(10, TINY)
    _, arrays = random_arrays(model, torchvision.RESNET)
    del arrays["bn1.weight"], arrays["layer1.0.conv1.weight"]
    arrays["extra.weight"] = np.zeros(1, np.float32)
    arrays["conv1.weight"] = arrays["conv1.weight"][:, :1]
    with pytest.raises(JaxsegError) as error:
        to_jaxseg(zeros_of(model), arrays, torchvision.RESNET)
    for part in (
        "2 missing (bn1.weight, layer1.0.conv1.weight)",
        "1 unexpected (extra.weight)",
        "1 misshapen (conv1.weight [7, 7, 1, 4], not [7, 7, 3, 4])",
    ):
        assert part in str(error.value)
    excused = to_jaxseg(
        zeros_of(model), arrays, torchvision.RESNET, exempt=(r"^bn1\.", "layer1.0.conv1", "x", "^conv1")
    )
    assert not excused["params"]["conv1"]["kernel"].any()
    assert excused["params"]["bn1"]["bias"].any()


def test_vggs_classifier_is_fcns(tmp_path):
    """torchvision's fully connected layers become the 7x7 and 1x1 convolutions of FCN (Long et al., section 3.1)."""
    variables, arrays = random_arrays(VGG16(9, fc_features=6), torchvision.VGG16, connected="^fc")
    assert arrays["classifier.0.weight"].shape == (6, 512 * 49)
    np.savez(tmp_path / "vgg.npz", **arrays)
    loaded = load(tmp_path / "vgg.npz", zeros_of(VGG16(9, fc_features=6)), patterns=torchvision.VGG16)
    assert_equal(loaded, variables)
    empty = zeros_of(FCN8s(3, fc_features=6))
    surplus = ("^classifier.6",)
    loaded = load(tmp_path / "vgg.npz", empty, patterns=torchvision.VGG16, fresh="score", exempt=surplus)
    for name in ("vgg", "fc6", "fc7"):
        assert_equal(loaded["params"][name], variables["params"][name])
    assert_equal(loaded["params"]["score_fr"], empty["params"]["score_fr"])


def test_a_fully_connected_layer_is_the_convolution_over_its_map():
    weight = np.random.default_rng(0).normal(size=(5, 2 * 3 * 3)).astype(np.float32)
    ours = {"params": {"fc6": {"kernel": np.zeros((3, 3, 2, 5), np.float32)}}}
    kernel = to_jaxseg(ours, {"fc6.weight": weight}, ())["params"]["fc6"]["kernel"]
    seen = np.random.default_rng(1).normal(size=(3, 3, 2)).astype(np.float32)
    flat = seen.transpose(2, 0, 1).ravel()  # as PyTorch flattens [C, H, W]
    np.testing.assert_allclose(np.einsum("hwc,hwco->o", seen, kernel), weight @ flat, rtol=1e-5)


def test_what_is_neither_name_nor_file(tmp_path):
    empty = zeros_of(resnet.classifier(10, TINY))
    with pytest.raises(JaxsegError, match=r"'resnet50_imagenet_v2'; did you mean resnet50_imagenet1k_v2"):
        load("resnet50_imagenet_v2", empty)
    with pytest.raises(JaxsegError, match="no weights at"):
        load(tmp_path / "absent.npz", empty, patterns=torchvision.RESNET)


@pytest.mark.parametrize("recorded", ["smp_unet_resnet18", "huggingface_resnet18", "timm_resnet50d"])
def test_whose_names_are_in_a_file_is_found_out(tmp_path, recorded):
    model, patterns = RECORDED[recorded]
    variables, arrays = random_arrays(model, patterns)
    np.savez(tmp_path / "weights.npz", **arrays)
    assert_equal(load(tmp_path / "weights.npz", zeros_of(model)), variables)
    np.savez(tmp_path / "odd.npz", **arrays, odd=np.zeros(3))
    source = recorded.split("_")[0]
    with pytest.raises(
        JaxsegError, match=rf"by the names of {source}\.\w+, which are the nearest, .*1 unexpected \(odd\)"
    ):
        load(tmp_path / "odd.npz", zeros_of(model))


def test_the_table_is_torchvisions():
    """Address, hash, preset, scores and classes of every entry, against the enums that torchvision publishes."""
    pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    models = import_torchvision().models
    prefixes = ("resnet", "wide_", "vgg16", "fcn_", "deeplabv3_resn", "fasterrcnn_resnet", "maskrcnn", "keypointrcnn")
    networks = [n for n in models.list_models() if n.startswith(prefixes)]
    theirs = {f"{n}_{w.name}".lower(): w for n in networks for w in models.get_model_weights(n)}
    del theirs["vgg16_imagenet1k_features"]  # its classifier is not a number
    published = {name: entry for name, entry in PUBLISHED.items() if "download.pytorch.org" in entry.url}
    assert set(published) == set(theirs)
    for name, entry in published.items():
        preset, there, categories = entry.preset, theirs[name].transforms(), theirs[name].meta["categories"]
        assert entry.name == name
        assert entry.url == theirs[name].url
        assert entry.url.endswith(f"-{entry.sha256}.pth")
        assert {entry.card.dataset: entry.card.metrics} == theirs[name].meta["_metrics"]
        if "rcnn" in name:  # their transforms know nothing of the image, and background is no class of ours
            assert preset.names == tuple(categories[1:])
            continue
        assert preset.classes == len(categories)
        assert preset.names in ((), tuple(categories))
        assert (preset.mean, preset.std) == (tuple(there.mean), tuple(there.std))
        assert [preset.resize] == there.resize_size
        assert [preset.crop] == getattr(there, "crop_size", [None])


ENTRIES = [name for name in PUBLISHED if name not in DETECTORS]
DEEP = [name for name in ENTRIES if re.search("101|152", name)]


@pytest.mark.parametrize("name", but_slowly(ENTRIES, DEEP))
def test_every_entry_has_the_names_of_its_network(name):
    """With the shapes of torchvision's network, nothing is missing, surplus or misshapen; its head is just that."""
    torch = pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    models, network = import_torchvision().models, name.split("_imagenet1k")[0].split("_coco")[0]
    segments = network.startswith(("fcn", "deeplab"))
    with torch.device("meta"):
        how = {"weights_backbone": None, "aux_loss": True} if segments else {}
        module = models.get_model(network, weights=None, **how)
    state = {k: np.broadcast_to(np.float32(1), v.shape) for k, v in module.state_dict().items()}
    shapes = jax.eval_shape(
        partial(MODELS[network](PUBLISHED[name].preset.classes).init, train=False),
        jax.random.key(0),
        np.zeros((1, 32, 32, 3), np.float32),
    )
    to_jaxseg(shapes, state, PUBLISHED[name].patterns)
    backbone = ("conv1.", "bn1.", "layer", "features.", "backbone.")
    assert [k for k in state if re.search(PUBLISHED[name].head, k)] == [k for k in state if not k.startswith(backbone)]
