"""Mask R-CNN on the built-in drawn shapes: which shapes, where, and which pixels are theirs.

    jaxseg train mask_rcnn_shapes --workdir runs/mask_rcnn_shapes

Measured on 2 CPU cores (shared with other work), on 200 held-out pictures: mask AP 0.757, box AP 0.789 (AP50 of both
0.997) after 1500 steps of 16 pictures.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.data import Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models import FasterRCNN, MaskHead, RegionHeads
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN, detector_on_shapes
from jaxseg.tasks import detection
from jaxseg.types import Task


def get_config(tiny: bool = False) -> Experiment:
    classes, (base, features) = len(Shapes().things), (4, 8) if tiny else (16, 32)
    backbone = ResNetFPN(ResNet((1, 1, 1, 1), bottleneck=False, base=base), FPN(features))
    detector = FasterRCNN(classes, backbone, TwoFC(4 * features), SHAPES_RCNN)
    head = MaskHead(classes, convs=1 if tiny else 2, channels=features)
    return detector_on_shapes(RegionHeads(detector, {"mask": head}), masks, tiny=tiny, mask_side=28)


def masks(val: Shapes) -> Task:
    metric = coco_metric(partial(coco_truth, val))
    return detection(val.things, metric, config=SHAPES_RCNN, main_metric="mask_ap")
