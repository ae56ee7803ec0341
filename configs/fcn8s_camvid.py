"""FCN on CamVid (11 classes), on pretrained VGG-16 convolutions: FCN-8s all at once, or 32s -> 16s -> 8s in stages.

Data: ``--root`` as for unet_camvid; ``--vgg`` an .npz of VGG-16's convolutions trained on BGR images (see
``jaxseg.weights.read_vgg16``), or ``--vgg ""`` to begin from scratch.

    jaxseg train fcn8s_camvid --workdir runs/fcn8s --root DIR --vgg FILE            # 360x480, GPU or TPU
    jaxseg train fcn8s_camvid --workdir runs/fcn8s --root DIR --vgg FILE --fast   # 180x240, two CPU cores

In stages, each beginning with what the coarser net learnt (Long et al. 2015, section 4.2):

    jaxseg train fcn8s_camvid --workdir runs/fcn32s --root DIR --vgg FILE --stride 32
    jaxseg train fcn8s_camvid --workdir runs/fcn16s --root DIR --stride 16 --coarser runs/fcn32s
    jaxseg train fcn8s_camvid --workdir runs/fcn8s --root DIR --stride 8 --coarser runs/fcn16s

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.500 (pixel accuracy 0.847, boundary F 0.376) after 2000 steps of 2
images in 33 min 53 s, 2.1 images/s: scores on a grid of 23x30 see no pole and few people. That was with zooms of 0.8 to
1.6 and saturation left as it is. Not yet at 360x480, nor in stages.
"""

from functools import partial
from typing import Literal

from jaxseg.config import Experiment
from jaxseg.models import FCN, fcn
from jaxseg.recipes import begin_on_vgg16, camvid, on_vgg16
from jaxseg.train.evaluate import load_run


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
    stride: Literal[32, 16, 8] = 8,
    coarser: str = "",
) -> Experiment:
    if coarser:
        pretrained = partial(begin_as, coarser)
    elif vgg and not tiny:
        pretrained = partial(begin_on_vgg16, vgg)
    else:
        pretrained = None
    model = partial(
        FCN,
        stride=stride,
        base=4 if tiny else 64,
        fc_features=8 if tiny else 512 if fast else 4096,
        paper_padding=not (tiny or fast),
        at_once=stride == 8 and not coarser,
    )
    return camvid(
        model,
        root=root,
        tiny=tiny,
        fast=fast,
        crop=(180, 240) if fast else None,
        optimizer=on_vgg16(bool(pretrained)),
        pretrained=pretrained,
        steps=2000 if fast else None,
        batch_size=2 if fast else None,
    )


def begin_as(workdir, variables):
    """Fresh ``variables`` of a finer FCN with all that the coarser one of ``workdir`` learnt."""
    return fcn.transfer(load_run(workdir)[1], variables)
