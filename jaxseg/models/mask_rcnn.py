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
from jaxseg.models.faster_rcnn import faster_rcnn, faster_rcnn_c4, faster_rcnn_dc5, faster_rcnn_v2
from jaxseg.models.region_heads import RegionHeads
from jaxseg.nn import ResNet50, ResNet101
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import Conv, ConvTranspose, NormKind
from jaxseg.nn.rcnn_config import DETECTRON2_C4, TORCHVISION, RCNNConfig
from jaxseg.nn.roi_heads import flattened, he_of_outputs
from jaxseg.types import Array


class MaskHead(nn.Module):
    """3x3 convolutions, a transposed one that doubles the side, and a score a class: ``[R, M/2, M/2, C]`` -> ``[R,
    M, M, K]`` float32 (He et al. 2017, figure 4, right).
    """

    num_classes: int
    convs: int = 4
    channels: int = 256
    norm: NormKind = "none"
    normal: bool = False
    dtype: Any = jnp.float32
    region_size: int = 14

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for i in range(self.convs):
            x = ConvNorm(self.channels, norm=self.norm, dtype=self.dtype, name=f"conv{i}")(x, train)
        x = nn.relu(ConvTranspose(self.channels, 2, 2, dtype=self.dtype, name="conv5_mask")(x))
        last = nn.initializers.normal(0.001) if self.normal else he_of_outputs
        x = Conv(self.num_classes, 1, dtype=self.dtype, kernel_init=last, name="mask_fcn_logits")(x)
        return x.astype(jnp.float32)

    def training(
        self, regions: Array, positives: dict[str, Array], targets: Any, config: RCNNConfig
    ) -> dict[str, Array]:
        logits = self._of_class(regions, positives["classes"], True)
        make = partial(mask_targets, side=logits.shape[-1], config=config)
        wanted = jax.vmap(make)(targets, positives["boxes"], positives["match"])
        return {"logits": logits, "targets": wanted, "valid": positives["valid"]}

    def predictions(self, regions: Array, found: dict[str, Array], size: tuple[int, ...]) -> dict[str, Array]:
        del size
        masks = nn.sigmoid(self._of_class(regions, found["classes"], False))
        return {"masks": jnp.where(found["valid"][..., None, None], masks, 0)}

    def _of_class(self, regions: Array, classes: Array, train: bool) -> Array:
        """Logits ``[B, P, M, M]`` of each region's class."""
        return jax.vmap(of_class)(flattened(self, regions, train), classes)


def of_class(masks: Array, classes: Array) -> Array:
    """``[R, M, M, K]`` and each RoI's class from 1 (below 1: the first) -> ``[R, M, M]``."""
    index = jnp.maximum(classes - 1, 0)[:, None, None, None]
    return jnp.take_along_axis(masks, index, axis=3)[..., 0]


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
) -> RegionHeads:
    """Mask R-CNN on a feature pyramid: torchvision's ``maskrcnn_resnet50_fpn``, detectron2's ``mask_rcnn_R_50_FPN``
    (``config=DETECTRON2``)."""
    head = MaskHead(num_classes, normal=config.normal_predictor, dtype=dtype)
    return RegionHeads(faster_rcnn(num_classes, resnet, config, norm=norm, dtype=dtype), {"mask": head})


def mask_rcnn_v2(
    num_classes: int, resnet: Any = ResNet50, *, norm: NormKind = "batch", dtype: Any = jnp.float32
) -> RegionHeads:
    """torchvision's ``maskrcnn_resnet50_fpn_v2``: :func:`jaxseg.models.faster_rcnn.faster_rcnn_v2` and a mask head with
    normalisation."""
    head = MaskHead(num_classes, norm=norm, dtype=dtype)
    return RegionHeads(faster_rcnn_v2(num_classes, resnet, norm=norm, dtype=dtype), {"mask": head})


def mask_rcnn_c4(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2_C4,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> RegionHeads:
    """detectron2's ``mask_rcnn_R_50_C4``: masks of 14x14."""
    head = MaskHead(num_classes, convs=0, normal=config.normal_predictor, dtype=dtype)
    return RegionHeads(faster_rcnn_c4(num_classes, resnet, config, norm=norm, dtype=dtype), {"mask": head})


def mask_rcnn_dc5(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2_C4,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> RegionHeads:
    """detectron2's ``mask_rcnn_R_50_DC5``."""
    head = MaskHead(num_classes, normal=config.normal_predictor, dtype=dtype)
    return RegionHeads(faster_rcnn_dc5(num_classes, resnet, config, norm=norm, dtype=dtype), {"mask": head})


MaskRCNNResNet50 = partial(mask_rcnn, resnet=ResNet50)
MaskRCNNResNet101 = partial(mask_rcnn, resnet=ResNet101)
