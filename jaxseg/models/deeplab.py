"""DeepLab v1 (Chen et al., ICLR 2015) and v2 (Chen et al., PAMI 2018): the atrous algorithm, and atrous pyramids.

v1, LargeFOV (section 4.2): VGG-16 whose last two poolings keep the resolution and whose later convolutions have holes,
so that the last map is 1/8 of the image with the weights unchanged; fc6 a 3x3 convolution of rate 12 and 1024
channels, fc7 1x1 of 1024, dropout 0.5. v2 (section 3.2): atrous spatial pyramid pooling, fc6 to fc8 at rates 6, 12, 18
and 24 beside each other, the scores added (ASPP-L; ASPP-S has 2, 4, 8, 12); on ResNet-101 one 3x3 convolution to the
scores at each rate. :class:`MultiScale`: the same network on the image at scales 1, 0.75 and 0.5, the scores enlarged
and their maximum taken, each scale supervised too (section 4.1.2).

Followed as well: 3x3 poolings and corners aligned in enlarging (the authors' 321 and 513 are of the form 8 n + 1);
scores initialised with a standard deviation of 0.01; an average pooling after pool5 in v1's net definition. DeepLab's
other half, the fully connected CRF, works on the logits of any network and stands apart.

Departs: other sizes are padded to the next 8 n + 1 inside and the scores cropped back, where the authors crop or pad
the data. Labels are compared at full resolution rather than shrunk by 8 (as their v3 found better).
"""

from functools import partial, reduce
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import CAFFE, VGG16, Conv, Dropout, Normalization
from jaxseg.nn.layers import round_up
from jaxseg.nn.resnet import ResNet, ResNet101
from jaxseg.types import Array, Outputs

scores_init = nn.initializers.normal(0.01)


class LargeFOV(nn.Module):
    """fc6, fc7 and fc8 of VGG-16 as convolutions, the first 3x3 with holes: a field of view of 224 with few weights."""

    num_classes: int
    rate: int
    features: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        drop = partial(Dropout(self.dropout), train=train)
        conv = partial(Conv, self.features, dtype=self.dtype)
        x = drop(nn.relu(conv(3, padding=self.rate, dilation=self.rate, name="fc6")(x)))
        x = drop(nn.relu(conv(1, name="fc7")(x)))
        return Conv(self.num_classes, 1, kernel_init=scores_init, dtype=self.dtype, name="fc8")(x)


class DeepLab(nn.Module):
    """DeepLab on VGG-16: ``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``.

    One rate is v1's LargeFOV, several are v2's ASPP. Any H, W >= 1.
    """

    num_classes: int
    rates: tuple[int, ...] = (12,)
    base: int = 64
    fc_features: int = 1024
    average_pool5: bool = True
    dropout: float = 0.5
    normalization: Normalization = CAFFE
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = pad_to_corners(self.normalization(images).astype(self.dtype))
        features = VGG16(dilated=True, base=self.base, dtype=self.dtype, name="vgg")(x)
        x = features["pool5"]
        if self.average_pool5:
            x = ops.avg_pool(x, 3, 1, 1)
        branch = partial(LargeFOV, self.num_classes, features=self.fc_features, dropout=self.dropout, dtype=self.dtype)
        scores = [branch(rate, name=f"rate{rate}")(x, train).astype(jnp.float32) for rate in self.rates]
        return {"logits": enlarge_corners(reduce(jnp.add, scores), images.shape), "features": features}


class DeepLabResNet(nn.Module):
    """DeepLab v2 on a ResNet of output stride 8; otherwise as :class:`DeepLab`."""

    num_classes: int
    backbone: ResNet
    rates: tuple[int, ...] = (6, 12, 18, 24)
    normalization: Normalization = CAFFE
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = pad_to_corners(self.normalization(images).astype(self.dtype))
        features = self.backbone(x, train=train)
        score = partial(Conv, self.num_classes, 3, kernel_init=scores_init, dtype=self.dtype)
        scores = [
            score(padding=rate, dilation=rate, name=f"rate{rate}")(features["layer4"]).astype(jnp.float32)
            for rate in self.rates
        ]
        return {"logits": enlarge_corners(reduce(jnp.add, scores), images.shape), "features": features}


class MultiScale(nn.Module):
    """The pixelwise maximum of a network's logits for the image at several scales; each scale's are trained too.

    ``{"logits": [B, H, W, K]}``, and in training ``"aux_scale0"``, ... to be given an ``auxiliary_weight`` of 1.
    """

    network: nn.Module
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        size = (images.shape[1], images.shape[2])
        logits = []
        for scale in self.scales:
            smaller = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
            scaled = jax.vmap(partial(ops.resize_bilinear, size=smaller))(images) if smaller != size else images
            scores = self.network(scaled, train=train)["logits"]
            logits.append(jax.vmap(partial(ops.resize_bilinear, size=size))(scores) if smaller != size else scores)
        outputs = {"logits": jnp.max(jnp.stack(logits), 0)}
        return outputs | {f"aux_scale{i}": scores for i, scores in enumerate(logits) if train}


def pad_to_corners(x: Array, stride: int = 8) -> Array:
    """Zeros below and to the right, until both sides are ``stride * n + 1``."""
    pad_h, pad_w = (round_up(side - 1, stride) + 1 - side for side in x.shape[1:3])
    return jnp.pad(x, ((0, 0), (0, pad_h), (0, pad_w), (0, 0)))


def enlarge_corners(scores: Array, shape: tuple[int, ...], stride: int = 8) -> Array:
    """``[B, n + 1, m + 1, K]`` bilinearly to ``[B, 8 n + 1, 8 m + 1, K]``, corners kept, then cropped to the image."""
    h, w = (stride * (side - 1) + 1 for side in scores.shape[1:3])
    logits = jax.vmap(partial(ops.resize_bilinear, size=(h, w), align_corners=True))(scores)
    return logits[:, : shape[1], : shape[2]]


DeepLabV1 = partial(DeepLab, rates=(12,))
DeepLabV2 = partial(DeepLab, rates=(6, 12, 18, 24), average_pool5=False)


def deeplab_v2_resnet101(num_classes: int, **settings: Any) -> MultiScale:
    """v2's best network: ResNet-101 with ASPP and three scales."""
    backbone = ResNet101(output_stride=8, stride_in_1x1=True, norm="frozen")
    return MultiScale(DeepLabResNet(num_classes, backbone, **settings))
