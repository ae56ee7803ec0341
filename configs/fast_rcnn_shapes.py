"""Fast R-CNN on the built-in drawn shapes: selective search outside, everything else in one network.

    jaxseg train fast_rcnn_shapes --workdir runs/fast_rcnn_shapes

Proposals are found once for each picture, when it is first read (40 ms each), and kept in memory.

Measured on 2 CPU cores, on 200 held-out pictures: box AP 0.693, AP50 0.967, AP75 0.844 (disk 0.756, square 0.668,
triangle 0.627, star 0.664, ring 0.748), after 500 steps in 4 min.
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, InMemory, Propose, Resize, Shapes, coco_truth
from jaxseg.data.proposals import Proposals
from jaxseg.data.selective_search import Strategy, selective_search
from jaxseg.metrics import coco_metric
from jaxseg.models.fast_rcnn import FastRCNN
from jaxseg.nn import GIRSHICK_2015, VGG16
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.tasks import detection
from jaxseg.train import Optimizer

SEARCH: Proposals = partial(selective_search, strategy=Strategy(("hsv", "lab"), ("ctsf",), (100,), 20))
"""Two hierarchies: pictures of 64x64 need no more."""
RULES = GIRSHICK_2015._replace(roi_samples=32, detections=10)


def get_config(tiny: bool = False) -> Experiment:
    train, val = Shapes("train", length=16 if tiny else 1500), Shapes("val", length=8 if tiny else 200)
    propose = Propose(SEARCH, count=16 if tiny else 100, min_side=4)
    pictures, judged = InMemory(train, propose), InMemory(val, propose)
    return Experiment(
        model=FastRCNN(
            len(train.things),
            VGG16(base=4 if tiny else 8, poolings=2, norm="batch"),
            TwoFC(16 if tiny else 256),
            stride=4,
            config=RULES,
        ),
        task=detection(
            train.things, coco_metric(partial(coco_truth, val), ("box",)), config=RULES, main_metric="box_ap"
        ),
        data=Data(
            train=pictures,
            val=judged,
            augment=Augment(size=train.size, scale=(1.0, 1.0)),
            prepare=Propose(SEARCH, count=propose.count, min_side=propose.min_side, after=Resize(val.size)),
            max_instances=6,
        ),
        optimizer=Optimizer("adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=1 if tiny else 50),
        steps=2 if tiny else 500,
        batch_size=4 if tiny else 12,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 250,
        save_every=1 if tiny else 250,
        log_every=1 if tiny else 20,
    )
