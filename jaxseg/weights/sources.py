"""Whose names are in a file: every source that jaxseg knows is tried."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.types import JaxsegError
from jaxseg.weights import detectron2, huggingface, smp, timm, torchvision
from jaxseg.weights.match import MisfitError, Patterns, to_jaxseg


class Source(NamedTuple):
    """Names of one library for one kind of network; ``convert`` and ``transposed`` as of
    :class:`jaxseg.weights.Weights`."""

    name: str
    patterns: Patterns
    convert: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = dict
    transposed: str = ""


_UPSAMPLERS = r"conv5_mask$|kps_score_lowres$"
SOURCES = (
    Source("torchvision.RESNET", torchvision.RESNET),
    Source("torchvision.VGG16", torchvision.VGG16),
    Source("torchvision.VGG16_BN", torchvision.VGG16_BN),
    Source("torchvision.FCN_RESNET", torchvision.FCN_RESNET),
    Source("torchvision.DEEPLAB_V3", torchvision.DEEPLAB_V3),
    Source("torchvision.RCNN_FPN", torchvision.RCNN_FPN, torchvision.detector_arrays, _UPSAMPLERS),
    Source("timm.RESNET_D", timm.RESNET_D),
    Source("huggingface.RESNET", huggingface.RESNET),
    Source("smp.UNET", smp.UNET),
    Source("smp.DEEPLAB_V3_PLUS", smp.DEEPLAB_V3_PLUS),
    Source("detectron2.RCNN_FPN", detectron2.RCNN_FPN, detectron2.detector_arrays, _UPSAMPLERS),
    Source("detectron2.PANOPTIC_FPN", detectron2.PANOPTIC_FPN, detectron2.detector_arrays, _UPSAMPLERS),
    Source("detectron2.RCNN_ONE_LEVEL", detectron2.RCNN_ONE_LEVEL, detectron2.detector_arrays, _UPSAMPLERS),
)


def from_any(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """As :func:`jaxseg.weights.to_jaxseg`, by the names of whichever source fits. Raises JaxsegError where none does:
    what differs from the one that is nearest."""
    misfits: list[tuple[int, str, MisfitError]] = []
    for source in SOURCES:
        try:
            return to_jaxseg(
                variables, source.convert(arrays), source.patterns, transposed=source.transposed, **options
            )
        except MisfitError as error:
            misfits.append((error.faults, source.name, error))
    _, name, nearest = min(misfits, key=lambda misfit: misfit[0])
    raise JaxsegError(f"by the names of {name}, which are the nearest, {nearest}") from nearest
