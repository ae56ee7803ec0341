"""FusionNet on CamVid (11 classes), from scratch.

Data: ``--root`` as for unet_camvid.

    jaxseg train fusionnet_camvid --workdir runs/fusionnet_camvid --root DIR            # 360x480, GPU or TPU
    jaxseg train fusionnet_camvid --workdir runs/fusionnet_camvid --root DIR --fast   # 180x240, two CPU cores
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import FusionNet
from jaxseg.recipes import camvid
from jaxseg.train import Optimizer


def get_config(tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False) -> Experiment:
    return camvid(
        partial(FusionNet, base=4 if tiny else 16 if fast else 64, depth=2 if tiny else 4),
        root=root,
        tiny=tiny,
        fast=fast,
        crop=(120, 160) if fast else None,
        optimizer=Optimizer(
            "adamw", learning_rate=2e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 30
        ),
        steps=1600 if fast else 8000,
        batch_size=4 if fast else 8,
    )
