"""Images of your own with label masks, in folders: DeepLab v3 fine-tuned from published weights, or a small U-Net.

Data: ``--root`` has the folders ``train`` and ``val``, each with ``images`` and ``masks``: PNGs of class indices, named
as the images; 255 is void. ``jaxseg data inspect`` finds what is wrong with them.

    jaxseg train semantic_folder --workdir runs/mine --root DIR --classes road,house         # 512x512, DeepLab v3
    jaxseg train semantic_folder --workdir runs/mine --root DIR --classes road,house --fast  # 128x128, a small U-Net
    jaxseg train semantic_folder --workdir runs/mine --root DIR --classes road,house --window 512  # large pictures

DeepLab v3 begins with torchvision's ``deeplabv3_resnet50_coco_with_voc_labels_v1`` but for its last layer; the U-Net is
trained from scratch, for a CPU or a first look. Pictures are made to fit; training sees square windows of them, zoomed
by 0.7 to 2. With ``--window`` nothing is made to fit: training sees windows of the pictures as they are, zoomed by 0.7
to 1.4, validation such windows side by side, and ``jaxseg predict`` works in tiles of that size.

Measured with ``--fast --steps 1000`` (half of its own) on CamVid's 11 classes, on 2 slow CPU cores beside other work:
mIoU 0.413, pixel accuracy 0.863 (road 0.917, car 0.432; poles and people are lost at 128x128) in 18 minutes. DeepLab v3
was not measured here: its published weights were out of reach.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Folder, Pad, Resize, Shapes, Windows
from jaxseg.models import DeepLabV3ResNet50, UNet
from jaxseg.names import names_in
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer
from jaxseg.weights import load

WEIGHTS = "deeplabv3_resnet50_coco_with_voc_labels_v1"


def get_config(
    tiny: bool = False, root: str = "data", classes: str = "background,object", fast: bool = False, window: int = 0
) -> Experiment:
    names = names_in(classes)
    train, val = (
        Shapes(part, length=8) if tiny else Folder(Path(root, part, "images"), Path(root, part, "masks"), names)
        for part in ("train", "val")
    )
    small, side = tiny or fast, window or (64 if tiny else 128 if fast else 512)
    augment = Augment((side, side), (0.7, 2.0), "fit", brightness=0.2, contrast=0.2, saturation=0.2)
    prepare = Resize((side, side), mode="pad")
    if window:
        augment = replace(augment, scale=(0.7, 1.4), relative="pixels")
        val, prepare = Windows(val, (side, side)), Pad((side, side))
    unet = UNet(len(train.classes), base=4 if tiny else 16, depth=2 if tiny else 4, norm="batch")
    return Experiment(
        model=unet if small else DeepLabV3ResNet50(len(train.classes)),
        task=semantic(train.classes, palette=train.palette),
        data=Data(
            train=train,
            val=val,
            augment=augment,
            prepare=prepare,
        ),
        optimizer=Optimizer(
            "adamw",
            learning_rate=2e-3 if small else 2e-4,
            weight_decay=1e-2,
            schedule="cosine",
            warmup_steps=1 if tiny else 50,
        ),
        pretrained=None if small else partial(load, WEIGHTS, fresh="score"),
        steps=2 if tiny else 2000 if fast else 4000,
        batch_size=2 if tiny else 8,
        eval_every=2 if tiny else 500,
    )
