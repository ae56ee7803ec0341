"""CornerNet, small, on the built-in drawn shapes: boxes as pairs of corners.

    jaxseg train cornernet_shapes --workdir runs/cornernet_shapes

Measured on 2 CPU cores, on 200 held-out pictures: box AP50 0.897, AP 0.740 after 2000 steps of 16 pictures, 7 minutes.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.data import Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models import CornerNet
from jaxseg.nn.hourglass import StackedHourglass
from jaxseg.recipes import detector_on_shapes
from jaxseg.tasks import corner_detection


def get_config(tiny: bool = False) -> Experiment:
    channels = (4, 6) if tiny else (48, 64, 96)
    backbone = StackedHourglass(channels, (1,) * len(channels), stacks=1, stem=channels[0])
    return detector_on_shapes(
        CornerNet(len(Shapes().things), backbone, channels[0], corners=20, detections=20),
        lambda val: corner_detection(val.things, coco_metric(partial(coco_truth, val), ("box",))),
        tiny=tiny,
        steps=2000,
    )
