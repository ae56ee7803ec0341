"""CornerNet, small, on the built-in drawn shapes: boxes as pairs of corners.

    jaxseg train cornernet_shapes --workdir runs/cornernet_shapes

Measured on 2 CPU cores, on 200 held-out pictures: box AP50 0.897, AP 0.740 after 2000 steps of 16 pictures, 7 minutes.
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models.cornernet import CornerNet
from jaxseg.nn.hourglass import StackedHourglass
from jaxseg.tasks import corner_detection
from jaxseg.train import Optimizer


def get_config(tiny: bool = False) -> Experiment:
    train, val = Shapes("train", length=32 if tiny else 4000), Shapes("val", length=8 if tiny else 200)
    channels = (4, 6, 8) if tiny else (48, 64, 96)
    backbone = StackedHourglass(channels, (1, 1, 1), stacks=1, stem=channels[0])
    return Experiment(
        model=CornerNet(len(train.things), backbone, channels[0], corners=20, detections=20),
        task=corner_detection(train.things, coco_metric(partial(coco_truth, val), ("box",))),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=train.size, scale=(1.0, 1.0)),
            prepare=Resize(val.size),
            max_instances=6,
        ),
        optimizer=Optimizer(kind="adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=1 if tiny else 50),
        steps=2 if tiny else 2000,
        batch_size=4 if tiny else 16,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 500,
        save_every=1 if tiny else 500,
        log_every=1 if tiny else 20,
    )
