"""Heads that several semantic systems share."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn.layers import Conv, Dropout, Norm, NormKind
from jaxseg.types import Array


class ConvNorm(nn.Module):
    """Convolution, normalisation, ReLU; "same" padding for odd kernels."""

    features: int
    kernel_size: int = 3
    dilation: int = 1
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...] | list[Array], train: bool) -> Array:
        padding = self.dilation * (self.kernel_size // 2)
        conv = partial(Conv, padding=padding, dilation=self.dilation, use_bias=self.norm == "none", dtype=self.dtype)
        y = conv(self.features, self.kernel_size, name="conv")(x)
        return nn.relu(Norm(self.norm, dtype=self.dtype, name="bn")(y, train=train))


class SeparableConvNorm(nn.Module):
    """Each channel convolved by itself (depthwise), then 1x1, normalisation, ReLU (DeepLab v3+, section 3.1).

    ``norm_between``: normalisation and ReLU after the depthwise convolution as well.
    """

    features: int
    kernel_size: int = 3
    dilation: int = 1
    norm_between: bool = True
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        channels, padding = x.shape[-1], self.dilation * (self.kernel_size // 2)
        conv = partial(Conv, padding=padding, dilation=self.dilation, groups=channels, dtype=self.dtype)
        x = conv(channels, self.kernel_size, use_bias=self.norm_between and self.norm == "none", name="depthwise")(x)
        if self.norm_between:
            x = nn.relu(Norm(self.norm, dtype=self.dtype, name="depthwise_bn")(x, train=train))
        return ConvNorm(self.features, 1, norm=self.norm, dtype=self.dtype, name="pointwise")(x, train)


class FCNHead(nn.Module):
    """3x3 convolution, normalisation, ReLU, dropout and a 1x1 convolution to the scores.

    torchvision's FCN head, and the auxiliary classifier of FCN, DeepLab v3 and PSPNet (PSPNet, section 3.3).
    """

    num_classes: int
    features: int
    dropout: float = 0.1
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = ConvNorm(self.features, norm=self.norm, dtype=self.dtype, name="conv")(x, train)
        x = Dropout(self.dropout)(x, train=train)
        return Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x)


def enlarge(logits: Array, size: tuple[int, ...], align_corners: bool = False) -> Array:
    """``[B, h, w, K]`` scores to float32 of an image's size, bilinearly (pixel centres, or corners aligned)."""
    resize = partial(ops.resize_bilinear, size=(size[0], size[1]), align_corners=align_corners)
    return jax.vmap(resize)(logits.astype(jnp.float32))
