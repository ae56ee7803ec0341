"""Deep contextual networks (Chen, Qi, Cheng & Heng, AAAI 2016): several depths, each brought up to the image, fused.

Followed ("Deep contextual network", figure 2): 16 convolutional layers, 3 max-poolings and 3 deconvolutions. VGG-16's
thirteen 3x3 convolutions, from a trained network, with its first three poolings; three branches, from the maps of
stride 2, 4 and 8, each enlarged to the image by a deconvolution with ReLU and scored by a 1x1 convolution; the scores
are added, which is one classifier on the concatenated branches. Each branch's own scores are an auxiliary classifier
against vanishing gradients, ``aux_stride2``, ..., whose weight begins at 1 and falls every 10,000 steps to 0.01
(:func:`auxiliary_weight`, for ``semantic(auxiliary_weight=...)``); dropout 0.5 before the scores.

Departs: pooling rounds odd sizes up and the branches are cropped to the image, where the paper crops its data. The
paper does not say how many channels the deconvolutions make: ``branch_features``. Its watershed on the membranes found
is for instances and stands apart.
"""

from typing import Any

import chex
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.nn import CAFFE, VGG16, Conv, ConvTranspose, Dropout, Normalization
from jaxseg.types import Array, Outputs


class Branch(nn.Module):
    """A map of ``stride`` to the image's resolution by learnt, at first bilinear, interpolation, and its scores."""

    num_classes: int
    features: int
    stride: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, size: tuple[int, ...], train: bool) -> Array:
        padding = self.stride // 2
        up = ConvTranspose(self.features, 2 * self.stride, self.stride, padding, dtype=self.dtype, name="deconv")
        x = nn.relu(up(x)[:, : size[0], : size[1]])
        x = Dropout(self.dropout)(x, train=train)
        return Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x).astype(jnp.float32)


class ContextualNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``, and in training
    ``"aux_stride2"``, ``"aux_stride4"`` and ``"aux_stride8"``. Any H, W >= 1.
    """

    num_classes: int
    base: int = 64
    branch_features: int = 64
    dropout: float = 0.5
    normalization: Normalization = CAFFE
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = self.normalization(images).astype(self.dtype)
        features = VGG16(poolings=3, base=self.base, dtype=self.dtype, name="vgg")(x)
        scores = {}
        for stride, stage in ((2, "conv2"), (4, "conv3"), (8, "conv5")):
            settings = (self.num_classes, self.branch_features, stride, self.dropout, self.dtype)
            branch = Branch(*settings, name=f"branch{stride}")
            scores[f"aux_stride{stride}"] = branch(features[stage], images.shape[1:3], train)
        return {"logits": sum(scores.values()), "features": features} | (scores if train else {})


def auxiliary_weight(every: int = 10_000) -> optax.Schedule:
    """The auxiliary classifiers' weight by step: 1, divided by 10 every so many steps, not below 0.01."""
    return optax.exponential_decay(1.0, every, 0.1, staircase=True, end_value=0.01)
