"""PSPNet (Zhao et al., CVPR 2017): what is seen in the whole image, and in its parts, tells each pixel where it is.

Followed: a dilated ResNet of output stride 8; the pyramid pooling module (section 3.2, figure 3): average pooling into
1x1, 2x2, 3x3 and 6x6 bins, a 1x1 convolution to a quarter of the channels each, bilinear enlargement, concatenation
with the map itself, a 3x3 convolution of 512, dropout 0.1 and the scores; an auxiliary loss on the stage before the
last with weight 0.4 (section 3.3), as ``aux_logits`` for the task.

Departs: bins follow PyTorch's adaptive pooling for any size, where the authors' net is made for one crop size (473,
where both agree but for a pixel). The authors' ResNet begins with three 3x3 convolutions (``stem="3x3"``);
torchvision's weights need the 7x7 (the default).
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import IMAGENET, Conv, Dropout, Normalization
from jaxseg.nn.heads import ConvNorm, FCNHead, enlarge
from jaxseg.nn.layers import NormKind
from jaxseg.nn.resnet import ResNet, ResNet50, ResNet101
from jaxseg.types import Array, Outputs


class PyramidPooling(nn.Module):
    """``[B, H, W, C]`` -> the map itself and one of ``C / len(bins)`` channels for each pooling, in a tuple."""

    bins: tuple[int, ...] = (1, 2, 3, 6)
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> tuple[Array, ...]:
        features, size = x.shape[-1] // len(self.bins), (x.shape[1], x.shape[2])
        conv = partial(ConvNorm, features, 1, norm=self.norm, dtype=self.dtype)
        levels = [x]
        for n in self.bins:
            pooled = ops.adaptive_avg_pool(x, (n, n))
            level = conv(name=f"bin{n}")(pooled, train)
            levels.append(jax.vmap(partial(ops.resize_bilinear, size=size, align_corners=True))(level))
        return tuple(levels)


class PSPNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``, and ``"aux_logits"`` in
    training. Any H, W >= 1. ``backbone``: a ResNet of output stride 8.
    """

    num_classes: int
    backbone: ResNet
    bins: tuple[int, ...] = (1, 2, 3, 6)
    features: int = 512
    dropout: float = 0.1
    norm: NormKind = "batch"
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        size = images.shape[1:3]
        features = self.backbone(self.normalization(images).astype(self.dtype), train=train)
        settings = {"norm": self.norm, "dtype": self.dtype}
        levels = PyramidPooling(self.bins, **settings, name="pyramid")(features["layer4"], train)
        x = ConvNorm(self.features, **settings, name="head")(levels, train)
        x = Dropout(self.dropout)(x, train=train)
        scores = Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x)
        outputs = {"logits": enlarge(scores, size), "features": features}
        if train or self.is_initializing():
            aux = FCNHead(self.num_classes, features["layer3"].shape[-1] // 4, **settings, name="aux")
            outputs["aux_logits"] = enlarge(aux(features["layer3"], train), size)
        return outputs


def pspnet(
    num_classes: int, resnet: Any = ResNet50, *, norm: NormKind = "batch", dtype: Any = jnp.float32, **settings: Any
) -> PSPNet:
    """PSPNet on the kind of ``resnet``, at the paper's output stride 8; ``settings`` are :class:`PSPNet`'s."""
    backbone = resnet(output_stride=8, norm=norm, dtype=dtype)
    return PSPNet(num_classes, backbone, norm=norm, dtype=dtype, **settings)


PSPNetResNet50 = partial(pspnet, resnet=ResNet50)
PSPNetResNet101 = partial(pspnet, resnet=ResNet101)
