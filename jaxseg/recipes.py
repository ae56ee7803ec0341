"""What several configs share, as functions that build an experiment from a model: every field can still be replaced."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flax import linen as nn

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, Augment, Resize, Shapes
from jaxseg.data import camvid as camvid_folder
from jaxseg.losses import cross_entropy, frequency_weights
from jaxseg.nn import ResNet, ResNet18, ResNet50
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer
from jaxseg.types import Array
from jaxseg.weights import PUBLISHED, load, read_vgg16, torchvision, with_vgg16

CAMVID_SIZE = (360, 480)
VGG16_RATES = (("^vgg/conv[12]_", 0.0), ("^vgg/", 0.1))
"""For ``Optimizer.rates`` on a pretrained VGG-16: its first two stages stay, the others move more slowly than the new
layers."""


def begin_on_vgg16(file: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fresh ``variables`` with VGG-16's convolutions from a ``file`` that was trained on BGR images."""
    return with_vgg16(variables, read_vgg16(file, bgr=True))


def begin_on_resnet(weights: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fresh ``variables`` with the backbone that torchvision published (``resnet50_imagenet1k_v2``), or a file's."""
    if weights in PUBLISHED:
        return load(weights, variables, part="backbone")
    return load(weights, variables, part="backbone", patterns=torchvision.RESNET, exempt=(r"^fc\.",))


def resnet_of_size(*, tiny: bool, fast: bool) -> Any:
    """ResNet-50; ``fast``: ResNet-18, half as wide; ``tiny``: one narrow block a stage."""
    if tiny:
        return partial(ResNet, (1, 1, 1, 1), bottleneck=False, base=4)
    return partial(ResNet18, base=32) if fast else ResNet50


def camvid(
    model: Callable[[int], nn.Module],
    *,
    root: str,
    tiny: bool = False,
    fast: bool = False,
    crop: tuple[int, int] | None = None,
    loss: Callable[[Array, Array], Array] | None = None,
    auxiliary_weight: Any = 0.4,
    optimizer: Optimizer,
    pretrained: Any = None,
    steps: int,
    batch_size: int,
) -> Experiment:
    """A semantic model (``num_classes -> module``) on CamVid: 360x480, or ``fast``: half of that, for a CPU.

    Trained on windows of ``crop`` (height, width; by default the whole size) of the image zoomed by 0.85 to 1.5,
    mirrored and with its light and colour changed, by the cross-entropy with rare classes weighing more unless
    ``loss`` is given; scored on whole images, boundary scores included. ``tiny`` has drawn shapes in CamVid's place,
    and two steps.
    """
    train, val = (Shapes(s, length=8) if tiny else camvid_folder(root, s) for s in ("train", "val"))
    shrink = 2 if fast else 1
    size = (64, 64) if tiny else (CAMVID_SIZE[0] // shrink, CAMVID_SIZE[1] // shrink)
    zoom = 1.0 if tiny else 1 / shrink
    weights = None if tiny else frequency_weights(CAMVID_FREQUENCIES)
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
            augment=Augment(
                size=size if tiny or crop is None else crop,
                scale=(0.85 * zoom, 1.5 * zoom),
                brightness=0.2,
                contrast=0.2,
                saturation=0.2,
            ),
            prepare=Resize(size),
        ),
        optimizer=optimizer,
        pretrained=pretrained,
        steps=2 if tiny else steps,
        batch_size=2 if tiny else batch_size,
        eval_batch_size=4 if tiny else 8,
        eval_every=2 if tiny else steps // 4,
        save_every=1 if tiny else steps // 8,
    )
