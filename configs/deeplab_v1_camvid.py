"""DeepLab v1 (LargeFOV) on CamVid (11 classes), on pretrained VGG-16 convolutions.

Data: ``--root`` as for unet_camvid; ``--vgg`` an .npz of VGG-16's convolutions trained on BGR images (see
``jaxseg.weights.read_vgg16``), or ``--vgg ""`` to begin from scratch.

    jaxseg train deeplab_v1_camvid --workdir runs/deeplab_v1_camvid --root DIR --vgg FILE         # 360x480
    jaxseg train deeplab_v1_camvid --workdir runs/deeplab_v1_camvid --root DIR --vgg FILE --fast  # half of it, a CPU

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.429 (pixel accuracy 0.824, boundary F 0.278) after 1200 steps of 2
windows in 12 min 45 s (it was paused for some of it), 4.6 images/s. Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import DeepLabV1
from jaxseg.recipes import camvid_on_vgg16


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
) -> Experiment:
    model = partial(DeepLabV1, base=4 if tiny else 64, fc_features=8 if tiny else 512 if fast else 1024)
    return camvid_on_vgg16(model, root=root, vgg=vgg, tiny=tiny, fast=fast)
