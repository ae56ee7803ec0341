"""Nine 3x3 convolutions at full resolution on the drawn shapes: the network that the course shows first.

Its receptive field is 19 pixels: it tells textures, and guesses at shapes. Compare with unet_shapes.

    jaxseg train full_resolution_shapes --workdir runs/full_resolution_shapes

Measured on 2 CPU cores: mIoU 0.825 on 200 held-out images in 3 min 36 s, 42 images/s; textures (grass, water, brick)
0.92 to 0.93, things told by their outline (square, triangle, star) 0.67 to 0.71. U-Net: 0.899, 73 images/s.
"""

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes
from jaxseg.losses import cross_entropy_and_dice
from jaxseg.models import FullResolution
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer


def get_config(tiny: bool = False) -> Experiment:
    train, val = Shapes("train", length=32 if tiny else 4000), Shapes("val", length=8 if tiny else 200)
    return Experiment(
        model=FullResolution(len(train.classes), features=4 if tiny else 32, depth=9, norm="batch"),
        task=semantic(train.classes, palette=train.palette, loss=cross_entropy_and_dice),
        data=Data(train=train, val=val, augment=Augment(train.size, scale=(1.0, 1.0)), prepare=Resize(val.size)),
        optimizer=Optimizer("adamw", learning_rate=4e-3, schedule="cosine"),
        steps=2 if tiny else 1000,
        batch_size=8,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 250,
        save_every=1 if tiny else 250,
    )
