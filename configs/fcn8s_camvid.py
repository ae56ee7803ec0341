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
images in 33 min 53 s, 2.1 images/s: scores on a grid of 23x30 see no pole and few people. Not yet at 360x480, nor in
stages.
"""

from functools import partial
from typing import Literal

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, Augment, Resize, Shapes, camvid
from jaxseg.losses import cross_entropy, frequency_weights
from jaxseg.models import FCN, fcn
from jaxseg.recipes import VGG16_RATES, begin_on_vgg16
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer
from jaxseg.train.evaluate import load_run


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
    stride: Literal[32, 16, 8] = 8,
    coarser: str = "",
) -> Experiment:
    train, val = (Shapes(s, length=8) if tiny else camvid(root, s) for s in ("train", "val"))
    size = (64, 64) if tiny else (180, 240) if fast else (360, 480)
    weights = None if tiny else frequency_weights(CAMVID_FREQUENCIES)
    if coarser:
        pretrained = partial(begin_as, coarser)
    elif vgg and not tiny:
        pretrained = partial(begin_on_vgg16, vgg)
    else:
        pretrained = None
    return Experiment(
        model=FCN(
            num_classes=len(train.classes),
            stride=stride,
            base=4 if tiny else 64,
            fc_features=8 if tiny else 512 if fast else 4096,
            paper_padding=not (tiny or fast),
            at_once=stride == 8 and not coarser,
        ),
        task=semantic(
            train.classes,
            palette=train.palette,
            loss=partial(cross_entropy, class_weights=weights),
            boundary=True,
        ),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=size, scale=(0.8, 1.6), relative="stretch", brightness=0.2, contrast=0.2),
            prepare=Resize(size),
        ),
        optimizer=Optimizer(
            "adamw",
            learning_rate=5e-4,
            weight_decay=1e-2,
            schedule="poly",
            warmup_steps=1 if tiny else 50,
            rates=VGG16_RATES if pretrained else (),
        ),
        pretrained=pretrained,
        steps=2 if tiny else 2000 if fast else 8000,
        batch_size=2 if fast and not tiny else 8,
        eval_batch_size=8,
        eval_every=1 if tiny else 500,
        save_every=1 if tiny else 500,
    )


def begin_as(workdir, variables):
    """Fresh ``variables`` of a finer FCN with all that the coarser one of ``workdir`` learnt."""
    return fcn.transfer(load_run(workdir)[1], variables)
