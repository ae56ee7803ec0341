"""Where are the stars? Localization learnt from pictures with and without a star, and no box (Zhou et al. 2016).

    jaxseg train cam_shapes --workdir runs/cam_shapes [--target disk]
    jaxseg train cam_shapes --workdir runs/cam_max --pool max --begin runs/cam_shapes --steps 200 \
        --optimizer.learning-rate 2e-4

Measured on 2 CPU cores (shared with other work; 2 min 20 s of computing), on 400 held-out pictures, 173 with stars:
the question "is there a star?" is answered rightly for 0.960 (average precision 0.987). The map's maximum lies in the
box of a star in 0.988 of the pictures that have one; the middle of the picture does in 0.301. Boxes above 20 % of the
maximum, the paper's, reach IoU 0.5 for 0.676 (mean IoU 0.573); above 40 %, for 0.879 (0.662); the same centred box for
all, whose sides are 0.5 or 0.6 of the picture's, for 0.081 and 0.075 (0.199, 0.222).

``--pool max``, begun from that: average precision 0.983, pointing 0.960, and boxes round a part of the star only: 0.214
(mean IoU 0.351) at 20 %, 0.618 (0.535) at 40 %. It needs the start and the low rate: from scratch it has
learnt little after 700 steps (average precision 0.54), and at the full rate it still classifies (0.989) but points
anywhere (0.249): each place sees the whole picture, so a maximum may tell of a star that is elsewhere.
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Present, Resize, Shapes
from jaxseg.models.cam import CAMResNet, Pool, boxes_from_maps
from jaxseg.nn.resnet import ResNet
from jaxseg.tasks import classification
from jaxseg.train import Optimizer
from jaxseg.train.evaluate import load_run


def get_config(tiny: bool = False, target: str = "star", pool: Pool = "average", begin: str = "") -> Experiment:
    train = Present(Shapes("train", length=32 if tiny else 4000), (target,))
    val = Present(Shapes("val", length=8 if tiny else 400), (target,), keep_instances=True)
    backbone = ResNet((1, 1, 1, 1), bottleneck=False, base=4 if tiny else 16, output_stride=8)
    return Experiment(
        model=CAMResNet(len(train.classes), backbone, pool),
        task=classification(train.classes, several=True, localize=boxes_from_maps),
        data=Data(
            train=train,
            val=val,
            augment=Augment(train.source.size, scale=(1.0, 1.0)),
            prepare=Resize(val.source.size),
            max_instances=4,
        ),
        optimizer=Optimizer("adamw", learning_rate=2e-3, schedule="cosine"),
        pretrained=partial(begin_as, begin) if begin else None,
        steps=2 if tiny else 700,
        batch_size=8 if tiny else 32,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 350,
        save_every=1 if tiny else 350,
    )


def begin_as(workdir, variables):
    """What the run in ``workdir`` learnt, in place of fresh ``variables``: the two poolings share every parameter."""
    return load_run(workdir)[1]
