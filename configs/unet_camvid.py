"""U-Net on CamVid (11 classes), from scratch.

Data: ``--root`` is a folder with ``train/`` and ``val/``, each ``images/`` and ``masks/`` of one name.

    jaxseg train unet_camvid --workdir runs/unet_camvid --root DIR            # 360x480, for a GPU or TPU
    jaxseg train unet_camvid --workdir runs/unet_camvid --root DIR --fast   # 180x240, for two CPU cores

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.580 (pixel accuracy 0.879, boundary F 0.572) after 5000 steps, in
26 min 58 s from the command to the pictures, 6.5 images/s (docs/semantic.md has the classes, and overlays). Not yet at
360x480.
"""

from functools import partial

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, Augment, Resize, Shapes, camvid
from jaxseg.losses import cross_entropy, frequency_weights
from jaxseg.models import UNet
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer


def get_config(tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False) -> Experiment:
    train, val = (Shapes(s, length=8) if tiny else camvid(root, s) for s in ("train", "val"))
    size = (64, 64) if tiny else (180, 240) if fast else (360, 480)
    weights = None if tiny else frequency_weights(CAMVID_FREQUENCIES)
    return Experiment(
        model=UNet(
            num_classes=len(train.classes),
            base=4 if tiny else 16 if fast else 64,
            depth=2 if tiny else 4,
            norm="batch",
            dropout=0.1,
        ),
        task=semantic(
            train.classes,
            palette=train.palette,
            loss=partial(cross_entropy, class_weights=weights),
            boundary=True,
        ),
        data=Data(
            train=train,
            val=val,
            augment=Augment(
                size=size, scale=(0.85, 1.5), relative="stretch", brightness=0.2, contrast=0.2, saturation=0.2
            ),
            prepare=Resize(size),
        ),
        optimizer=Optimizer(
            "adamw", learning_rate=2e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 30
        ),
        # Many small steps: on a CPU two images cost half of four, and this much data is learnt sooner so.
        steps=2 if tiny else 5000 if fast else 8000,
        batch_size=2 if fast and not tiny else 8,
        eval_batch_size=8,
        eval_every=1 if tiny else 1000,
        save_every=1 if tiny else 500,
    )
