"""PSPNet on CamVid (11 classes), output stride 8, auxiliary loss 0.4.

Data: ``--root`` as for unet_camvid. ``--weights`` begins with a published backbone (``resnet50_imagenet1k_v2``) or a
file of one.

    jaxseg train pspnet_camvid --workdir runs/pspnet_camvid --root DIR         # 360x480, ResNet-50
    jaxseg train pspnet_camvid --workdir runs/pspnet_camvid --root DIR --fast  # half, a narrow ResNet-18

Measured: ``--fast`` on 2 CPU cores, from scratch: val mIoU 0.529 (pixel accuracy 0.855, boundary F 0.448) after 2400
steps of 4 windows in 9 min 58 s, 17.2 images/s. Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import pspnet
from jaxseg.recipes import camvid_on_resnet


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, weights: str = ""
) -> Experiment:
    model = partial(pspnet.pspnet, features=8 if tiny else 128 if fast else 512)
    return camvid_on_resnet(model, root=root, weights=weights, tiny=tiny, fast=fast)
