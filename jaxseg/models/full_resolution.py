"""A stack of 3x3 convolutions at full resolution: the first idea for segmentation without sliding a window.

Stride 1 and padding 1 throughout, so the scores have the image's size. The receptive field grows by 2 a
layer, ``1 + 2 * depth`` pixels: reaching across an image takes very many layers, each as expensive as the
first. It is here to be measured against networks that go down and up again.
"""

from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.nn import Conv, Norm, Normalization
from jaxseg.nn.layers import NormKind
from jaxseg.types import Array, Outputs


class FullResolution(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32}``; any H, W >= 1.

    ``depth`` counts the 3x3 convolutions, the one that gives the scores included.
    """

    num_classes: int
    features: int = 64
    depth: int = 8
    norm: NormKind = "none"
    normalization: Normalization = Normalization()
    dtype: Any = jnp.float32

    @property
    def receptive_field(self) -> int:
        return 1 + 2 * self.depth

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = self.normalization(images).astype(self.dtype)
        for i in range(1, self.depth):
            x = Conv(self.features, 3, padding=1, use_bias=self.norm == "none", dtype=self.dtype, name=f"conv{i}")(x)
            x = nn.relu(Norm(self.norm, dtype=self.dtype, name=f"norm{i}")(x, train=train))
        logits = Conv(self.num_classes, 3, padding=1, dtype=self.dtype, name="score")(x)
        return {"logits": logits.astype(jnp.float32)}
