"""VGG-16 (Simonyan & Zisserman, ICLR 2015, configuration D) as an image classifier.

Followed: thirteen 3x3 convolutions and five poolings (:class:`jaxseg.nn.VGG16`), three fully connected layers with
ReLU and dropout 0.5 after the first two (table 1, section 3.1). ``norm="batch"`` is torchvision's ``vgg16_bn``.

The fully connected layers are convolutions, fc6 as large as the 7x7 map it sees: the same numbers, and FCN's layers
(Long et al. 2015, section 3.1). Departs, as torchvision does: other sizes than 224 are averaged to 7x7 bins first.
"""

from functools import partial
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import nn as blocks
from jaxseg import ops
from jaxseg.nn import IMAGENET, Conv, Dropout, Normalization
from jaxseg.nn.layers import NormKind
from jaxseg.types import Array, Outputs


class VGG16(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, K] float32, "features": {"pool1", ..., "pool5"}}``; H, W >= 32."""

    num_classes: int
    fc_features: int = 4096
    norm: NormKind = "none"
    dropout: float = 0.5
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = self.normalization(images).astype(self.dtype)
        features = blocks.VGG16(ceil=False, norm=self.norm, dtype=self.dtype, name="vgg")(x, train=train)
        x = ops.adaptive_avg_pool(features["pool5"], (7, 7))
        for name, side in (("fc6", 7), ("fc7", 1)):
            x = nn.relu(Conv(self.fc_features, side, dtype=self.dtype, name=name)(x))
            x = Dropout(self.dropout)(x, train=train)
        logits = Conv(self.num_classes, 1, dtype=self.dtype, name="fc8")(x)
        return {"logits": logits[:, 0, 0].astype(jnp.float32), "features": features}


VGG16BN = partial(VGG16, norm="batch")
