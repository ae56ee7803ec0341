"""VGG-16 (Simonyan & Zisserman 2015, configuration D) as a backbone: thirteen 3x3 convolutions and five poolings."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn.layers import Conv
from jaxseg.types import Array

VGG16_STAGES = (
    (64, 2),
    (128, 2),
    (256, 3),
    (512, 3),
    (512, 3),
)  # (features, convolutions) before each pooling


def max_pool_ceil(x: Array) -> Array:
    """2x2 max-pooling with stride 2 that keeps an odd last row and column, as Caffe does: H -> ceil(H / 2)."""
    _, h, w, _ = x.shape
    # Repeating the last row changes no maximum; on a tie the first wins, so no gradient reaches the copy.
    x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge") if h % 2 or w % 2 else x
    return ops.max_pool(x, 2)


class VGG16(nn.Module):
    """``[B, H, W, 3]`` normalised -> the five poolings, ``{"pool1": [B, H/2, W/2, 64], ..., "pool5": [..., 512]}``.

    What each of them pools is there too: ``"conv1"`` [B, H, W, 64], ..., ``"conv5"`` [B, H/16, W/16, 512].
    Layers are called ``conv1_1`` ... ``conv5_3`` as in the paper's models. ``first_padding`` is the zero padding of
    conv1_1 (FCN sets it to 100). Odd sizes round up at each pooling.

    ``dilated`` is DeepLab's form: 3x3 poolings padded by 1, the last two without stride, and conv5 with dilation 2, so
    that the last map is 1/8 of the image (DeepLab v1, section 3.1). Sides of 8 n + 1 give n + 1, corners aligned.
    """

    first_padding: int = 1
    dilated: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        outputs = {}
        for stage, (features, depth) in enumerate(VGG16_STAGES, 1):
            dilation = 2 if self.dilated and stage == 5 else 1
            for i in range(1, depth + 1):
                padding = self.first_padding if stage == i == 1 else dilation
                conv = Conv(features, 3, padding=padding, dilation=dilation, dtype=self.dtype, name=f"conv{stage}_{i}")
                x = nn.relu(conv(x))
            outputs[f"conv{stage}"] = x
            x = ops.max_pool(x, 3, 2 if stage < 4 else 1, 1) if self.dilated else max_pool_ceil(x)
            outputs[f"pool{stage}"] = x
        return outputs
