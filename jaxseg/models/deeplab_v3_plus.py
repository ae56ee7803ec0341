"""DeepLab v3+ (Chen, Zhu, Papandreou, Schroff & Adam, ECCV 2018): DeepLab v3 as encoder, and a decoder for edges.

Followed: ASPP of rates 6, 12, 18 at output stride 16 (twice that at 8) with depthwise separable convolutions, and the
image pooled; its map enlarged to a quarter of the image, joined with the backbone's low-level features reduced to 48
channels by a 1x1 convolution (section 4.1, table 1), refined by two separable 3x3 convolutions of 256 (table 2), and
the scores enlarged four times (figure 2). As in the authors' code: normalisation and ReLU between the two halves of a
separable convolution too, dropout 0.1 after the projection, corners aligned in enlarging, the new dilation from a
stage's first block on. Images of side ``16 n + 1`` (513) have their corners where the features have theirs.

:data:`SMP_SETTINGS` makes it segmentation_models.pytorch's ``DeepLabV3Plus``, whose weights load: nothing between the
halves, one more separable convolution after ASPP, only one in the decoder, rates 12, 24, 36 at any output stride,
dropout 0.5. It is strict about sides (multiples of 16); here any size goes.

Left out: the modified aligned Xception (section 3.2) as a backbone; any ResNet goes, as in section 4.1.
"""

from functools import partial
from typing import Any, Literal

import chex
from flax import linen as nn
from jax import numpy as jnp

from jaxseg.models.deeplab_v3 import ASPP, RATES
from jaxseg.nn import IMAGENET, Conv, Normalization
from jaxseg.nn.heads import ConvNorm, SeparableConvNorm, enlarge
from jaxseg.nn.layers import NormKind
from jaxseg.nn.resnet import ResNet, ResNet50, ResNet101
from jaxseg.types import Array, Outputs


class DeepLabV3Plus(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``. Any H, W >= 1.

    ``backbone``: a ResNet of output stride 16 or 8. ``refine_aspp``: separable convolutions after ASPP, ``depth``:
    those of the decoder. ``separable=False``: plain ones in their place.
    """

    num_classes: int
    backbone: ResNet
    rates: tuple[int, ...] = RATES[16]
    features: int = 256
    low_features: int = 48
    refine_aspp: int = 0
    depth: int = 2
    separable: bool = True
    norm_between: bool = True
    dropout: float = 0.1
    align_corners: bool = True
    norm: NormKind = "batch"
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        features = self.backbone(self.normalization(images).astype(self.dtype), train=train)
        settings = {"norm": self.norm, "dtype": self.dtype}
        kind = partial(SeparableConvNorm, norm_between=self.norm_between) if self.separable else ConvNorm
        conv = partial(kind, self.features, **settings)
        x = ASPP(self.rates, self.features, self.dropout, kind, **settings, name="aspp")(features["layer4"], train)
        for i in range(1, self.refine_aspp + 1):
            x = conv(name=f"aspp_conv{i}")(x, train)
        low = ConvNorm(self.low_features, 1, **settings, name="low_level")(features["layer1"], train)
        x = jnp.concatenate([enlarge(x, low.shape[1:3], self.align_corners).astype(self.dtype), low], -1)
        for i in range(1, self.depth + 1):
            x = conv(name=f"decoder_conv{i}")(x, train)
        scores = Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x)
        return {"logits": enlarge(scores, images.shape[1:3], self.align_corners), "features": features}


def deeplab_v3_plus(
    num_classes: int,
    resnet: Any = ResNet50,
    output_stride: Literal[16, 8] = 16,
    *,
    norm: NormKind = "batch",
    dtype: Any = jnp.float32,
    **settings: Any,
) -> DeepLabV3Plus:
    """DeepLab v3+ with the rates that go with ``output_stride``."""
    backbone = resnet(output_stride=output_stride, dilate_first=True, norm=norm, dtype=dtype)
    return DeepLabV3Plus(
        num_classes, backbone, norm=norm, dtype=dtype, **{"rates": RATES.get(output_stride, ()), **settings}
    )


SMP_SETTINGS = {"rates": (12, 24, 36), "refine_aspp": 1, "depth": 1, "norm_between": False, "dropout": 0.5}
"""``deeplab_v3_plus(K, ResNet34, **SMP_SETTINGS)`` is segmentation_models.pytorch's network."""

DeepLabV3PlusResNet50 = partial(deeplab_v3_plus, resnet=ResNet50)
DeepLabV3PlusResNet101 = partial(deeplab_v3_plus, resnet=ResNet101)
