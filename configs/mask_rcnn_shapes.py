"""Mask R-CNN on the built-in drawn shapes: which shapes, where, and which pixels are theirs.

    jaxseg train mask_rcnn_shapes --workdir runs/mask_rcnn_shapes

Measured on 2 CPU cores (shared with other work), on 200 held-out pictures: mask AP 0.757, box AP 0.789 (AP50 of both
0.997) after 1500 steps of 16 pictures.
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models.faster_rcnn import FasterRCNN
from jaxseg.models.mask_rcnn import MaskHead
from jaxseg.models.region_heads import RegionHeads
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
    return Experiment(
        model=RegionHeads(detector, {"mask": MaskHead(len(train.things), 1 if tiny else 2, features)}),
        task=detection(train.things, coco_metric(partial(coco_truth, val)), config=SHAPES_RCNN, main_metric="mask_ap"),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=train.size, scale=(1.0, 1.0)),
            prepare=Resize(val.size),
            max_instances=6,
            mask_side=28,
        ),
        optimizer=Optimizer(kind="adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=1 if tiny else 50),
        steps=2 if tiny else 1500,
        batch_size=4 if tiny else 16,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 500,
        save_every=1 if tiny else 500,
        log_every=1 if tiny else 20,
    )
