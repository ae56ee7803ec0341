"""Where are the stars? Localization learnt from pictures with and without a star, and no box (Zhou et al. 2016).

jaxseg train cam_shapes --workdir runs/cam_shapes [--target disk] [--pool max]
"""

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Present, Resize, Shapes
from jaxseg.models.cam import CAMResNet, boxes_from_maps
from jaxseg.nn.resnet import ResNet
from jaxseg.tasks import classification
from jaxseg.train import Optimizer


def get_config(tiny: bool = False, target: str = "star", pool: str = "average") -> Experiment:
    train = Present(Shapes("train", length=32 if tiny else 4000), (target,))
    val = Present(Shapes("val", length=8 if tiny else 400), (target,), keep_instances=True)
    backbone = ResNet((1, 1, 1, 1), bottleneck=False, base=4 if tiny else 16, output_stride=8)
    return Experiment(
        model=CAMResNet(1, backbone, pool="max" if pool == "max" else "average"),
        task=classification(train.classes, several=True, localize=boxes_from_maps),
        data=Data(
            train=train,
            val=val,
            augment=Augment(train.source.size, scale=(1.0, 1.0)),
            prepare=Resize(val.source.size),
            max_instances=4,
        ),
        optimizer=Optimizer("adamw", learning_rate=2e-3, schedule="cosine"),
        steps=2 if tiny else 700,
        batch_size=8 if tiny else 32,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 350,
        save_every=1 if tiny else 350,
    )
