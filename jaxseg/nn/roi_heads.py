"""What a two-stage detector computes of each region: ``[R, h, w, C]`` features to vectors, scores, transforms.

Layers bear torchvision's names.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.nn.fpn import xavier_uniform
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import Dropout, NormKind
from jaxseg.types import Array

he_of_outputs = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_torch_linear = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Connected(nn.Module):
    """Fully connected on all of ``[R, h, w, C]``: a convolution as large as the map, kernel ``[h, w, C, F]``."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: Any = xavier_uniform

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", self.kernel_init, (*x.shape[1:], self.features)).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,)).astype(self.dtype)
        flat = x.reshape(x.shape[0], -1).astype(self.dtype)
        return flat @ kernel.reshape(-1, self.features) + jnp.broadcast_to(bias, (x.shape[0], self.features))


class TwoFC(nn.Module):
    """Two fully connected layers with ReLU -> ``[R, features]``: FPN's (Lin et al. 2017, section 4.2), or with
    ``dropout`` after each VGG-16's own fc6 and fc7, of 4096 features and dropout 0.5."""

    features: int = 1024
    dtype: Any = jnp.float32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = nn.relu(Connected(self.features, self.dtype, name="fc6")(x))
        x = Dropout(self.dropout)(x, train=train)
        x = nn.relu(nn.Dense(self.features, dtype=self.dtype, kernel_init=xavier_uniform, name="fc7")(x))
        return Dropout(self.dropout)(x, train=train)


class ConvFC(nn.Module):
    """Four 3x3 convolutions and a fully connected layer (He et al. 2019, "Rethinking ImageNet pre-training")."""

    convs: int = 4
    channels: int = 256
    features: int = 1024
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for i in range(self.convs):
            x = ConvNorm(self.channels, norm=self.norm, dtype=self.dtype, name=f"conv{i}")(x, train)
        return nn.relu(Connected(self.features, self.dtype, name="fc")(x))


class MeanOverPlaces(nn.Module):
    """``[R, h, w, C]`` -> ``[R, C]``: what follows a ResNet's last stage."""

    def __call__(self, x: Array, train: bool) -> Array:
        return jnp.mean(x, (1, 2))


class BoxPredictor(nn.Module):
    """``[R, F]`` -> class scores ``[R, K + 1]``, background first, and transforms ``[R, K, 4]``, both float32.

    Background has no transform: torchvision's has one that nothing is ever made of.
    """

    num_classes: int
    normal: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        init = nn.initializers.normal if self.normal else lambda _: _torch_linear
        dense = partial(nn.Dense, dtype=self.dtype)
        scores = dense(self.num_classes + 1, kernel_init=init(0.01), name="cls_score")(x)
        deltas = dense(self.num_classes * 4, kernel_init=init(0.001), name="bbox_pred")(x)
        return scores.astype(jnp.float32), deltas.astype(jnp.float32).reshape(x.shape[0], self.num_classes, 4)


def flattened(module: Any, x: Array, *rest: Any) -> Any:
    """``module`` of ``[B, R, ...]`` as of ``[B R, ...]``, and its results back in batches."""
    b, r = x.shape[:2]
    y = module(x.reshape(b * r, *x.shape[2:]), *rest)
    return jax.tree.map(lambda v: v.reshape(b, r, *v.shape[1:]), y)
