"""U-Net on CamVid (11 classes), from scratch.

Data: ``--root`` is a folder with ``train/`` and ``val/``, each ``images/`` and ``masks/`` of one name.

    jaxseg train unet_camvid --workdir runs/unet_camvid --root DIR            # 360x480, for a GPU or TPU
    jaxseg train unet_camvid --workdir runs/unet_camvid --root DIR --fast   # 180x240, for two CPU cores

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.580 (pixel accuracy 0.879, boundary F 0.572) after 5000 steps, in
26 min 58 s from the command to the pictures, 6.5 images/s (docs/benchmarks/camvid.md has the classes, and overlays).
Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import UNet
from jaxseg.recipes import camvid


def get_config(tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False) -> Experiment:
    return camvid(
        partial(UNet, base=4 if tiny else 16 if fast else 64, depth=2 if tiny else 4, norm="batch", dropout=0.1),
        root=root,
        tiny=tiny,
        fast=fast,
        # Many small steps: on a CPU two images cost half of four, and this much data is learnt sooner so.
        crop=(180, 240) if fast else None,
        steps=5000 if fast else None,
        batch_size=2 if fast else None,
    )
