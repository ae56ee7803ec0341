"""DeepLab v3 on CamVid (11 classes), output stride 16.

Data: ``--root`` as for unet_camvid. ``--weights`` begins with a published backbone (``resnet50_imagenet1k_v2``) or a
file of one.

    jaxseg train deeplab_v3_camvid --workdir runs/deeplab_v3_camvid --root DIR         # 360x480, ResNet-50
    jaxseg train deeplab_v3_camvid --workdir runs/deeplab_v3_camvid --root DIR --fast  # half, a narrow ResNet-18

Measured: ``--fast`` on 2 CPU cores, from scratch: val mIoU 0.506 (pixel accuracy 0.848, boundary F 0.372) after 2400
steps of 4 windows in 4 min 52 s, 35.8 images/s. Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import deeplab_v3
from jaxseg.recipes import camvid_on_resnet


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, weights: str = ""
) -> Experiment:
    model = partial(deeplab_v3.deeplab_v3, output_stride=16, features=8 if tiny else 64 if fast else 256)
    return camvid_on_resnet(model, root=root, weights=weights, tiny=tiny, fast=fast)
