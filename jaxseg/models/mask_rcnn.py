"""Mask R-CNN (He et al. 2017): Faster R-CNN with a small network that draws a mask in each region.

Followed: RoIAlign in place of RoIPool (section 3); a mask for every class, of which the true one alone has a loss, so
that classes do not compete; masks of 28x28, trained on the regions sampled as objects, and drawn for the detections,
after suppression (sections 3 and 3.1); on a feature pyramid four 3x3 convolutions (figure 4, right), on one level a
ResNet's last stage, which classes and boxes share, and no more (figure 4, left).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.faster_rcnn import FasterRCNN, faster_rcnn, faster_rcnn_c4, faster_rcnn_dc5, faster_rcnn_v2
from jaxseg.nn import ResNet50, ResNet101
from jaxseg.nn.layers import NormKind
from jaxseg.nn.rcnn_config import DETECTRON2_C4, TORCHVISION, RCNNConfig
from jaxseg.nn.roi_heads import MaskHead, flattened, of_class
from jaxseg.types import Array, Outputs


class MaskRCNN(nn.Module):
    """:class:`jaxseg.models.FasterRCNN`, whose arguments and outputs it has, and besides

    ``masks [B, D, M, M]``, probabilities in the detections' boxes (:func:`jaxseg.ops.paste_masks` puts them into the
    image); in training ``mask``: ``logits``, ``targets [B, P, M, M]`` and ``valid [B, P]``, what
    :func:`jaxseg.losses.mask_loss` takes, for which ``targets`` hold ``masks``: of the whole image ``[B, N, H, W]``
    bool, or in their boxes ``[B, N, M, M]`` floating point.
    """

    detector: FasterRCNN
    mask_head: MaskHead
    mask_size: int = 14

    @nn.compact
    def __call__(
        self, images: Array, sizes: Array | None = None, targets: Any = None, *, train: bool = False
    ) -> Outputs:
        outputs = self.detector(images, sizes, targets, train=train)
        if not train:
            regions = self.detector.regions(outputs["features"], outputs["boxes"], self.mask_size, train)
            masks = self._masks(regions, outputs["classes"], train)
            return outputs | {"masks": jnp.where(outputs["valid"][..., None, None], nn.sigmoid(masks), 0)}
        config, roi = self.detector.config, outputs["roi"]
        # Regions of objects come first among those sampled.
        most = int(config.roi_samples * config.roi_positive_fraction)
        boxes, classes, match, regions = (roi[key][:, :most] for key in ("boxes", "classes", "match", "features"))
        if self.detector.region_stage is None:  # otherwise classes and masks see the same
            regions = self.detector.regions(outputs["features"], boxes, self.mask_size, train)
        logits = self._masks(regions, classes, train)
        side = logits.shape[-1]
        wanted = jax.vmap(partial(mask_targets, side=side, config=config))(targets, boxes, match)
        mask = {"logits": logits, "targets": wanted, "valid": roi["valid"][:, :most] & (classes > 0)}
        return outputs | {"mask": mask}

    def _masks(self, regions: Array, classes: Array, train: bool) -> Array:
        """Logits ``[B, P, M, M]`` of each region's class."""
        return jax.vmap(of_class)(flattened(self.mask_head, regions, train), classes)


def mask_targets(targets: Any, boxes: Array, match: Array, *, side: int, config: RCNNConfig) -> Array:
    """``[P, M, M]``: what lies in ``boxes [P, 4]`` of the instances ``match [P]`` of one image."""
    masks = targets["masks"]
    own = None if masks.dtype == bool else targets["boxes"]
    covered = ops.crop_masks(masks, own, boxes, match, side, aligned=config.aligned)
    return (covered >= 0.5).astype(jnp.float32) if config.binary_mask_targets else covered


def mask_rcnn(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = TORCHVISION,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> MaskRCNN:
    """Mask R-CNN on a feature pyramid: torchvision's ``maskrcnn_resnet50_fpn``, detectron2's ``mask_rcnn_R_50_FPN``
    (``config=DETECTRON2``)."""
    head = MaskHead(num_classes, normal=config.normal_predictor, dtype=dtype)
    return MaskRCNN(faster_rcnn(num_classes, resnet, config, norm=norm, dtype=dtype), head)


def mask_rcnn_v2(
    num_classes: int, resnet: Any = ResNet50, *, norm: NormKind = "batch", dtype: Any = jnp.float32
) -> MaskRCNN:
    """torchvision's ``maskrcnn_resnet50_fpn_v2``: :func:`jaxseg.models.faster_rcnn.faster_rcnn_v2` and a mask head with
    normalisation."""
    head = MaskHead(num_classes, norm=norm, dtype=dtype)
    return MaskRCNN(faster_rcnn_v2(num_classes, resnet, norm=norm, dtype=dtype), head)


def mask_rcnn_c4(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2_C4,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> MaskRCNN:
    """detectron2's ``mask_rcnn_R_50_C4``: masks of 14x14."""
    head = MaskHead(num_classes, convs=0, normal=config.normal_predictor, dtype=dtype)
    return MaskRCNN(faster_rcnn_c4(num_classes, resnet, config, norm=norm, dtype=dtype), head)


def mask_rcnn_dc5(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2_C4,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> MaskRCNN:
    """detectron2's ``mask_rcnn_R_50_DC5``."""
    head = MaskHead(num_classes, normal=config.normal_predictor, dtype=dtype)
    return MaskRCNN(faster_rcnn_dc5(num_classes, resnet, config, norm=norm, dtype=dtype), head)


MaskRCNNResNet50 = partial(mask_rcnn, resnet=ResNet50)
MaskRCNNResNet101 = partial(mask_rcnn, resnet=ResNet101)
