"""FCN on a dilated ResNet (torchvision's form) on CamVid (11 classes).

Data: ``--root`` as for unet_camvid. ``--weights`` begins with a published backbone (``resnet50_imagenet1k_v2``) or a
file of one.

    jaxseg train fcn_resnet_camvid --workdir runs/fcn_resnet_camvid --root DIR         # 360x480, ResNet-50
    jaxseg train fcn_resnet_camvid --workdir runs/fcn_resnet_camvid --root DIR --fast  # half, a narrow ResNet-18

Measured: ``--fast`` on 2 CPU cores, from scratch: val mIoU 0.548 (pixel accuracy 0.870, boundary F 0.465) after 2400
steps of 4 windows in 9 min 11 s, 19.3 images/s. Not yet at 360x480.
"""

from jaxseg.config import Experiment
from jaxseg.models import fcn
from jaxseg.recipes import camvid_on_resnet


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, weights: str = ""
) -> Experiment:
    return camvid_on_resnet(fcn.fcn_resnet, root=root, weights=weights, tiny=tiny, fast=fast)
