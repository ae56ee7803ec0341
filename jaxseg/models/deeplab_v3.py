"""DeepLab v3 (Chen et al. 2017): atrous spatial pyramid pooling with image pooling on a dilated ResNet.

Followed: output stride 8 or 16 by dilation, multi-grid in the last stage (section 3.2.1); ASPP with a 1x1 and three
3x3 convolutions of rates 12, 24, 36 at output stride 8 and half of that at 16, and features pooled over the whole
image, concatenated and projected to 256 (section 3.3); normalisation in all of it; bilinear enlargement of the logits,
so that labels are not shrunk (section 4.1).

Departs, as torchvision's ``deeplabv3_resnet50`` does, whose weights load (:mod:`jaxseg.weights`): dropout 0.5 after
the projection, one more 3x3 convolution of 256 before the scores, an auxiliary FCN head on layer3 (``aux=True``,
trained with the task's ``auxiliary_weight``). torchvision has output stride 8 and no multi-grid; the paper's best has
(1, 2, 4) and trains at 16.
"""

from functools import partial
from typing import Any, Literal

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.nn import IMAGENET, Conv, Dropout, Normalization
from jaxseg.nn.heads import ConvNorm, FCNHead, enlarge
from jaxseg.nn.layers import NormKind
from jaxseg.nn.resnet import ResNet, ResNet50, ResNet101
from jaxseg.types import Array, Outputs

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""ASPP's, by output stride; v3+ has the same."""


class ASPP(nn.Module):
    """``[B, H, W, C]`` -> ``[B, H, W, features]``: one map seen at several rates, and as a whole (figure 5).

    ``atrous``: the kind of the 3x3 convolutions, a module as :class:`jaxseg.nn.heads.ConvNorm` is.
    """

    rates: tuple[int, ...] = RATES[8]
    features: int = 256
    dropout: float = 0.5
    atrous: Any = ConvNorm
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv, atrous = (partial(c, self.features, norm=self.norm, dtype=self.dtype) for c in (ConvNorm, self.atrous))
        branches = [conv(1, name="conv0")(x, train)]
        branches += [atrous(3, rate, name=f"conv{i}")(x, train) for i, rate in enumerate(self.rates, 1)]
        pooled = jnp.mean(x, (1, 2), keepdims=True)  # summed in float32
        pooled = conv(1, name="pooling")(pooled, train)
        branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = conv(1, name="project")(tuple(branches), train)
        return Dropout(self.dropout)(x, train=train)


class DeepLabV3(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``, and ``"aux_logits"`` in
    training with ``aux``. Any H, W >= 1. ``backbone``: a ResNet of output stride 8 or 16.
    """

    num_classes: int
    backbone: ResNet
    rates: tuple[int, ...] = RATES[8]
    features: int = 256
    aux: bool = True
    dropout: float = 0.5
    aux_dropout: float = 0.1
    norm: NormKind = "batch"
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        size = images.shape[1:3]
        features = self.backbone(self.normalization(images).astype(self.dtype), train=train)
        settings = {"norm": self.norm, "dtype": self.dtype}
        x = ASPP(self.rates, self.features, self.dropout, **settings, name="aspp")(features["layer4"], train)
        x = ConvNorm(self.features, **settings, name="head")(x, train)
        scores = Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x)
        outputs = {"logits": enlarge(scores, size), "features": features}
        if self.aux and (train or self.is_initializing()):
            x = features["layer3"]
            head = FCNHead(self.num_classes, x.shape[-1] // 4, self.aux_dropout, **settings, name="aux")
            outputs["aux_logits"] = enlarge(head(x, train), size)
        return outputs


def deeplab_v3(
    num_classes: int,
    resnet: Any = ResNet50,
    output_stride: Literal[8, 16] = 8,
    *,
    norm: NormKind = "batch",
    dtype: Any = jnp.float32,
    **settings: Any,
) -> DeepLabV3:
    """DeepLab v3 with the rates that go with ``output_stride``."""
    backbone = resnet(output_stride=output_stride, norm=norm, dtype=dtype)
    return DeepLabV3(num_classes, backbone, RATES.get(output_stride, ()), norm=norm, dtype=dtype, **settings)


DeepLabV3ResNet50 = partial(deeplab_v3, resnet=ResNet50)
DeepLabV3ResNet101 = partial(deeplab_v3, resnet=ResNet101)
