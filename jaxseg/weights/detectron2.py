"""detectron2's names for our layers, to read its published detectors.

Its arrays go through :func:`detector_arrays` first: images there are BGR, and background is the last class.
"""

import re
from collections.abc import Mapping

import numpy as np

from jaxseg.weights.match import Patterns


def _resnet(ours: str, theirs: str) -> Patterns:
    """A ResNet at the path ``ours`` of a model."""
    stages = ((rf"^{ours}/layer{n}_(\d+)/", rf"{theirs}/res{n + 1}/\1/") for n in (1, 2, 3, 4))
    return (
        (rf"^{ours}/conv1$", f"{theirs}/stem/conv1"),
        (rf"^{ours}/bn1$", f"{theirs}/stem/conv1/norm"),
        *stages,
        (r"/bn(\d)$", r"/conv\1/norm"),
        (r"/downsample_conv$", "/shortcut"),
        (r"/downsample_bn$", "/shortcut/norm"),
    )


_HEADS: Patterns = (
    (r"^instances/", ""),
    (r"^detector/", ""),
    (r"^heads_(mask|keypoint)/", r"\1_head/"),
    (r"^rpn/conv0$", "proposal_generator/rpn_head/conv"),
    (r"^rpn/cls_logits$", "proposal_generator/rpn_head/objectness_logits"),
    (r"^rpn/bbox_pred$", "proposal_generator/rpn_head/anchor_deltas"),
    (r"^box_head/fc6$", "roi_heads/box_head/fc1"),
    (r"^box_head/fc7$", "roi_heads/box_head/fc2"),
    (r"^box_predictor/", "roi_heads/box_predictor/"),
    *((rf"^mask_head/conv{n}/conv$", f"roi_heads/mask_head/mask_fcn{n + 1}") for n in range(4)),
    (r"^mask_head/conv5_mask$", "roi_heads/mask_head/deconv"),
    (r"^mask_head/mask_fcn_logits$", "roi_heads/mask_head/predictor"),
    *((rf"^keypoint_head/conv{n}$", f"roi_heads/keypoint_head/conv_fcn{n + 1}") for n in range(8)),
    (r"^keypoint_head/kps_score_lowres$", "roi_heads/keypoint_head/score_lowres"),
)

RCNN_FPN: Patterns = (
    *_HEADS,
    *((rf"^backbone/fpn/inner{n}$", f"backbone/fpn_lateral{n + 2}") for n in range(4)),
    *((rf"^backbone/fpn/layer{n}$", f"backbone/fpn_output{n + 2}") for n in range(4)),
    *_resnet("backbone/resnet", "backbone/bottom_up"),
)
"""faster_rcnn, mask_rcnn and keypoint_rcnn_R_50_FPN and R_101_FPN."""

PANOPTIC_FPN: Patterns = (
    # Between two convolutions of a level there is one that enlarges.
    *((rf"^semantic/p(\d)_{n}/conv$", rf"sem_seg_head/p\1/{2 * n}") for n in range(3)),
    *((rf"^semantic/p(\d)_{n}/bn/group$", rf"sem_seg_head/p\1/{2 * n}/norm") for n in range(3)),
    (r"^semantic/predictor$", "sem_seg_head/predictor"),
    *RCNN_FPN,
)
"""panoptic_fpn_R_50 and R_101."""

RCNN_ONE_LEVEL: Patterns = (
    *_HEADS,
    (r"^region_stage/resnet/layer4_(\d+)/", r"roi_heads/res5/\1/"),
    *_resnet("backbone/resnet", "backbone"),
)
"""C4 and DC5 of both."""


def detector_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A detector's arrays for RGB images and background as class 0; without what is no parameter."""
    ours = {}
    for name, value in arrays.items():
        if re.search(r"^pixel_(mean|std)$|anchor_generator\.", name):
            continue
        if name.endswith("stem.conv1.weight"):
            value = value[:, ::-1]
        elif re.search(r"box_predictor\.cls_score\.", name):
            value = np.roll(value, 1, axis=0)
        ours[name] = np.ascontiguousarray(value)
    return ours
