"""Deep contextual network on CamVid (11 classes), on pretrained VGG-16 convolutions.

Data: ``--root`` as for unet_camvid; ``--vgg`` an .npz of VGG-16's convolutions trained on BGR images (see
``jaxseg.weights.read_vgg16``), or ``--vgg ""`` to begin from scratch.

    jaxseg train contextual_camvid --workdir runs/contextual_camvid --root DIR --vgg FILE         # 360x480
    jaxseg train contextual_camvid --workdir runs/contextual_camvid --root DIR --vgg FILE --fast  # half of it, a CPU

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.383 (pixel accuracy 0.834, boundary F 0.292) after 1200 steps of 2
windows in 10 min 27 s, 4.4 images/s. Not yet at 360x480.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import ContextualNet, contextual
from jaxseg.recipes import camvid_on_vgg16


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
) -> Experiment:
    return camvid_on_vgg16(
        partial(ContextualNet, base=4 if tiny else 64, branch_features=4 if tiny else 16 if fast else 64),
        root=root,
        vgg=vgg,
        tiny=tiny,
        fast=fast,
        auxiliary_weight=contextual.auxiliary_weight(every=300 if fast else 3000),
    )
