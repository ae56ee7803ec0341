"""Hourglass networks (Newell et al. 2016), as CornerNet has them (Law & Deng 2018, section 3.5)."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import Conv, Norm, NormKind
from jaxseg.nn.resnet import BasicBlock
from jaxseg.types import Array


class Hourglass(nn.Module):
    """Down to half the size again and again, and up by repeating each value; at every size what was there on the way
    down, through blocks of its own, is added: ``[B, H, W, channels[0]]`` -> the same.

    ``channels`` and ``blocks``: of each size, the first the input's; one size less than there are is halved, so sides
    must be multiples of ``2 ** (len(channels) - 1)``. By strides, not by pooling.
    """

    channels: tuple[int, ...] = (256, 256, 384, 384, 384, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 4)
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        (outer, inner, *_), (count, below, *_) = self.channels, self.blocks
        block = partial(residual, self.norm, self.dtype)

        def layer(x: Array, name: str, features: list[int], stride: int = 1) -> Array:
            for i, width in enumerate(features):
                x = block(width, stride if i == 0 else 1, f"{name}_{i}")(x, train)
            return x

        aside = layer(x, "aside", [outer] * count)
        y = layer(x, "down", [inner] * count, 2)
        if len(self.channels) > 2:
            y = Hourglass(self.channels[1:], self.blocks[1:], self.norm, self.dtype, name="inner")(y, train)
        else:
            y = layer(y, "middle", [inner] * below)
        y = layer(y, "up", [inner] * (count - 1) + [outer])
        return aside + ops.unpool_nearest(y, 2)


class StackedHourglass(nn.Module):
    """Normalised images ``[B, H, W, 3]`` -> of each of ``stacks`` hourglasses, one after another, a map ``[B, H/4, W/4,
    channels[0]]``; sides must be multiples of ``multiple``.

    Between two of them the map, the next one's input and a block are put together (section 3.5). Two of the default
    widths are Hourglass-104.
    """

    channels: tuple[int, ...] = (256, 256, 384, 384, 384, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 4)
    stacks: int = 2
    stem: int = 128
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @property
    def multiple(self) -> int:
        return 4 * 2 ** (len(self.channels) - 1)

    @nn.compact
    def __call__(self, x: Array, train: bool) -> list[Array]:
        width, block = self.channels[0], partial(residual, self.norm, self.dtype)
        norm, conv = partial(Norm, self.norm, dtype=self.dtype), partial(Conv, dtype=self.dtype, use_bias=False)
        x = conv(self.stem, 7, 2, padding=3, name="stem_conv")(x)
        x = block(width, 2, "stem_block")(nn.relu(norm(name="stem_bn")(x, train=train)), train)
        maps = []
        for i in range(self.stacks):
            y = Hourglass(self.channels, self.blocks, self.norm, self.dtype, name=f"hourglass{i}")(x, train)
            maps.append(ConvNorm(width, norm=self.norm, dtype=self.dtype, name=f"out{i}")(y, train))
            if i + 1 < self.stacks:
                parts = {"before": x, "after": maps[-1]}
                both = [
                    norm(name=f"{name}{i}_bn")(conv(width, 1, name=f"{name}{i}")(part), train=train)
                    for name, part in parts.items()
                ]
                x = block(width, 1, f"between{i}")(nn.relu(both[0] + both[1]), train)
        return maps


def residual(norm: NormKind, dtype: Any, features: int, stride: int, name: str) -> BasicBlock:
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 where size or channels change."""
    conv, kind = partial(Conv, use_bias=False, dtype=dtype), partial(Norm, norm, dtype=dtype)
    return BasicBlock(features, stride, (1, 1), False, conv, kind, name=name)
