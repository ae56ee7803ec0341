"""Residual networks as backbones: ResNet-18 to 152 (He et al., CVPR 2016), wide (Zagoruyko & Komodakis 2016), dilated.

Followed: table 1 of He et al. (stem, four stages, projection shortcuts where the shape changes). The stride of a
bottleneck stands in its 3x3 convolution, as in torchvision and Facebook's "v1.5"; ``stride_in_1x1=True`` puts it in
the first 1x1, as in the paper and in MSRA's weights, which detectron2 reads. ``wide_resnet50`` and ``101`` double the
3x3 convolutions of every bottleneck (torchvision's ``wide_resnet50_2``). ``output_stride`` 16 or 8 replaces the last
strides by dilation, so that features stay dense and every weight keeps its meaning (DeepLab v2, section 3.1).
``ResNet50D`` and the like are those of "Bag of Tricks" (He et al., CVPR 2019, section 4.2): a stem of three 3x3
convolutions (C), and average pooling before the projection in a shortcut with stride (D), as in timm's ``resnet50d``.

Layers bear torchvision's names: ``layer3.4.conv2`` is ``layer3_4/conv2`` here.
"""

from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn.layers import Conv, Norm, NormKind
from jaxseg.types import Array, JaxsegError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: ``relu(F(x) + x)`` (figure 5, left)."""

    features: int
    stride: int
    dilations: tuple[int, int]
    pooled_shortcut: bool
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        first, second = self.dilations
        y = self.conv(self.features, 3, stride=self.stride, padding=first, dilation=first, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y, train=train))
        y = self.conv(self.features, 3, padding=second, dilation=second, name="conv2")(y)
        y = self.norm(name="bn2")(y, train=train)
        return nn.relu(y + _shortcut(self, x, y.shape[-1], train))


class Bottleneck(nn.Module):
    """1x1 down to ``width``, 3x3, 1x1 up to four times ``features``, beside a shortcut (figure 5, right)."""

    features: int
    stride: int
    dilations: tuple[int, int]
    pooled_shortcut: bool
    width: int
    stride_in_1x1: bool
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        first, second = (self.stride, 1) if self.stride_in_1x1 else (1, self.stride)
        y = self.conv(self.width, 1, stride=first, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y, train=train))
        dilation = self.dilations[0]
        y = self.conv(self.width, 3, stride=second, padding=dilation, dilation=dilation, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y, train=train))
        y = self.conv(4 * self.features, 1, name="conv3")(y)
        y = self.norm(name="bn3")(y, train=train)
        return nn.relu(y + _shortcut(self, x, y.shape[-1], train))


def _shortcut(block: BasicBlock | Bottleneck, x: Array, features: int, train: bool) -> Array:
    """The input itself, or its projection where the block changes the shape."""
    if block.stride == 1 and x.shape[-1] == features:
        return x
    stride = block.stride
    if block.pooled_shortcut:
        x, stride = _pooled(x, stride, block.dilations[1]), 1
    y = block.conv(features, 1, stride=stride, name="downsample_conv")(x)
    return block.norm(name="downsample_bn")(y, train=train)


def _pooled(x: Array, stride: int, dilation: int) -> Array:
    """2x2 means by ``stride``; where dilation has replaced the stride, of each pixel and its next, as in timm."""
    if stride == 1:
        return ops.avg_pool(jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))), 2, 1) if dilation > 1 else x
    # A window with one row is the mean of that row and its copy.
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
    return ops.avg_pool(x, 2)


class ResNet(nn.Module):
    """``[B, H, W, 3]`` normalised -> ``{"stem": [B, H/2, W/2, 64], "layer1": [B, H/4, W/4, C], ..., "layer4"}``.

    Sizes round up at each stride. ``depths``: blocks of each stage; ``base``: channels of the stem and of the first
    stage, doubled from stage to stage (times 4 at the end of a bottleneck); ``width``: how often wider a bottleneck's
    3x3 convolution is. ``output_stride``: what layer4's stride is held at by dilation; a stage that is dilated keeps
    the dilation before it in its first block, as torchvision does, unless ``dilate_first``, or ``multi_grid`` gives
    factors for the blocks of layer4 (DeepLab v3, section 3.2.1). ``stem``: one 7x7; or three 3x3 convolutions, the
    last twice as wide (``"3x3"``, PSPNet's and detectron2's DeepLab's), or half as wide (``"3x3 half"``, ResNet-C's).
    ``pooled_shortcut``: ResNet-D's. ``remat`` recomputes each block in the backward pass. ``stages``: which of the four
    there are; without the first the input is what the stage before would give, and there is no stem.
    """

    depths: tuple[int, int, int, int]
    bottleneck: bool = True
    base: int = 64
    width: int = 1
    output_stride: Literal[32, 16, 8] = 32
    multi_grid: tuple[int, ...] = ()
    dilate_first: bool = False
    stem: Literal["7x7", "3x3", "3x3 half"] = "7x7"
    pooled_shortcut: bool = False
    stride_in_1x1: bool = False
    norm: NormKind = "batch"
    epsilon: float = 1e-5
    momentum: float = 0.9
    remat: bool = False
    stages: tuple[int, ...] = (1, 2, 3, 4)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> dict[str, Array]:
        if self.multi_grid and len(self.multi_grid) != self.depths[3]:
            raise JaxsegError(
                f"multi_grid is {self.multi_grid}; expected {self.depths[3]} factors, one for each block of layer4"
            )
        outputs = {}
        if 1 in self.stages:
            outputs["stem"] = x = self._stem(x, train)
            x = ops.max_pool(x, 3, 2, 1)
        for stage, blocks in enumerate(self._geometry()):
            if stage + 1 not in self.stages:
                continue
            for i, (stride, dilations) in enumerate(blocks):
                x = self._block(stage, i, stride, dilations)(x, train)
            outputs[f"layer{stage + 1}"] = x
        return outputs

    def _geometry(self) -> list[list[tuple[int, tuple[int, int]]]]:
        """For each block of each stage its stride and the dilations of its (first, second) 3x3 convolution."""
        if self.output_stride not in (8, 16, 32):
            raise JaxsegError(f"output_stride is {self.output_stride}; a ResNet here has 32, 16 or 8")
        stages, reached, dilation = [], 4, 1
        for stage, depth in enumerate(self.depths):
            stride, before = (1 if stage == 0 else 2), dilation
            if reached * stride > self.output_stride:
                stride, dilation = 1, 2 * dilation
            reached *= stride
            blocks = [(1, (dilation, dilation))] * depth
            blocks[0] = (stride, (dilation if self.dilate_first else before, dilation))
            if stage == 3 and self.multi_grid:
                blocks = [(s, (dilation * g, dilation * g)) for (s, _), g in zip(blocks, self.multi_grid)]
            stages.append(blocks)
        return stages

    def _stem(self, x: Array, train: bool) -> Array:
        conv, norm = self._layers()
        if self.stem == "7x7":
            x = conv(self.base, 7, stride=2, padding=3, name="conv1")(x)
            return nn.relu(norm(name="bn1")(x, train=train))
        base = self.base if self.stem == "3x3" else self.base // 2
        for i, (features, stride) in enumerate(((base, 2), (base, 1), (2 * base, 1)), 1):
            x = conv(features, 3, stride=stride, padding=1, name=f"stem_conv{i}")(x)
            x = nn.relu(norm(name=f"stem_bn{i}")(x, train=train))
        return x

    def _block(self, stage: int, i: int, stride: int, dilations: tuple[int, int]) -> Any:
        kind: Any = Bottleneck if self.bottleneck else BasicBlock
        kind = nn.remat(kind, static_argnums=(2,)) if self.remat else kind
        features, (conv, norm) = self.base * 2**stage, self._layers()
        own = {"width": features * self.width, "stride_in_1x1": self.stride_in_1x1} if self.bottleneck else {}
        shared = {"pooled_shortcut": self.pooled_shortcut, "conv": conv, "norm": norm}
        return kind(features, stride, dilations, **own, **shared, name=f"layer{stage + 1}_{i}")

    def _layers(self) -> tuple[Any, Any]:
        """The convolution and the normalisation that all blocks use."""
        norm = partial(Norm, self.norm, momentum=self.momentum, epsilon=self.epsilon, dtype=self.dtype)
        return partial(Conv, use_bias=self.norm == "none", dtype=self.dtype), norm


ResNet18 = partial(ResNet, (2, 2, 2, 2), bottleneck=False)
ResNet34 = partial(ResNet, (3, 4, 6, 3), bottleneck=False)
ResNet50 = partial(ResNet, (3, 4, 6, 3))
ResNet101 = partial(ResNet, (3, 4, 23, 3))
ResNet152 = partial(ResNet, (3, 8, 36, 3))
ResNet50D = partial(ResNet50, stem="3x3 half", pooled_shortcut=True)
ResNet101D = partial(ResNet101, stem="3x3 half", pooled_shortcut=True)
WideResNet50 = partial(ResNet50, width=2)
WideResNet101 = partial(ResNet101, width=2)
