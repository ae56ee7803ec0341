"""FusionNet (Quan, Hildebrand & Jeong 2016): U-Net's shape, residual at every level, with skips that are added.

Followed (section 3, figure 2, table 1): at each level a 3x3 convolution, a residual block of three more and another
3x3 convolution; 2x2 max-pooling and twice the channels on the way down (64 to 512, bridge 1024); 3x3 transposed
convolution with stride 2 and half the channels on the way up, to which the level's features are added, not
concatenated, so that the short and the long skips make one residual network; a 3x3 convolution to the scores. Batch
normalisation and ReLU after every convolution.

Departs: any size works, since the image is padded to the next multiple of ``2 ** depth`` inside and the scores are
cropped back. The paper's chain of several nets, each refining the membranes found by the one before, and its training
on rotations, elastic deformation and noise are choices of training and not of the network.
"""

from functools import partial
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.nn import Conv, ConvTranspose, Norm, Normalization
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import NormKind, pad_to_multiple
from jaxseg.ops import max_pool
from jaxseg.types import Array, Outputs


class ResidualLevel(nn.Module):
    """``conv3(x + F(x))`` with ``x = conv0(input)`` and F three convolutions, the last without ReLU (figure 3)."""

    features: int
    norm: NormKind
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = partial(ConvNorm, self.features, norm=self.norm, dtype=self.dtype)
        x = conv(name="enter")(x, train)
        y = conv(name="residual1")(x, train)
        y = conv(name="residual2")(y, train)
        y = Conv(self.features, 3, padding=1, use_bias=self.norm == "none", dtype=self.dtype, name="residual3")(y)
        y = Norm(self.norm, dtype=self.dtype, name="residual3_bn")(y, train=train)
        return conv(name="leave")(x + y, train)


class FusionNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": [level 0, ..., bridge]}``.

    Any H, W >= 1. ``base`` is the number of channels at full resolution, doubled ``depth`` times.
    """

    num_classes: int
    base: int = 64
    depth: int = 4
    norm: NormKind = "batch"
    normalization: Normalization = Normalization()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        _, h, w, _ = images.shape
        settings = {"norm": self.norm, "dtype": self.dtype}
        level = partial(ResidualLevel, **settings)
        x = pad_to_multiple(self.normalization(images).astype(self.dtype), 2**self.depth)
        features = []
        for i in range(self.depth):
            x = level(self.base * 2**i, name=f"down{i}")(x, train)
            features.append(x)
            x = max_pool(x, 2)
        x = level(self.base * 2**self.depth, name="bridge")(x, train)
        features.append(x)
        for i in reversed(range(self.depth)):
            up = partial(ConvTranspose, use_bias=self.norm == "none", dtype=self.dtype)
            x = up(self.base * 2**i, 3, 2, 1, output_padding=1, name=f"deconv{i}")(x)
            x = nn.relu(Norm(self.norm, dtype=self.dtype, name=f"deconv{i}_bn")(x, train=train))
            x = level(self.base * 2**i, name=f"up{i}")(x + features[i], train)
        logits = Conv(self.num_classes, 3, padding=1, dtype=self.dtype, name="score")(x).astype(jnp.float32)
        return {"logits": logits[:, :h, :w], "features": features}
