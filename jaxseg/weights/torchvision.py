"""torchvision's names for our layers, to read its published weights: ``to_jaxseg(variables, arrays, DEEPLAB_V3)``."""

import re
from collections.abc import Mapping

import numpy as np

from jaxseg.weights.match import Patterns
from jaxseg.weights.vgg import VGG16_LAYERS

RESNET: Patterns = (
    (r"(layer\d)_(\d+)", r"\1.\2"),
    (r"downsample_conv", "downsample.0"),
    (r"downsample_bn", "downsample.1"),
)
"""resnet18 to 152, wide_resnet50_2 and 101_2 (:class:`jaxseg.models.ResNetClassifier`)."""

_CONNECTED: Patterns = ((r"^fc6$", "classifier.0"), (r"^fc7$", "classifier.3"), (r"^fc8$", "classifier.6"))

VGG16: Patterns = (*((rf"^(vgg/)?{layer}$", f"features.{n}") for layer, n in VGG16_LAYERS.items()), *_CONNECTED)
"""vgg16 (:class:`jaxseg.models.vgg.VGG16`; the layers to fc7 are FCN's too)."""

VGG16_BN: Patterns = (
    *((rf"^(vgg/)?{layer}$", f"features.{n + i}") for i, (layer, n) in enumerate(VGG16_LAYERS.items())),
    *((rf"^(vgg/)?bn{layer[4:]}$", f"features.{n + i + 1}") for i, (layer, n) in enumerate(VGG16_LAYERS.items())),
    *_CONNECTED,
)
"""vgg16_bn: the same with a normalisation after each convolution."""

_AUX: Patterns = (
    (r"^aux/conv/conv$", "aux_classifier.0"),
    (r"^aux/conv/bn$", "aux_classifier.1"),
    (r"^aux/score$", "aux_classifier.4"),
)

FCN_RESNET: Patterns = (
    *RESNET,
    *_AUX,
    (r"^head/conv/conv$", "classifier.0"),
    (r"^head/conv/bn$", "classifier.1"),
    (r"^head/score$", "classifier.4"),
)
"""fcn_resnet50 and 101 (:class:`jaxseg.models.FCNResNet`)."""

DEEPLAB_V3: Patterns = (
    *RESNET,
    *_AUX,
    (r"^aspp/conv(\d)/conv$", r"classifier.0.convs.\1.0"),
    (r"^aspp/conv(\d)/bn$", r"classifier.0.convs.\1.1"),
    (r"^aspp/pooling/conv$", "classifier.0.convs.4.1"),
    (r"^aspp/pooling/bn$", "classifier.0.convs.4.2"),
    (r"^aspp/project/conv$", "classifier.0.project.0"),
    (r"^aspp/project/bn$", "classifier.0.project.1"),
    (r"^head/conv$", "classifier.1"),
    (r"^head/bn$", "classifier.2"),
    (r"^score$", "classifier.4"),
)
"""deeplabv3_resnet50 and 101 (:class:`jaxseg.models.DeepLabV3`)."""

RCNN_FPN: Patterns = (
    (r"^detector/", ""),
    (r"^heads_(mask|keypoint)/", r"\1_head/"),
    (r"^backbone/resnet/", "backbone/body/"),
    (r"(layer\d)_(\d+)", r"\1.\2"),
    (r"downsample_conv", "downsample.0"),
    (r"downsample_bn", "downsample.1"),
    (r"^backbone/fpn/(inner|layer)(\d)$", r"backbone/fpn/\1_blocks/\2/0"),
    (r"^backbone/fpn/(inner|layer)(\d)_bn$", r"backbone/fpn/\1_blocks/\2/1"),
    (r"^rpn/conv(\d)$", r"rpn/head/conv/\1/0"),
    (r"^rpn/(cls_logits|bbox_pred)$", r"rpn/head/\1"),
    (r"^(box|mask)_head/conv(\d)/conv$", r"roi_heads/\1_head/\2/0"),
    (r"^(box|mask)_head/conv(\d)/bn$", r"roi_heads/\1_head/\2/1"),
    (r"^box_head/fc$", "roi_heads/box_head/5"),
    (r"^box_(head|predictor)/", r"roi_heads/box_\1/"),
    (r"^mask_head/(conv5_mask|mask_fcn_logits)$", r"roi_heads/mask_predictor/\1"),
    *((rf"^keypoint_head/conv{n}$", f"roi_heads/keypoint_head/{2 * n}") for n in range(8)),
    (r"^keypoint_head/(kps_score_lowres)$", r"roi_heads/keypoint_predictor/\1"),
)
"""fasterrcnn, maskrcnn and keypointrcnn_resnet50_fpn, and _v2, of arrays that went through :func:`detector_arrays`."""


def detector_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A detector's arrays under today's names, without what belongs to background alone.

    The published files have names of torchvision's first version, which itself translates them; and a transform and a
    mask for background, of which nothing is ever made.
    """
    renamed = {}
    for name, value in arrays.items():
        for pattern, replacement in _OLD_NAMES:
            name = re.sub(pattern, replacement, name)
        if re.search(r"box_predictor\.bbox_pred\.", name):
            value = value[4:]
        elif re.search(r"mask_predictor\.mask_fcn_logits\.", name):
            value = value[1:]
        renamed[name] = value
    return renamed


_OLD_NAMES = (
    (r"fpn\.(inner|layer)_blocks\.(\d)\.(weight|bias)$", r"fpn.\1_blocks.\2.0.\3"),
    (r"rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1"),
    (r"mask_head\.mask_fcn(\d)\.", lambda found: f"mask_head.{int(found[1]) - 1}.0."),
)
