"""DeepLab v2 (ASPP-L on VGG-16) on CamVid (11 classes), on pretrained convolutions; ``--multi-scale``: three
scales, their maximum taken and each trained.

Data: ``--root`` as for unet_camvid; ``--vgg`` an .npz of VGG-16's convolutions trained on BGR images (see
``jaxseg.weights.read_vgg16``), or ``--vgg ""`` to begin from scratch.

    jaxseg train deeplab_v2_camvid --workdir runs/deeplab_v2_camvid --root DIR --vgg FILE         # 360x480
    jaxseg train deeplab_v2_camvid --workdir runs/deeplab_v2_camvid --root DIR --vgg FILE --fast  # half of it, a CPU

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.452 (pixel accuracy 0.821, boundary F 0.320) after 1200 steps of 2
windows in 19 min 37 s, with other work on the cores. Neither three scales nor 360x480 yet.
"""

from flax import linen as nn

from jaxseg.config import Experiment
from jaxseg.models import DeepLabV2, MultiScale
from jaxseg.recipes import camvid_on_vgg16


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
    multi_scale: bool = False,
) -> Experiment:
    fc_features = 8 if tiny else 256 if fast else 1024

    def model(num_classes: int) -> nn.Module:
        network = DeepLabV2(num_classes, base=4 if tiny else 64, fc_features=fc_features)
        return MultiScale(network) if multi_scale else network

    return camvid_on_vgg16(model, root=root, vgg=vgg, tiny=tiny, fast=fast, auxiliary_weight=1.0)
