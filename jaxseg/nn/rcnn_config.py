"""What a detector of regions is made with beside its layers: every number and rule in which implementations differ.

``TORCHVISION`` and ``DETECTRON2`` are the two that published weights were trained with. Weights mean what they meant
only under their own: an importer gives both. ``GIRSHICK_2014`` and ``GIRSHICK_2015`` are R-CNN's and Fast
R-CNN's, which have no proposal network.
"""

from typing import Literal, NamedTuple

from jaxseg.nn.layers import CAFFE, IMAGENET, Normalization


class RCNNConfig(NamedTuple):
    """Numbers are those of the papers' code for COCO; where the two presets differ the fields say so."""

    # The image.
    normalization: Normalization = IMAGENET
    # The backbone: a bottleneck's stride in its first 1x1 convolution; the epsilon of its normalisation.
    stride_in_1x1: bool = False
    epsilon: float = 1e-5
    # Anchors: one size a level (or all on one), to whole pixels or not, in which order. Their stride is the padded
    # image's size over the map's, rounded down, in torchvision (61 for 13 places of 800 pixels), the level's own in
    # detectron2.
    anchor_sizes: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rounded_anchors: bool = True
    ratios_fastest: bool = False
    anchor_stride: Literal["image", "level"] = "image"
    # Region proposal network: matching, sampling, and its box loss: smooth L1 of this beta (0: L1), the sum of which is
    # divided by the anchors sampled, or by rpn_samples whatever was found (objectness too).
    rpn_positive: float = 0.7
    rpn_negative: float = 0.3
    rpn_samples: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_beta: float = 1 / 9
    rpn_divisor: Literal["sampled", "all"] = "sampled"
    # Proposals, of each level before and of the image after suppression; in training, and else.
    pre_nms: tuple[int, int] = (2000, 1000)
    post_nms: tuple[int, int] = (2000, 1000)
    rpn_nms_threshold: float = 0.7
    rpn_min_size: float = 1e-3
    differentiable_proposals: bool = False  # the heads' losses move the proposals, through the regions that they see
    # RoIs that the heads are trained on.
    roi_positive: float = 0.5
    roi_negative: float = 0.5
    roi_lowest: float = 0.0  # what overlaps the objects less than that is left out
    roi_samples: int = 512
    roi_positive_fraction: float = 0.25
    # RoIAlign: half a place off or not, samples of a bin along an axis (0: as many as the box has places), and what
    # the small number is added to in the rule of levels.
    aligned: bool = False
    sampling_ratio: int = 2
    level_epsilon: float = 1e-6
    level_epsilon_inside: bool = False
    # Second stage: weights of the transforms, beta of their loss.
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    box_beta: float = 1 / 9
    # How the last layers of the second stage begin: as PyTorch's linear layers do, or from N(0, 0.01) and N(0, 0.001).
    normal_predictor: bool = False
    # Detections. What may be detected at all is limited to the best candidates, all classes together.
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    detections: int = 100
    min_size: float = 1e-2
    candidates: int = 4000
    # Masks: targets are how much of a cell is covered, or whether half of it is; and how a mask gets into the image.
    binary_mask_targets: bool = False
    paste: Literal["torchvision", "detectron2"] = "torchvision"


TORCHVISION = RCNNConfig()
"""``torchvision.models.detection``: fasterrcnn, maskrcnn and keypointrcnn_resnet50_fpn."""

DETECTRON2 = RCNNConfig(
    # BGR less its mean there; RGB here, and the first kernel's channels turned round on import.
    normalization=Normalization((123.675 / 255, 116.28 / 255, 103.53 / 255), (1 / 255, 1 / 255, 1 / 255)),
    stride_in_1x1=True,
    rounded_anchors=False,
    ratios_fastest=True,
    anchor_stride="level",
    rpn_beta=0.0,
    rpn_divisor="all",
    post_nms=(1000, 1000),
    rpn_min_size=0.0,
    aligned=True,
    sampling_ratio=0,
    level_epsilon=1e-8,
    level_epsilon_inside=True,
    box_beta=0.0,
    normal_predictor=True,
    min_size=0.0,
    binary_mask_targets=True,
    paste="detectron2",
)
"""``detectron2``: Base-RCNN-FPN.yaml and what is built on it. Its mask targets are polygons drawn in the box; here, as
where it is given bitmaps, at least half of a cell."""

DETECTRON2_C4 = DETECTRON2._replace(
    anchor_sizes=((32, 64, 128, 256, 512),), pre_nms=(12000, 6000), post_nms=(2000, 1000)
)
"""``detectron2``'s C4 and DC5: one level of stride 16 with all anchors."""

DETECTRON2_KEYPOINTS = DETECTRON2._replace(post_nms=(1500, 1000), box_beta=0.5)
"""``detectron2``: Base-Keypoint-RCNN-FPN.yaml."""

JOHNSON_2016 = RCNNConfig(
    normalization=CAFFE,
    anchor_sizes=((64, 128, 256, 512),),
    rpn_beta=1.0,
    pre_nms=(6000, 6000),
    post_nms=(1000, 300),
    differentiable_proposals=True,
    roi_positive=0.7,
    roi_negative=0.3,
    roi_samples=256,
    roi_positive_fraction=0.5,
    aligned=True,
    sampling_ratio=1,
    box_weights=(1.0, 1.0, 1.0, 1.0),
    box_beta=1.0,
    score_threshold=0.0,
    nms_threshold=0.3,
    detections=100,
)
"""Johnson, Karpathy & Fei-Fei 2016, sections 3.2 and 3.3: twelve anchors a place, both stages by IoU of 0.7 and 0.3,
half of 256 regions positive, transforms not normalised, 300 proposals, and proposals' coordinates that learn."""

GKIOXARI_2019 = DETECTRON2._replace(rpn_beta=1 / 9, roi_samples=64, box_beta=1.0)
"""Gkioxari et al. 2019: the authors' meshrcnn_R50_FPN.yaml for Pix3D, but for its neutral regions below an IoU of
0.2."""

GIRSHICK_2014 = RCNNConfig(
    box_weights=(1.0, 1.0, 1.0, 1.0),
    score_threshold=-1.0,
    nms_threshold=0.3,
    min_size=0.0,
)
"""Girshick et al. 2014: scores are a support vector machine's, below -1 for what it is sure to be none."""

GIRSHICK_2015 = RCNNConfig(
    roi_samples=64,
    roi_lowest=0.1,
    box_beta=1.0,
    normal_predictor=True,
    nms_threshold=0.3,
    min_size=0.0,
)
"""Girshick 2015, section 2.3: 64 regions an image, a quarter of them objects, background that overlaps one by 0.1 to
0.5. Weights of 10, 10, 5, 5 normalise the transforms by the standard deviations 0.1, 0.1, 0.2, 0.2 of the paper's
code."""
