"""U-Net on a ResNet (segmentation_models.pytorch's form) on CamVid (11 classes).

Data: ``--root`` as for unet_camvid. ``--weights`` begins with a published backbone (``resnet50_imagenet1k_v2``) or a
file of one.

    jaxseg train unet_resnet_camvid --workdir runs/unet_resnet --root DIR         # 360x480, ResNet-50
    jaxseg train unet_resnet_camvid --workdir runs/unet_resnet --root DIR --fast  # half, a narrow ResNet-18

Measured: ``--fast`` on 2 CPU cores, from scratch: val mIoU 0.484 (pixel accuracy 0.824, boundary F 0.468) after 2400
steps of 4 windows in 9 min 41 s, 17.8 images/s. Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import unet_resnet
from jaxseg.recipes import camvid_on_resnet


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, weights: str = ""
) -> Experiment:
    features = (8, 8, 8, 4, 4) if tiny else (128, 64, 32, 32, 16) if fast else (256, 128, 64, 32, 16)
    model = partial(unet_resnet.unet_resnet, features=features)
    return camvid_on_resnet(model, root=root, weights=weights, tiny=tiny, fast=fast)
