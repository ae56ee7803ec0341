"""A U-Net (Ronneberger et al. 2015) whose contracting path is a ResNet (He et al. 2016), pretrained as a rule.

Followed: segmentation_models.pytorch's ``Unet`` with a ResNet encoder, whose weights load (:mod:`jaxseg.weights`).
The stem and the four stages are the levels 1/2 to 1/32; on the way up each block enlarges by nearest neighbours to its
skip's size, joins the skip and convolves twice, with normalisation and ReLU; the last block has no skip, and a 3x3
convolution gives the scores. Odd sizes need no padding, since each level is enlarged to what it meets.

Departs from the paper, beside the encoder: no learnt up-convolution, channels 256, 128, 64, 32, 16 on the way up,
padded convolutions.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.unet import DoubleConv
from jaxseg.nn import IMAGENET, Conv, Normalization
from jaxseg.nn.layers import NormKind
from jaxseg.nn.resnet import ResNet, ResNet18, ResNet34, ResNet50
from jaxseg.types import Array, Outputs


class UNetResNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``. Any H, W >= 1.

    ``features``: the channels of the blocks on the way up, from 1/16 to the whole resolution.
    """

    num_classes: int
    backbone: ResNet
    features: tuple[int, int, int, int, int] = (256, 128, 64, 32, 16)
    norm: NormKind = "batch"
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        encoded = self.backbone(self.normalization(images).astype(self.dtype), train=train)
        x = encoded["layer4"]
        for level, skip in enumerate(("layer3", "layer2", "layer1", "stem", None)):
            like = images if skip is None else encoded[skip]
            up = jax.vmap(partial(ops.resize_nearest, size=(like.shape[1], like.shape[2])))(x)
            both = up if skip is None else (up, like)  # concatenated, to the convolution
            x = DoubleConv(self.features[level], 1, self.norm, self.dtype, name=f"up{level}")(both, train)
        logits = Conv(self.num_classes, 3, padding=1, dtype=self.dtype, name="score")(x)
        return {"logits": logits.astype(jnp.float32), "features": encoded}


def unet_resnet(
    num_classes: int, resnet: Any = ResNet34, *, norm: NormKind = "batch", dtype: Any = jnp.float32, **settings: Any
) -> UNetResNet:
    """U-Net on the kind of ``resnet``; ``settings`` are :class:`UNetResNet`'s."""
    return UNetResNet(num_classes, resnet(norm=norm, dtype=dtype), norm=norm, dtype=dtype, **settings)


UNetResNet18 = partial(unet_resnet, resnet=ResNet18)
UNetResNet34 = partial(unet_resnet, resnet=ResNet34)
UNetResNet50 = partial(unet_resnet, resnet=ResNet50)
