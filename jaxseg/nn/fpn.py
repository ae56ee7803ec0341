"""Feature pyramid network (Lin et al. 2017): semantically strong maps at every resolution.

Followed: a 1x1 convolution of each stage, the coarser map enlarged twice by nearest neighbour and added, a 3x3
convolution against aliasing (section 3); for detection one more level, every second place of the coarsest (section
4.1). Layers bear torchvision's names: ``inner_blocks.0`` is ``inner0`` here.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn.layers import Conv, Norm, NormKind
from jaxseg.nn.resnet import ResNet
from jaxseg.nn.vgg import VGG16
from jaxseg.types import Array

xavier_uniform = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")  # Caffe2's, of fan-in alone


class FPN(nn.Module):
    """Stages ``[B, H, W, C_i]``, finest first, each half (rounded up) of the one before -> as many ``[B, H, W, F]``,
    and one more, coarser still, with ``extra``.

    ``norm``: after each convolution; ReLU comes nowhere.
    """

    features: int = 256
    extra: bool = True
    norm: NormKind = "none"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, stages: tuple[Array, ...], train: bool) -> tuple[Array, ...]:
        conv = partial(
            Conv, self.features, kernel_init=xavier_uniform, use_bias=self.norm == "none", dtype=self.dtype
        )  # fmt: skip
        norm = partial(Norm, self.norm, dtype=self.dtype)

        def layer(x: Array, name: str, size: int) -> Array:
            y = conv(size, padding=size // 2, name=name)(x)
            return norm(name=f"{name}_bn")(y, train=train)

        merged: list[Array] = []
        for i, stage in reversed(list(enumerate(stages))):
            x = layer(stage, f"inner{i}", 1)
            if merged:
                # To the lateral's size, as in torchvision; detectron2's is always twice, and its sizes always even.
                above = ops.unpool_nearest(merged[-1], 2)
                x = x + above[:, : x.shape[1], : x.shape[2]]
            merged.append(x)
        levels = [layer(x, f"layer{i}", 3) for i, x in enumerate(reversed(merged))]
        if self.extra:
            levels.append(levels[-1][:, ::2, ::2])
        return tuple(levels)


class ResNetFPN(nn.Module):
    """``[B, H, W, 3]`` normalised, H and W multiples of 32 -> P2 to P5, of strides 4 to 32, and P6."""

    resnet: ResNet
    fpn: FPN

    strides = (4, 8, 16, 32, 64)
    roi_levels = 4  # P6 is for proposals alone
    multiple = 32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, ...]:
        stages = self.resnet(x, train=train)
        return self.fpn(tuple(stages[f"layer{i}"] for i in (1, 2, 3, 4)), train)


class ResNetLevel(nn.Module):
    """``[B, H, W, 3]`` normalised -> one level of stride 16: ``layer3`` of a ResNet of three stages (C4), or ``layer4``
    of one of output stride 16 (DC5)."""

    resnet: ResNet
    layer: str = "layer3"

    strides = (16,)
    roi_levels = 1
    multiple = 1

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, ...]:
        return (self.resnet(x, train=train)[self.layer],)


class VGGLevel(nn.Module):
    """``[B, H, W, 3]`` normalised -> one level of stride 16: the last map of a VGG-16 of four poolings."""

    vgg: VGG16

    strides = (16,)
    roi_levels = 1
    multiple = 1

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, ...]:
        return (self.vgg(x, train=train)["conv5"],)


class RegionStage(nn.Module):
    """A ResNet's last stage on each region, ``[R, 14, 14, C]`` -> ``[R, 7, 7, 2 C]`` (He et al. 2016, appendix A)."""

    resnet: ResNet

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        return self.resnet(x, train=train)["layer4"]
