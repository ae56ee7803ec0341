"""VGG-16 (Simonyan & Zisserman 2015, configuration D) as a backbone: thirteen 3x3 convolutions and five poolings."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn.layers import Conv, Norm, NormKind, pad_to_multiple
from jaxseg.types import Array

VGG16_STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # (width in bases, convolutions) before each pooling


def max_pool_ceil(x: Array) -> Array:
    """2x2 max-pooling with stride 2 that keeps an odd last row and column, as Caffe does: H -> ceil(H / 2)."""
    # Every window begins on the image, so that what is added never wins, and gets no gradient.
    return ops.max_pool(pad_to_multiple(x, 2, -jnp.inf), 2)


class VGG16(nn.Module):
    """``[B, H, W, 3]`` normalised -> the five stages before and after their poolings, ``{"conv1": [B, H, W, 64],
    "pool1": [B, H/2, W/2, 64], ..., "pool5": [..., 512]}``.

    Layers are called ``conv1_1`` ... ``conv5_3`` as in the paper's models. ``first_padding`` is the zero padding of
    conv1_1 (FCN sets it to 100). Odd sizes round up at each pooling, as in Caffe, or down without ``ceil``, as in
    torchvision. ``base``: channels of the first stage. ``poolings``: the stages after so many keep the resolution.
    ``norm``: a normalisation ``bn1_1`` ... ``bn5_3`` after each convolution; those keep their biases, as torchvision's
    ``vgg16_bn`` does, unless ``use_bias`` is False.

    ``dilated`` is DeepLab's form: 3x3 poolings padded by 1, the last two without stride, and conv5 with dilation 2, so
    that the last map is 1/8 of the image (DeepLab v1, section 3.1). Sides of 8 n + 1 give n + 1, corners aligned.

    ``switches`` also gives each pooling's switches, ``{"switches1": ...}``, for unpooling; sides must then be multiples
    of 32.
    """

    first_padding: int = 1
    base: int = 64
    poolings: int = 5
    dilated: bool = False
    ceil: bool = True
    norm: NormKind = "none"
    use_bias: bool = True
    switches: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> dict[str, Array]:
        outputs, pool = {}, max_pool_ceil if self.ceil else partial(ops.max_pool, window=2)
        for stage, (width, depth) in enumerate(VGG16_STAGES, 1):
            dilation = 2 if self.dilated and stage == 5 else 1
            for i in range(1, depth + 1):
                padding = self.first_padding if stage == i == 1 else dilation
                conv = partial(Conv, use_bias=self.use_bias, dtype=self.dtype, name=f"conv{stage}_{i}")
                x = conv(width * self.base, 3, padding=padding, dilation=dilation)(x)
                x = nn.relu(Norm(self.norm, dtype=self.dtype, name=f"bn{stage}_{i}")(x, train=train))
            outputs[f"conv{stage}"] = x
            if self.switches:
                x, outputs[f"switches{stage}"] = ops.max_pool_with_switches(x, 2)
            elif self.dilated:
                x = ops.max_pool(x, 3, 2 if stage < 4 else 1, 1)
            elif stage <= self.poolings:
                x = pool(x)
            outputs[f"pool{stage}"] = x
        return outputs
