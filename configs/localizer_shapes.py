"""Which shape is it, where is its box, and where are its tip and sides? Two heads, and joints as a third.

    jaxseg train localizer_shapes --workdir runs/localizer_shapes [--box-weight 1] [--joint-weight 2]

Measured on 2 CPU cores (shared with other work; 2 min 45 s of computing), on 400 held-out pictures of one shape each:
class right for 0.915, IoU of the box at least 0.5 for 0.963 (mean 0.702), both for 0.888; 0.740 of the joints lie
within a fifth of the box's longer side (centre 0.880, tip 0.866, left 0.596, right 0.597).
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, MainObject, Resize, Shapes
from jaxseg.losses import smooth_l1
from jaxseg.models.localizer import Localizer
from jaxseg.nn.resnet import ResNet
from jaxseg.tasks import localization
from jaxseg.train import Optimizer


def get_config(tiny: bool = False, box_weight: float = 1.0, joint_weight: float = 2.0) -> Experiment:
    train = MainObject(Shapes("train", length=32 if tiny else 4000, count=(1, 1)))
    val = MainObject(Shapes("val", length=8 if tiny else 400, count=(1, 1)))
    joints = train.source.keypoint_names
    backbone = ResNet((1, 1, 1, 1), bottleneck=False, base=4 if tiny else 16, output_stride=8)
    return Experiment(
        model=Localizer(len(train.classes), backbone, joints=len(joints), grid=8, hidden=(256,), dropout=0.0),
        task=localization(
            train.classes,
            regression=partial(smooth_l1, beta=0.05),
            box_weight=box_weight,
            joint_weight=joint_weight,
            joints=joints,
            alpha=0.2,
        ),
        data=Data(
            train=train,
            val=val,
            augment=Augment(train.source.size, scale=(1.0, 1.0)),
            prepare=Resize(val.source.size),
            max_instances=1,
        ),
        optimizer=Optimizer("adamw", learning_rate=1e-3, schedule="cosine"),
        steps=2 if tiny else 1500,
        batch_size=8 if tiny else 16,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 750,
        save_every=1 if tiny else 750,
    )
