"""FusionNet on CamVid (11 classes), from scratch.

Data: ``--root`` as for unet_camvid.

    jaxseg train fusionnet_camvid --workdir runs/fusionnet_camvid --root DIR            # 360x480, GPU or TPU
    jaxseg train fusionnet_camvid --workdir runs/fusionnet_camvid --root DIR --fast   # 180x240, two CPU cores

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.324 (pixel accuracy 0.694, boundary F 0.318) after 1500 steps of 2
windows in 10 min 48 s, 5.0 images/s. Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import FusionNet
from jaxseg.recipes import camvid


def get_config(tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False) -> Experiment:
    model = partial(FusionNet, base=4 if tiny else 16 if fast else 64, depth=2 if tiny else 4)
    batch_size = 2 if fast else None
    return camvid(model, root=root, tiny=tiny, fast=fast, steps=1500 if fast else None, batch_size=batch_size)
