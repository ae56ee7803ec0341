"""Detectors that torchvision and detectron2 have published, each with the preset that its weights were trained with."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.models import faster_rcnn as faster
from jaxseg.models import keypoint_rcnn as keypoint
from jaxseg.models import mask_rcnn as mask
from jaxseg.models import panoptic_fpn as panoptic
from jaxseg.nn import DETECTRON2, DETECTRON2_KEYPOINTS, TORCHVISION, ResNet50, ResNet101
from jaxseg.types import JaxsegError
from jaxseg.weights import PUBLISHED, load

# torchvision sets the epsilon of its frozen normalisation to 0 where it loads these three.
_OLD = TORCHVISION._replace(epsilon=0.0)

DETECTORS: dict[str, Callable[..., nn.Module]] = {
    "fasterrcnn_resnet50_fpn_coco_v1": partial(faster.faster_rcnn, config=_OLD),
    "fasterrcnn_resnet50_fpn_v2_coco_v1": faster.faster_rcnn_v2,
    "maskrcnn_resnet50_fpn_coco_v1": partial(mask.mask_rcnn, config=_OLD),
    "maskrcnn_resnet50_fpn_v2_coco_v1": mask.mask_rcnn_v2,
    "keypointrcnn_resnet50_fpn_coco_legacy": keypoint.keypoint_rcnn,
    "keypointrcnn_resnet50_fpn_coco_v1": partial(keypoint.keypoint_rcnn, config=_OLD),
    "faster_rcnn_r_50_c4_1x": faster.faster_rcnn_c4,
    "faster_rcnn_r_50_dc5_1x": faster.faster_rcnn_dc5,
    "faster_rcnn_r_50_fpn_1x": partial(faster.faster_rcnn, config=DETECTRON2),
    "faster_rcnn_r_50_fpn_3x": partial(faster.faster_rcnn, config=DETECTRON2),
    "faster_rcnn_r_101_fpn_3x": partial(faster.faster_rcnn, config=DETECTRON2),
    "mask_rcnn_r_50_c4_1x": mask.mask_rcnn_c4,
    "mask_rcnn_r_50_dc5_1x": mask.mask_rcnn_dc5,
    "mask_rcnn_r_50_fpn_1x": partial(mask.mask_rcnn, config=DETECTRON2),
    "mask_rcnn_r_50_fpn_3x": partial(mask.mask_rcnn, config=DETECTRON2),
    "mask_rcnn_r_101_fpn_3x": partial(mask.mask_rcnn, config=DETECTRON2),
    "keypoint_rcnn_r_50_fpn_1x": partial(keypoint.keypoint_rcnn, config=DETECTRON2_KEYPOINTS),
    "keypoint_rcnn_r_50_fpn_3x": partial(keypoint.keypoint_rcnn, config=DETECTRON2_KEYPOINTS),
    "keypoint_rcnn_r_101_fpn_3x": partial(keypoint.keypoint_rcnn, config=DETECTRON2_KEYPOINTS),
    "panoptic_fpn_r_50_1x": panoptic.panoptic_fpn,
    "panoptic_fpn_r_50_3x": panoptic.panoptic_fpn,
    "panoptic_fpn_r_101_3x": panoptic.panoptic_fpn,
}
"""Name, as in ``jaxseg.weights.PUBLISHED`` -> network, but for its number of classes."""


FRESH_OF_DETECTORS = r"box_predictor/|mask_fcn_logits$|kps_score_lowres$"
"""Pattern of a detector's layers that are of its classes (``fresh`` of :func:`jaxseg.weights.load`)."""


def published_network(name: str, num_classes: int | None = None, *, dtype: Any = jnp.float32) -> nn.Module:
    """The network of a published detector (one of ``DETECTORS``), for its own classes or ``num_classes`` others."""
    if name not in DETECTORS:
        raise JaxsegError(f"no published detector {name!r}; there are {', '.join(DETECTORS)}")
    resnet = ResNet101 if "101" in name else ResNet50
    return DETECTORS[name](num_classes or PUBLISHED[name].preset.classes, resnet, dtype=dtype)


def load_detector(
    name: str, file: str | Path | None = None, *, num_classes: int | None = None, dtype: Any = jnp.float32
) -> tuple[nn.Module, dict[str, Any]]:
    """``(model, variables)`` of a published detector; its preset is the model's ``config``.

    Args:
      name: one of ``DETECTORS``.
      file: where the weights are, if they are not to be fetched.
      num_classes: of your own data: the last layers are then fresh. By default COCO's, of which
        ``PUBLISHED[name].preset.names`` tells the names.

    Raises:
      JaxsegError: no detector of that name, and what :func:`jaxseg.weights.load` raises.
    """
    model = published_network(name, num_classes, dtype=dtype)
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    if num_classes is None:
        variables = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    else:
        variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    fresh = "" if num_classes is None else FRESH_OF_DETECTORS
    return model, load(name, variables, file=file, fresh=fresh)
