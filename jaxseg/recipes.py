"""What several configs share: rules, and functions that make an experiment of a model (every field can be replaced)."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flax import linen as nn

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, Augment, Resize, Shapes
from jaxseg.data import camvid as camvid_folder
from jaxseg.losses import cross_entropy, frequency_weights
from jaxseg.nn import TORCHVISION, ResNet, ResNet18, ResNet50
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer
from jaxseg.types import Array, Task
from jaxseg.weights import PUBLISHED, load, read_vgg16, torchvision, with_vgg16

VGG16_RATES = (("^vgg/conv[12]_", 0.0), ("^vgg/", 0.1))
"""For ``Optimizer.rates`` on a pretrained VGG-16: its first two stages stay, the others move more slowly than the new
layers."""


def begin_on_vgg16(file: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fresh ``variables`` with VGG-16's convolutions from a ``file`` that was trained on BGR images."""
    return with_vgg16(variables, read_vgg16(file, bgr=True))


SHAPES_RCNN = TORCHVISION._replace(
    anchor_sizes=((8,), (16,), (32,), (64,), (128,)),
    aligned=True,
    rpn_samples=64,
    pre_nms=(200, 200),
    post_nms=(100, 50),
    roi_samples=32,
    roi_positive_fraction=0.5,
    detections=10,
)
"""torchvision's numbers made small: pictures of 64x64 with two to four shapes of 20 to 36 pixels."""


def detector_on_shapes(
    model: nn.Module,
    task: Callable[[Shapes], Task],
    *,
    tiny: bool = False,
    steps: int = 1500,
    mask_side: int | None = None,
) -> Experiment:
    """A detector on the built-in drawn shapes, 64x64: trained by AdamW on 4000 pictures, ``steps`` of 16, and judged on
    200 others, the source that ``task`` is made with. ``mask_side``: of masks in their boxes, for models that learn
    them.
    """
    train, val = Shapes("train", length=32 if tiny else 4000), Shapes("val", length=8 if tiny else 200)
    return Experiment(
        model=model,
        task=task(val),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=train.size, scale=(1.0, 1.0)),
            prepare=Resize(val.size),
            max_instances=6,
            mask_side=mask_side,
        ),
        optimizer=Optimizer("adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=1 if tiny else 50),
        steps=2 if tiny else steps,
        batch_size=4 if tiny else 16,
        eval_batch_size=8 if tiny else 40,
        eval_every=1 if tiny else 500,
        save_every=1 if tiny else 500,
        log_every=1 if tiny else 20,
    )


def begin_on_resnet(weights: str, variables: Mapping[str, Any], part: str = "backbone") -> dict[str, Any]:
    """Fresh ``variables`` with the backbone that torchvision published (``resnet50_imagenet1k_v2``), or a file's, at
    the path ``part`` of the model.
    """
    if weights in PUBLISHED:
        return load(weights, variables, part=part)
    return load(weights, variables, part=part, patterns=torchvision.RESNET, exempt=(r"^fc\.",))


def on_vgg16(pretrained: bool, learning_rate: float = 5e-4, warmup_steps: int = 50) -> Optimizer:
    """For a network on VGG-16, whose ``pretrained`` convolutions move less than the new layers."""
    return Optimizer(
        "adamw",
        learning_rate=learning_rate,
        weight_decay=1e-2,
        schedule="poly",
        warmup_steps=warmup_steps,
        rates=VGG16_RATES if pretrained else (),
    )


def camvid(
    model: Callable[[int], nn.Module],
    *,
    root: str,
    tiny: bool = False,
    fast: bool = False,
    crop: tuple[int, int] | None = None,
    loss: Callable[[Array, Array], Array] | None = None,
    auxiliary_weight: Any = 0.4,
    optimizer: Optimizer | None = None,
    pretrained: Any = None,
    steps: int | None = None,
    batch_size: int | None = None,
) -> Experiment:
    """A semantic model (``num_classes -> module``) on CamVid: 360x480, or ``fast``: half of that, for a CPU.

    Trained on windows of ``crop`` (height, width; by default the whole size, ``fast``: two thirds of it) of the image
    zoomed by 0.85 to 1.5, mirrored and with its light and colour changed, by the cross-entropy with rare classes
    weighing more unless ``loss`` is given, and by AdamW as a network from scratch learns well unless ``optimizer`` is;
    8000 steps of 8 images (``fast``: 2400 of 4); scored on whole images, boundary scores included. ``tiny`` has drawn
    shapes in CamVid's place, and two steps.
    """
    train, val = (Shapes(s, length=8) if tiny else camvid_folder(root, s) for s in ("train", "val"))
    size = (64, 64) if tiny else (180, 240) if fast else (360, 480)
    crop = size if tiny else crop or ((120, 160) if fast else size)
    zoom = 0.5 if fast and not tiny else 1.0
    steps = 2 if tiny else steps or (2400 if fast else 8000)
    weights = None if tiny else frequency_weights(CAMVID_FREQUENCIES)
    optimizer = optimizer or Optimizer(
        "adamw", learning_rate=2e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=30
    )
    return Experiment(
        model=model(len(train.classes)),
        task=semantic(
            train.classes,
            palette=train.palette,
            loss=loss or partial(cross_entropy, class_weights=weights),
            auxiliary_weight=auxiliary_weight,
            boundary=True,
        ),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=crop, scale=(0.85 * zoom, 1.5 * zoom), brightness=0.2, contrast=0.2, saturation=0.2),
            prepare=Resize(size),
        ),
        optimizer=dataclasses.replace(optimizer, warmup_steps=1) if tiny else optimizer,
        pretrained=pretrained,
        steps=steps,
        batch_size=2 if tiny else batch_size or (4 if fast else 8),
        eval_batch_size=4 if tiny else 8,
        eval_every=max(steps // 4, 1),
        save_every=max(steps // 8, 1),
    )


def camvid_on_vgg16(
    model: Callable[[int], nn.Module],
    *,
    vgg: str,
    tiny: bool = False,
    fast: bool = False,
    **settings: Any,
) -> Experiment:
    """:func:`camvid`, begun with VGG-16's convolutions from the file ``vgg`` ("": from scratch); ``fast``: 1200 steps
    of 2 images.
    """
    pretrained = partial(begin_on_vgg16, vgg) if vgg and not tiny else None
    return camvid(
        model,
        tiny=tiny,
        fast=fast,
        optimizer=on_vgg16(bool(pretrained)),
        pretrained=pretrained,
        steps=1200 if fast else None,
        batch_size=2 if fast else None,
        **settings,
    )


def camvid_on_resnet(
    model: Callable[..., nn.Module], *, weights: str, tiny: bool = False, fast: bool = False, **settings: Any
) -> Experiment:
    """:func:`camvid` for a model that takes the kind of its ``resnet``: ResNet-50, ``fast``: ResNet-18 of half the
    width, ``tiny``: one narrow block a stage. Begun with ``weights``, see :func:`begin_on_resnet` ("": from scratch).
    """
    if tiny:
        resnet = partial(ResNet, (1, 1, 1, 1), bottleneck=False, base=4)
    else:
        resnet = partial(ResNet18, base=32) if fast else ResNet50
    pretrained = partial(begin_on_resnet, weights) if weights else None
    return camvid(partial(model, resnet=resnet), tiny=tiny, fast=fast, pretrained=pretrained, **settings)
