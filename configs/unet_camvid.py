"""U-Net on CamVid (11 classes), from scratch.

Data: ``--root`` is a folder with ``train/`` and ``val/``, each ``images/`` and ``masks/``, and ``meta.json``.

    jaxseg train unet_camvid --workdir runs/unet_camvid --root DIR            # 360x480, for a GPU or TPU
    jaxseg train unet_camvid --workdir runs/unet_camvid --root DIR --fast   # 180x240, for two CPU cores

Measured: not yet trained; ``--fast`` takes 2.1 to 2.2 s a step of 8 images on 2 CPU cores.
"""

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes, camvid
from jaxseg.models import UNet
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer


def get_config(tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False) -> Experiment:
    train, val = (Shapes(s, length=8) if tiny else camvid(root, s) for s in ("train", "val"))
    size = (64, 64) if tiny else (180, 240) if fast else (360, 480)
    return Experiment(
        model=UNet(
            num_classes=len(train.classes),
            base=4 if tiny else 24 if fast else 64,
            depth=2 if tiny else 4,
            norm="batch",
            dropout=0.1,
        ),
        task=semantic(train.classes, palette=train.palette),
        data=Data(
            train=train,
            val=val,
            augment=Augment(
                size=size, scale=(0.8, 1.6), relative="stretch", brightness=0.2, contrast=0.2, saturation=0.2
            ),
            prepare=Resize(size),
        ),
        optimizer=Optimizer(
            "adamw", learning_rate=2e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 100
        ),
        steps=2 if tiny else 1600 if fast else 8000,
        batch_size=8,
        eval_batch_size=8,
        eval_every=1 if tiny else 400,
        save_every=1 if tiny else 400,
        ema=0.0,
    )
