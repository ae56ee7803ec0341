"""Full-resolution residual networks (Pohlen, Hermans, Mathias & Leibe, CVPR 2017): FRRN-A and FRRN-B.

Two streams. The residual stream stays at full resolution and is only added to, so that borders are kept and gradients
flow; the pooling stream goes down and up again and sees what things are. A full-resolution residual unit (FRRU, figure
2) joins them: the residual stream, max-pooled to the pooling stream's resolution, is concatenated to it; two 3x3
convolutions give the pooling stream's new value; a 1x1 convolution of that, enlarged by repeating, is added to the
residual stream.

Followed: table 1 (A: down to 1/16, B: to 1/32), 48 base channels and 32 in the residual stream; residual units of two
3x3 convolutions, the second without ReLU, no ReLU after the sum; normalisation everywhere but in the 1x1 convolutions
back to the residual stream and the last projection; bilinear enlargement in the pooling stream (section 4 and the
authors' published network). Trained there with the bootstrapped cross-entropy (``jaxseg.losses.ohem_cross_entropy``)
on the 512 * 64 worst pixels of each image and ADAM at 0.001, on images at half resolution.

Departs: sizes that are no multiple of the coarsest stride are padded inside, and the scores cropped back.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import Conv, Norm, Normalization
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import NormKind, pad_to_multiple
from jaxseg.types import Array, Outputs

Level = tuple[int, int]
"""``(units, channels as a multiple of the base)`` of the pooling stream at one resolution."""
DOWN_A: tuple[Level, ...] = ((3, 2), (4, 4), (2, 8), (2, 8))
UP_A: tuple[Level, ...] = ((2, 4), (2, 4), (2, 2))
DOWN_B: tuple[Level, ...] = (*DOWN_A, (2, 8))
UP_B: tuple[Level, ...] = ((2, 4), *UP_A)


class ResidualUnit(nn.Module):
    """``x + F(x)``, F two 3x3 convolutions (figure 2a); x is projected where the channels change."""

    features: int
    norm: NormKind
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = partial(Conv, self.features, dtype=self.dtype)
        y = ConvNorm(self.features, norm=self.norm, dtype=self.dtype, name="conv1")(x, train)
        y = conv(3, padding=1, use_bias=self.norm == "none", name="conv2")(y)
        y = Norm(self.norm, dtype=self.dtype, name="norm2")(y, train=train)
        return y + (x if x.shape[-1] == self.features else conv(1, use_bias=False, name="project")(x))


class FRRU(nn.Module):
    """``(pooling stream, residual stream)`` -> the same, the latter being ``scale`` times as large (figure 2b)."""

    features: int
    scale: int
    norm: NormKind
    dtype: Any

    @nn.compact
    def __call__(self, streams: tuple[Array, Array], train: bool) -> tuple[Array, Array]:
        pooling, residual = streams
        conv = partial(ConvNorm, self.features, norm=self.norm, dtype=self.dtype)
        y = conv(name="conv1")((pooling, ops.max_pool(residual, self.scale)), train)
        y = conv(name="conv2")(y, train)
        back = Conv(residual.shape[-1], 1, dtype=self.dtype, name="back")(y)
        return y, residual + ops.unpool_nearest(back, self.scale)


class FRRN(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {"pooling", "residual"}}``, both
    streams as they meet at full resolution. Any H, W >= 1.
    """

    num_classes: int
    down: tuple[Level, ...] = DOWN_A
    up: tuple[Level, ...] = UP_A
    base: int = 48
    residual_features: int = 32
    norm: NormKind = "batch"
    normalization: Normalization = Normalization()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        _, h, w, _ = images.shape
        settings = {"norm": self.norm, "dtype": self.dtype}
        x = pad_to_multiple(self.normalization(images).astype(self.dtype), 2 ** len(self.down))
        x = ConvNorm(self.base, 5, **settings, name="first")(x, train)
        for i in range(3):
            x = ResidualUnit(self.base, **settings, name=f"before{i}")(x, train)
        z = Conv(self.residual_features, 1, use_bias=self.norm == "none", dtype=self.dtype, name="split")(x)
        z = Norm(self.norm, dtype=self.dtype, name="split_norm")(z, train=train)

        steps = [("down", *level) for level in self.down] + [("up", *level) for level in self.up]
        scale = 1
        for stage, (way, units, multiple) in enumerate(steps):
            x, scale = (ops.max_pool(x, 2), 2 * scale) if way == "down" else (enlarge_twice(x), scale // 2)
            for i in range(units):
                x, z = FRRU(multiple * self.base, scale, **settings, name=f"{way}{stage}_{i}")((x, z), train)

        both = (enlarge_twice(x), z)
        x = jnp.concatenate(both, -1)
        for i in range(3):
            x = ResidualUnit(self.base, **settings, name=f"after{i}")(x, train)
        logits = Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x).astype(jnp.float32)
        return {"logits": logits[:, :h, :w], "features": dict(zip(("pooling", "residual"), both))}


def enlarge_twice(x: Array) -> Array:
    """``[B, H, W, C]`` bilinearly to ``[B, 2 H, 2 W, C]``."""
    return jax.vmap(partial(ops.resize_bilinear, size=(2 * x.shape[1], 2 * x.shape[2])))(x)


FRRNA = partial(FRRN, down=DOWN_A, up=UP_A)
FRRNB = partial(FRRN, down=DOWN_B, up=UP_B)
