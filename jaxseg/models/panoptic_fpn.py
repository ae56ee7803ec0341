"""Panoptic FPN (Kirillov, Girshick, He & Dollar 2019): Mask R-CNN, and on the same feature pyramid a light branch that
labels every pixel.

Followed: each level is brought to stride 4 by as many stages of a 3x3 convolution, group normalisation, ReLU and
bilinear doubling as it takes, all are added, and a 1x1 convolution scores the classes of stuff and one more, for all
things, at stride 4, enlarged bilinearly (section 3, figure 3); of the finest level a stage without doubling. Both are
trained together, the second with a weight of its own. The two are made one by rules
(:func:`jaxseg.ops.merge_segments`).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.mask_rcnn import mask_rcnn
from jaxseg.models.region_heads import RegionHeads
from jaxseg.nn import ResNet50, ResNet101
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import Conv, NormKind
from jaxseg.nn.rcnn_config import DETECTRON2, RCNNConfig
from jaxseg.types import Array, Outputs


class SemanticHead(nn.Module):
    """Levels ``[B, H / 2^i, W / 2^i, C]``, finest first -> ``[B, H, W, classes]`` float32."""

    classes: int
    channels: int = 128
    norm: NormKind = "group"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, levels: tuple[Array, ...], train: bool) -> Array:
        total = jnp.zeros((), self.dtype)
        for i, x in enumerate(levels):
            for stage in range(max(i, 1)):
                layer = ConvNorm(self.channels, norm=self.norm, dtype=self.dtype, name=f"p{i + 2}_{stage}")
                x = layer(x, train)
                if i:
                    x = enlarged(x, 2)
            total = x if i == 0 else total + x
        return Conv(self.classes, 1, dtype=self.dtype, name="predictor")(total).astype(jnp.float32)


class PanopticFPN(nn.Module):
    """:class:`jaxseg.models.RegionHeads` with its arguments and outputs, and besides
    ``semantic [B, H, W, K + 1]``: logits of class 0, any thing, and of K classes of stuff.

    The semantic branch sees the levels that regions are read from.
    """

    instances: RegionHeads
    semantic: SemanticHead

    @nn.compact
    def __call__(
        self,
        images: Array,
        sizes: Array | None = None,
        targets: Any = None,
        proposals: Any = None,
        *,
        train: bool = False,
    ) -> Outputs:
        outputs = self.instances(images, sizes, targets, proposals, train=train)
        backbone = self.instances.detector.backbone
        logits = self.semantic(outputs["features"][: backbone.roi_levels], train)
        logits = enlarged(logits, backbone.strides[0])
        return outputs | {"semantic": logits[:, : images.shape[1], : images.shape[2]]}


def enlarged(x: Array, times: int) -> Array:
    """``[B, H, W, C]``, bilinearly."""
    return jax.vmap(partial(ops.resize_bilinear, size=(times * x.shape[1], times * x.shape[2])))(x)


def panoptic_fpn(
    num_things: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2,
    *,
    num_stuff: int = 53,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> PanopticFPN:
    """detectron2's ``panoptic_fpn_R_50`` and ``R_101``: of COCO 80 things and 53 kinds of stuff."""
    return PanopticFPN(
        mask_rcnn(num_things, resnet, config, norm=norm, dtype=dtype), SemanticHead(num_stuff + 1, dtype=dtype)
    )


PanopticFPNResNet50 = partial(panoptic_fpn, resnet=ResNet50)
PanopticFPNResNet101 = partial(panoptic_fpn, resnet=ResNet101)
