"""Keypoint R-CNN on the built-in drawn shapes: each shape's centre, tip, left and right.

    jaxseg train keypoint_rcnn_shapes --workdir runs/keypoint_rcnn_shapes

Measured on 2 CPU cores, on 200 held-out pictures: keypoint AP 0.839 (AP50 0.980), box AP 0.796 after 1500 steps of 16
pictures, 20 minutes partly beside other work (0.697 after 500).

Every keypoint's sigma is 0.05, about the mean of COCO's: at 28 pixels of size, 2.8 pixels off count 0.6. A shape is
turned by up to 20 degrees, and its tip bears a dark dot.
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models import FasterRCNN, KeypointHead, RegionHeads
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN
from jaxseg.tasks import detection
from jaxseg.train import Optimizer


def get_config(tiny: bool = False) -> Experiment:
    train, val = Shapes("train", length=32 if tiny else 4000), Shapes("val", length=8 if tiny else 200)
    base, features = (4, 8) if tiny else (16, 32)
    backbone = ResNetFPN(ResNet((1, 1, 1, 1), bottleneck=False, base=base), FPN(features))
    detector = FasterRCNN(len(train.things), backbone, TwoFC(4 * features), SHAPES_RCNN)
    head = KeypointHead(len(train.keypoint_names), convs=1 if tiny else 4, channels=2 * features)
    metric = coco_metric(partial(coco_truth, val), ("box", "keypoint"), sigmas=[0.05] * len(train.keypoint_names))
    return Experiment(
        model=RegionHeads(detector, {"keypoint": head}),
        task=detection(train.things, metric, config=SHAPES_RCNN, main_metric="keypoint_ap"),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=train.size, scale=(1.0, 1.0)),
            prepare=Resize(val.size),
            max_instances=6,
        ),
        optimizer=Optimizer(kind="adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=1 if tiny else 50),
        steps=2 if tiny else 1500,
        batch_size=4 if tiny else 16,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 500,
        save_every=1 if tiny else 500,
        log_every=1 if tiny else 20,
    )
