"""Published weights as values: where each file is, whose names it uses, what it expects of its input, what it scored.

The files, names and scores are torchvision's (``torchvision.models.get_model_weights(name)``), its names in small
letters: ``ResNet50_Weights.IMAGENET1K_V2`` is ``resnet50_imagenet1k_v2`` here. And detectron2's model zoo's, whose
``COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x`` is ``mask_rcnn_r_50_fpn_3x``. The networks of detectors, each with
the preset that goes with its weights: :func:`jaxseg.models.load_detector`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxseg.names import COCO_THINGS
from jaxseg.weights import detectron2, torchvision
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
    names that another network does without (:func:`jaxseg.weights.load` with ``part`` or ``fresh``). ``convert``: what
    its arrays go through first; ``transposed``: pattern of our layers that are transposed convolutions.
    """

    name: str
    url: str
    sha256: str
    patterns: Patterns
    head: str
    preset: Preset
    card: Card
    convert: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    transposed: str = ""


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


_COCO_IDS_OF_NOTHING = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def _with_gaps() -> tuple[str, ...]:
    """Names by COCO's own ids, 1 to 90, as torchvision's detectors have them."""
    things = iter(COCO_THINGS)
    return tuple("N/A" if i in _COCO_IDS_OF_NOTHING else next(things) for i in range(1, 91))


def _torchvision_keypoints(name: str, digits: str, box: float, keypoint: float) -> Weights:
    network = "keypointrcnn_resnet50_fpn_coco"
    return Weights(
        f"{network}_{name}",
        f"https://download.pytorch.org/models/{network}-{digits}.pth",
        digits,
        torchvision.RCNN_FPN,
        r"^roi_heads\.(box|keypoint)_predictor\.",
        Preset(1, 800, None, ("person",)),
        Card("COCO-val2017", {"box_map": box, "kp_map": keypoint}),
        torchvision.detector_arrays,
        r"kps_score_lowres$",
    )


def _torchvision_detector(network: str, digits: str, version: int, box: float, mask: float | None) -> Weights:
    file = network + ("_v2" if version == 2 else "")
    return Weights(
        f"{file}_coco_v1",
        f"https://download.pytorch.org/models/{file}_coco-{digits}.pth",
        digits,
        torchvision.RCNN_FPN,
        r"^roi_heads\.(box|mask)_predictor\.",
        Preset(90, 800, None, _with_gaps()),
        Card("COCO-val2017", {"box_map": box} | ({} if mask is None else {"mask_map": mask})),
        torchvision.detector_arrays,
        r"conv5_mask$",
    )


def _detectron2_detector(
    network: str,
    file: str,
    box: float,
    mask: float | None = None,
    keypoint: float | None = None,
    pq: float | None = None,
) -> Weights:
    """Of these files nobody has published a checksum."""
    kind = (
        "PanopticSegmentation" if pq else "Keypoints" if keypoint else "InstanceSegmentation" if mask else "Detection"
    )
    mean, scale = (123.675 / 255, 116.28 / 255, 103.53 / 255), (1 / 255, 1 / 255, 1 / 255)
    return Weights(
        network.lower(),
        f"https://dl.fbaipublicfiles.com/detectron2/COCO-{kind}/{network}/{file}.pkl",
        "",
        detectron2.PANOPTIC_FPN if pq else detectron2.RCNN_FPN if "FPN" in network else detectron2.RCNN_ONE_LEVEL,
        r"^sem_seg_head\.predictor\.|^roi_heads\.(box_predictor|mask_head\.predictor|keypoint_head\.score_lowres)\.",
        Preset(1 if keypoint else 80, 800, None, COCO_THINGS[: 1 if keypoint else 80], mean, scale),
        Card(
            "COCO-val2017",
            {key: n for key, n in (("box_map", box), ("mask_map", mask), ("kp_map", keypoint), ("pq", pq)) if n},
            "detectron2's model zoo: github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md",
            "CC BY-SA 3.0 (detectron2's models)",
        ),
        detectron2.detector_arrays,
        r"(conv5_mask|kps_score_lowres)$",
    )


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
    _torchvision_detector("fasterrcnn_resnet50_fpn", "258fb6c6", 1, 37.0, None),
    _torchvision_detector("fasterrcnn_resnet50_fpn", "dd69338a", 2, 46.7, None),
    _torchvision_detector("maskrcnn_resnet50_fpn", "bf2d0c1e", 1, 37.9, 34.6),
    _torchvision_detector("maskrcnn_resnet50_fpn", "73cbd019", 2, 47.4, 41.8),
    _torchvision_keypoints("legacy", "9f466800", 50.6, 61.1),
    _torchvision_keypoints("v1", "fc266e95", 54.6, 65.0),
    _detectron2_detector("faster_rcnn_R_50_C4_1x", "137257644/model_final_721ade", 35.7),
    _detectron2_detector("faster_rcnn_R_50_DC5_1x", "137847829/model_final_51d356", 37.3),
    _detectron2_detector("faster_rcnn_R_50_FPN_1x", "137257794/model_final_b275ba", 37.9),
    _detectron2_detector("faster_rcnn_R_50_FPN_3x", "137849458/model_final_280758", 40.2),
    _detectron2_detector("faster_rcnn_R_101_FPN_3x", "137851257/model_final_f6e8b1", 42.0),
    _detectron2_detector("mask_rcnn_R_50_C4_1x", "137259246/model_final_9243eb", 36.8, 32.2),
    _detectron2_detector("mask_rcnn_R_50_DC5_1x", "137260150/model_final_4f86c3", 38.3, 34.2),
    _detectron2_detector("mask_rcnn_R_50_FPN_1x", "137260431/model_final_a54504", 38.6, 35.2),
    _detectron2_detector("mask_rcnn_R_50_FPN_3x", "137849600/model_final_f10217", 41.0, 37.2),
    _detectron2_detector("mask_rcnn_R_101_FPN_3x", "138205316/model_final_a3ec72", 42.9, 38.6),
    _detectron2_detector("keypoint_rcnn_R_50_FPN_1x", "137261548/model_final_04e291", 53.6, keypoint=64.0),
    _detectron2_detector("keypoint_rcnn_R_50_FPN_3x", "137849621/model_final_a6e10b", 55.4, keypoint=65.5),
    _detectron2_detector("keypoint_rcnn_R_101_FPN_3x", "138363331/model_final_997cc7", 56.4, keypoint=66.1),
    _detectron2_detector("panoptic_fpn_R_50_1x", "139514544/model_final_dbfeb4", 37.6, 34.7, pq=39.4),
    _detectron2_detector("panoptic_fpn_R_50_3x", "139514569/model_final_c10459", 40.0, 36.5, pq=41.5),
    _detectron2_detector("panoptic_fpn_R_101_3x", "139514519/model_final_cafdb1", 42.4, 38.5, pq=43.0),
)
PUBLISHED = {weights.name: weights for weights in _ALL}
"""Every published file that :func:`jaxseg.weights.fetch` knows, by name."""
