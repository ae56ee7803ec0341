"""Small experiments for tests."""

import dataclasses

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes
from jaxseg.models import UNet
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer


def tiny_experiment(**changes) -> Experiment:
    """A U-Net of a few hundred parameters on 32x32 shapes: compiles in seconds, steps in milliseconds."""
    train = Shapes("train", size=(32, 32), length=40)
    experiment = Experiment(
        model=UNet(num_classes=len(train.classes), base=4, depth=1, norm="batch", dropout=0.2),
        task=semantic(train.classes, palette=train.palette),
        data=Data(
            train=train,
            val=Shapes("val", size=(32, 32), length=10),
            augment=Augment(size=(32, 32)),
            prepare=Resize((32, 32)),
            num_threads=1,
        ),
        optimizer=Optimizer(learning_rate=0.01),
        steps=6,
        batch_size=8,
        eval_batch_size=8,
        eval_every=3,
        save_every=2,
        log_every=2,
        devices=1,
    )
    return dataclasses.replace(experiment, **changes)
