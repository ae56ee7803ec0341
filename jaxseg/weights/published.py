"""Published weights as values: where each file is, whose names it uses, what it expects of its input, what it scored.

The files, names and scores are torchvision's (``torchvision.models.get_model_weights(name)``), its names in small
letters: ``ResNet50_Weights.IMAGENET1K_V2`` is ``resnet50_imagenet1k_v2`` here.
"""

from typing import NamedTuple

from jaxseg.weights import torchvision
from jaxseg.weights.match import Patterns


class Preset(NamedTuple):
    """What weights expect of an image, and what their scores mean.

    ``(image - mean) / std`` with RGB in [0, 1] (``jaxseg.nn.Normalization(mean, std)``); the shorter side is resized to
    ``resize`` bilinearly, then the middle ``crop`` x ``crop`` is taken (None: all). ``classes``: how many scores;
    ``names``: theirs, where there are few.
    """

    classes: int
    resize: int
    crop: int | None = None
    names: tuple[str, ...] = ()
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class Card(NamedTuple):
    """Where weights come from, under which licence, and the scores (percent) their authors published."""

    dataset: str
    metrics: dict[str, float]
    source: str = "torchvision's model zoo: docs.pytorch.org/vision/stable/models.html"
    licence: str = "BSD-3-Clause (torchvision); the terms of the data set may bind the weights too"


class Weights(NamedTuple):
    """One file of published weights.

    ``sha256``: of the file, or how it begins. ``patterns``: its names for our layers. ``head``: pattern of those of its
    names that another network does without (:func:`jaxseg.weights.load` with ``part`` or ``fresh``).
    """

    name: str
    url: str
    sha256: str
    patterns: Patterns
    head: str
    preset: Preset
    card: Card


VOC_CLASSES = (
    "__background__", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def _imagenet(network: str, digits: str, top1: float, top5: float, patterns: Patterns, version: int = 1) -> Weights:
    head = r"^classifier\." if network.startswith("vgg") else r"^fc\."
    preset = Preset(1000, 256 if version == 1 else 232, 224)
    card = Card("ImageNet-1K", {"acc@1": top1, "acc@5": top5})
    url = f"https://download.pytorch.org/models/{network}-{digits}.pth"
    return Weights(f"{network}_imagenet1k_v{version}", url, digits, patterns, head, preset, card)


def _coco(network: str, digits: str, miou: float, pixel_accuracy: float, patterns: Patterns) -> Weights:
    preset = Preset(len(VOC_CLASSES), 520, None, VOC_CLASSES)
    card = Card("COCO-val2017-VOC-labels", {"miou": miou, "pixel_acc": pixel_accuracy})
    url = f"https://download.pytorch.org/models/{network}_coco-{digits}.pth"
    name = f"{network}_coco_with_voc_labels_v1"
    return Weights(name, url, digits, patterns, r"^(aux_)?classifier\.", preset, card)


_ALL = (
    _imagenet("resnet18", "f37072fd", 69.758, 89.078, torchvision.RESNET),
    _imagenet("resnet34", "b627a593", 73.314, 91.420, torchvision.RESNET),
    _imagenet("resnet50", "0676ba61", 76.130, 92.862, torchvision.RESNET),
    _imagenet("resnet50", "11ad3fa6", 80.858, 95.434, torchvision.RESNET, version=2),
    _imagenet("resnet101", "63fe2227", 77.374, 93.546, torchvision.RESNET),
    _imagenet("resnet101", "cd907fc2", 81.886, 95.780, torchvision.RESNET, version=2),
    _imagenet("resnet152", "394f9c45", 78.312, 94.046, torchvision.RESNET),
    _imagenet("resnet152", "f82ba261", 82.284, 96.002, torchvision.RESNET, version=2),
    _imagenet("wide_resnet50_2", "95faca4d", 78.468, 94.086, torchvision.RESNET),
    _imagenet("wide_resnet50_2", "9ba9bcbe", 81.602, 95.758, torchvision.RESNET, version=2),
    _imagenet("wide_resnet101_2", "32ee1156", 78.848, 94.284, torchvision.RESNET),
    _imagenet("wide_resnet101_2", "d733dc28", 82.510, 96.020, torchvision.RESNET, version=2),
    _imagenet("vgg16", "397923af", 71.592, 90.382, torchvision.VGG16),
    _imagenet("vgg16_bn", "6c64b313", 73.360, 91.516, torchvision.VGG16_BN),
    _coco("fcn_resnet50", "1167a1af", 60.5, 91.4, torchvision.FCN_RESNET),
    _coco("fcn_resnet101", "7ecb50ca", 63.7, 91.9, torchvision.FCN_RESNET),
    _coco("deeplabv3_resnet50", "cd0a2569", 66.4, 92.4, torchvision.DEEPLAB_V3),
    _coco("deeplabv3_resnet101", "586e9e4e", 67.4, 92.4, torchvision.DEEPLAB_V3),
)
PUBLISHED = {weights.name: weights for weights in _ALL}
"""Every published file that :func:`jaxseg.weights.fetch` knows, by name."""
