"""DeepLab v2 (ASPP-L on VGG-16) on CamVid (11 classes), on pretrained convolutions; ``--multi-scale``: three
scales, their maximum taken and each trained.

Data: ``--root`` as for unet_camvid; ``--vgg`` an .npz of VGG-16's convolutions trained on BGR images (see
``jaxseg.weights.read_vgg16``), or ``--vgg ""`` to begin from scratch.

    jaxseg train deeplab_v2_camvid --workdir runs/deeplab_v2_camvid --root DIR --vgg FILE         # 360x480
    jaxseg train deeplab_v2_camvid --workdir runs/deeplab_v2_camvid --root DIR --vgg FILE --fast  # half of it, a CPU
"""

from functools import partial

from flax import linen as nn

from jaxseg.config import Experiment
from jaxseg.models import DeepLabV2, MultiScale
from jaxseg.recipes import VGG16_RATES, begin_on_vgg16, camvid
from jaxseg.train import Optimizer


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
    multi_scale: bool = False,
) -> Experiment:
    pretrained = partial(begin_on_vgg16, vgg) if vgg and not tiny else None
    fc_features = 8 if tiny else 256 if fast else 1024

    def model(num_classes: int) -> nn.Module:
        network = DeepLabV2(num_classes, base=4 if tiny else 64, fc_features=fc_features)
        return MultiScale(network) if multi_scale else network

    return camvid(
        model,
        root=root,
        tiny=tiny,
        fast=fast,
        crop=(120, 160) if fast else None,
        auxiliary_weight=1.0,
        optimizer=Optimizer(
            "adamw",
            learning_rate=5e-4,
            weight_decay=1e-2,
            schedule="poly",
            warmup_steps=1 if tiny else 50,
            rates=VGG16_RATES if pretrained else (),
        ),
        pretrained=pretrained,
        steps=800 if fast else 8000,
        batch_size=4 if fast else 8,
    )
