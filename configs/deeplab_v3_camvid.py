"""DeepLab v3 on CamVid (11 classes), output stride 16.

Data: ``--root`` as for unet_camvid. ``--weights`` begins with a published backbone (``resnet50_imagenet1k_v2``) or a
file of one.

    jaxseg train deeplab_v3_camvid --workdir runs/deeplab_v3_camvid --root DIR         # 360x480, ResNet-50
    jaxseg train deeplab_v3_camvid --workdir runs/deeplab_v3_camvid --root DIR --fast  # half, a narrow ResNet-18
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import deeplab_v3
from jaxseg.recipes import begin_on_resnet, camvid, resnet_of_size
from jaxseg.train import Optimizer


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, weights: str = ""
) -> Experiment:
    resnet = resnet_of_size(tiny=tiny, fast=fast)
    return camvid(
        partial(deeplab_v3.deeplab_v3, resnet=resnet, output_stride=16, features=8 if tiny else 64 if fast else 256),
        root=root,
        tiny=tiny,
        fast=fast,
        crop=(120, 160) if fast else None,
        optimizer=Optimizer(
            "adamw", learning_rate=2e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 30
        ),
        pretrained=partial(begin_on_resnet, weights) if weights else None,
        steps=1600 if fast else 8000,
        batch_size=4 if fast else 8,
    )
