"""Panoptic FPN on the built-in drawn shapes: grass, water and brick are stuff, what lies on them things.

jaxseg train panoptic_fpn_shapes --workdir runs/panoptic_fpn_shapes

Measured on 2 CPU cores, on 200 held-out pictures: PQ 0.779 (things 0.841, stuff 0.676), SQ 0.829, RQ 0.937 after 1500
steps of 16 pictures, 15 minutes beside other work.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.data import Shapes, panoptic_truth
from jaxseg.metrics import panoptic_metric
from jaxseg.models import FasterRCNN, MaskHead, PanopticFPN, RegionHeads, SemanticHead
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN, detector_on_shapes
from jaxseg.tasks import panoptic
from jaxseg.types import Task


def get_config(tiny: bool = False) -> Experiment:
    base, features = (4, 8) if tiny else (16, 32)
    things, stuff = len(Shapes().things), len(Shapes().stuff)
    backbone = ResNetFPN(ResNet((1, 1, 1, 1), bottleneck=False, base=base), FPN(features))
    detector = FasterRCNN(things, backbone, TwoFC(4 * features), SHAPES_RCNN)
    model = PanopticFPN(
        RegionHeads(detector, {"mask": MaskHead(things, 1 if tiny else 2, features)}), SemanticHead(stuff + 1, features)
    )
    return detector_on_shapes(model, segments, tiny=tiny, mask_side=28)


def segments(val: Shapes) -> Task:
    metric = panoptic_metric(partial(panoptic_truth, val), val.stuff, val.things)
    return panoptic(val.stuff, val.things, metric, config=SHAPES_RCNN, stuff_area=64, palette=val.palette)
