"""What several configs share: rules, and functions that make an experiment of a model (every field can be replaced)."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flax import linen as nn

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, Augment, Coco, Resize, Shapes
from jaxseg.data import camvid as camvid_folder
from jaxseg.losses import cross_entropy, frequency_weights
from jaxseg.models.faster_rcnn import FasterRCNN
from jaxseg.models.mask_rcnn import MaskHead
from jaxseg.models.region_heads import RegionHeads
from jaxseg.names import names_in
from jaxseg.nn import FPN, TORCHVISION, ResNet, ResNet18, ResNet50, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer
from jaxseg.types import Array, Task
from jaxseg.weights import PUBLISHED, load, packed, read_vgg16, torchvision, with_vgg16

VGG16_RATES = (("^vgg/conv[12]_", 0.0), ("^vgg/", 0.1))
"""For ``Optimizer.rates`` on a pretrained VGG-16: its first two stages stay, the others move more slowly than the new
layers."""


def begin_on_vgg16(file: str, variables: Mapping[str, Any], part: str = "vgg") -> dict[str, Any]:
    """Fresh ``variables`` with VGG-16's convolutions, at the path ``part`` of the model, from a ``file`` that was
    trained on BGR images."""
    return with_vgg16(variables, read_vgg16(file, bgr=True), part)


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
    task: Callable[[Any], Task],
    *,
    tiny: bool = False,
    steps: int = 1500,
    pictures: int = 4000,
    mask_side: int | None = None,
    source: Callable[[Shapes], Any] = lambda shapes: shapes,
) -> Experiment:
    """A detector on the built-in drawn shapes, 64x64: trained by AdamW on ``pictures``, ``steps`` of 16, and judged
    on 200 others, the source that ``task`` is made with. ``mask_side``: of masks in their boxes, for models that learn
    them. ``source``: what is made of the shapes first.
    """
    shapes = Shapes("train", length=32 if tiny else pictures), Shapes("val", length=8 if tiny else 200)
    train, val = map(source, shapes)
    return Experiment(
        model=model,
        task=task(val),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=shapes[0].size, scale=(1.0, 1.0)),
            prepare=Resize(shapes[1].size),
            max_instances=6,
            mask_side=mask_side,
        ),
        optimizer=Optimizer("adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=1 if tiny else 50),
        steps=2 if tiny else steps,
        batch_size=4 if tiny else 16,
        eval_batch_size=8 if tiny else 40,
        eval_every=2 if tiny else 500,
        save_every=1 if tiny else 500,
        log_every=1 if tiny else 20,
    )


def nuclei(root: str, *, tiny: bool = False, classes: str = "nucleus") -> tuple[Any, Any]:
    """``(train, val)`` of nuclei under the microscope (2018 Data Science Bowl): ``root`` has the folders ``train`` and
    ``val``, each with ``images`` and ``instances.json`` (COCO's format) of ``classes``, with commas between. ``tiny``:
    drawn shapes in their place.
    """
    if tiny:
        return Shapes("train", length=8), Shapes("val", length=8)
    names = names_in(classes)
    train, val = (Coco(Path(root, s, "images"), Path(root, s, "instances.json"), names=names) for s in ("train", "val"))
    return train, val


NUCLEI_RCNN = TORCHVISION._replace(
    anchor_sizes=((16,), (32,), (64,), (128,), (256,)),
    aligned=True,
    pre_nms=(1000, 1000),
    post_nms=(500, 1000),
    roi_samples=128,
    roi_positive_fraction=0.5,
    detections=400,
)
"""For pictures of 1024x1024 with up to 375 objects, most of 8 to 100 pixels."""


def mask_rcnn_for_nuclei(classes: int, *, tiny: bool = False, fast: bool = False) -> RegionHeads:
    """Mask R-CNN on ResNet-50 (``fast``: on half of ResNet-18, pyramid and heads narrower too)."""
    small = NUCLEI_RCNN._replace(roi_samples=64, pre_nms=(500, 1000), post_nms=(300, 600))
    tiniest = small._replace(rpn_samples=16, roi_samples=8, pre_nms=(50, 50), post_nms=(20, 20), detections=10)
    features, base = (8, 4) if tiny else (64, 32) if fast else (256, 64)
    narrow = ResNet((1, 1, 1, 1), bottleneck=False, base=base) if tiny else ResNet18(base=base)
    detector = FasterRCNN(
        classes,
        ResNetFPN(narrow if tiny or fast else ResNet50(), FPN(features)),
        TwoFC(1024 if features == 256 else 4 * features),
        tiniest if tiny else small if fast else NUCLEI_RCNN,
    )
    return RegionHeads(detector, {"mask": MaskHead(classes, 1 if tiny else 4, features)})


def detector_on_nuclei(
    model: nn.Module,
    task: Task,
    sources: tuple[Any, Any],
    *,
    tiny: bool = False,
    fast: bool = False,
    steps: int | None = None,
    mask_side: int | None = None,
    weights: str = "",
    part: str = "detector/backbone/resnet",
) -> Experiment:
    """A detector on nuclei, at most 400 a picture: judged on pictures made 1024x1024 (``fast``: 512x512), trained on
    square windows of half that side, zoomed by 0.65 to 1.3, by AdamW; 20000 steps of 8 (``fast``: 4000 of 4).

    ``weights``, if given: a file of weights of such a detector (``nuclei``), whose scores of other classes are left
    out, or else :func:`begin_on_resnet` at the path ``part`` of the model.
    """
    side = 64 if tiny else 512 if fast else 1024
    steps = 2 if tiny else steps or (4000 if fast else 20000)
    train, val = sources
    return Experiment(
        model=model,
        task=task,
        data=Data(
            train=train,
            val=val,
            augment=Augment(
                size=(side // 2, side // 2), relative="fit", scale=(1.3, 2.6), brightness=0.2, contrast=0.2
            ),
            prepare=Resize((side, side), mode="pad"),
            max_instances=10 if tiny else 400,
            mask_side=mask_side,
        ),
        optimizer=Optimizer(
            "adamw", learning_rate=1e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 100
        ),
        pretrained=partial(_begin_on, weights, part=part) if weights else None,
        steps=steps,
        batch_size=2 if tiny else 4 if fast else 8,
        eval_batch_size=4,
        eval_every=max(steps // 4, 1),
        save_every=max(steps // 8, 1),
    )


def _begin_on(weights: str, variables: Mapping[str, Any], part: str) -> dict[str, Any]:
    if packed.is_packed(weights):
        return load(weights, variables, exempt=(r"/box_predictor/", r"/mask_fcn_logits/"))
    return begin_on_resnet(weights, variables, part)


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
