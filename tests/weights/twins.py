"""Others' networks in plain PyTorch, run from a state dict under its own names.

Each was compared with the package it stands for, whose names and shapes are recorded in ``names/``.
"""

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

NAMES = Path(__file__).parent / "names"


def random_state(file, blocks=None):
    """Random arrays under the recorded names: kernels that keep the scale, statistics that are nobody's default.

    ``blocks``: only so many residual blocks of each stage, for speed.
    """
    rng, state = np.random.default_rng(0), {}
    for line in (NAMES / f"{file}.txt").read_text().splitlines()[1:]:
        name, _, sides = line.partition(" ")
        block = re.search(r"layer\d\.(\d+)\.|layers\.(\d+)\.", name)
        if blocks is not None and block and int(block[1] or block[2]) >= blocks:
            continue
        shape = tuple(int(side) for side in sides.split(",")) if sides else ()
        if len(shape) > 1:
            value = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        elif name.endswith(("running_var", ".weight")):
            value = rng.uniform(0.5, 1, shape)
        else:
            value = rng.uniform(-0.2, 0.2, shape)
        state[name] = np.asarray(value, np.float32)
    return state


class Net:
    """Layers by their names."""

    def __init__(self, state):
        self.state = {name: torch.tensor(np.asarray(value)) for name, value in state.items()}

    def conv(self, name, x, stride=1, dilation=1, depthwise=False):
        weight = self.state[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        groups = x.shape[1] if depthwise else 1
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding, dilation, groups)

    def norm(self, name, x):
        of = [self.state[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *of, eps=1e-5)

    def conv_norm(self, conv, norm, x, **how):
        return F.relu(self.norm(norm, self.conv(conv, x, **how)))

    def linear(self, name, x):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def has(self, name):
        return f"{name}.weight" in self.state


def residual_stages(net, x, layer, shortcut, output_stride=32, dilate_first=False, pooled=False):
    """The four stages from the stem on. ``layer(stage, block, i)``: names of a convolution and its normalisation."""
    features, reached, dilation = [], 4, 1
    for stage in range(4):
        stride, before = (1 if stage == 0 else 2), dilation
        if reached * stride > output_stride:
            stride, dilation = 1, 2 * dilation
        reached *= stride
        block = 0
        while net.has(layer(stage, block, 0)[0]):
            first = block == 0
            step = stride if first else 1
            holes = [dilation] * 3
            if first and not dilate_first:
                holes[0 if not net.has(layer(stage, block, 2)[0]) else 1] = before
            x = residual_block(net, x, [layer(stage, block, i) for i in range(3)], step, holes, dilation,
                               shortcut(stage, block), pooled)  # fmt: skip
            block += 1
        features.append(x)
    return features


def residual_block(net, x, names, stride, holes, dilation, shortcut, pooled):
    y, count = x, sum(net.has(conv) for conv, _ in names)
    strided = count - 2  # the 3x3 of a bottleneck, the first of a basic block
    for i, (conv, norm) in enumerate(names[:count]):
        y = net.norm(norm, net.conv(conv, y, stride=stride if i == strided else 1, dilation=holes[i]))
        y = F.relu(y) if i + 1 < count else y
    if net.has(shortcut[0]):
        if pooled and stride == 1 and dilation > 1:
            x = F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)
        elif pooled and stride > 1:
            x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
        x = net.norm(shortcut[1], net.conv(shortcut[0], x, stride=1 if pooled else stride))
    return F.relu(x + y)


def torchvision_stages(net, x, prefix="", **how):
    def layer(stage, block, i):
        return f"{prefix}layer{stage + 1}.{block}.conv{i + 1}", f"{prefix}layer{stage + 1}.{block}.bn{i + 1}"

    def shortcut(stage, block):
        name, first = f"{prefix}layer{stage + 1}.{block}.downsample", 1 if how.get("pooled") else 0
        return f"{name}.{first}", f"{name}.{first + 1}"

    return residual_stages(net, x, layer, shortcut, **how)


def timm_resnet_d(state, x, output_stride=32):
    """timm's resnet50d: (stages, logits)."""
    net = Net(state)
    x = net.conv_norm("conv1.0", "conv1.1", x, stride=2)
    x = net.conv_norm("conv1.6", "bn1", net.conv_norm("conv1.3", "conv1.4", x))
    features = torchvision_stages(net, F.max_pool2d(x, 3, 2, 1), output_stride=output_stride, pooled=True)
    return features, net.linear("fc", features[-1].mean((2, 3)))


def huggingface_resnet(state, x):
    """ResNetForImageClassification: (stages, logits)."""
    net = Net(state)
    stem, stages = "resnet.embedder.embedder", "resnet.encoder.stages"

    def pair(name):
        return f"{name}.convolution", f"{name}.normalization"

    x = F.max_pool2d(net.conv_norm(*pair(stem), x, stride=2), 3, 2, 1)
    features = residual_stages(
        net,
        x,
        lambda stage, block, i: pair(f"{stages}.{stage}.layers.{block}.layer.{i}"),
        lambda stage, block: pair(f"{stages}.{stage}.layers.{block}.shortcut"),
    )
    return features, net.linear("classifier.1", features[-1].mean((2, 3)))


def smp_encoder(net, x, output_stride=32):
    stem = net.conv_norm("encoder.conv1", "encoder.bn1", x, stride=2)
    x = F.max_pool2d(stem, 3, 2, 1)
    return [stem, *torchvision_stages(net, x, "encoder.", output_stride=output_stride, dilate_first=True)]


def smp_unet(state, x):
    """Unet: (stages, logits)."""
    net = Net(state)
    skips = [x, *smp_encoder(net, x)]
    y = skips[-1]
    for i, skip in enumerate(skips[-2::-1]):
        y = F.interpolate(y, skip.shape[2:], mode="nearest")
        y = torch.cat([y, skip], 1) if i < 4 else y
        for j in (1, 2):
            y = net.conv_norm(f"decoder.blocks.{i}.conv{j}.0", f"decoder.blocks.{i}.conv{j}.1", y)
    return skips[2:], net.conv("segmentation_head.0", y)


def smp_deeplab_v3_plus(state, x, output_stride=16):
    """DeepLabV3Plus: (stages, logits). Sides are multiples of the output stride."""
    net = Net(state)

    def separable(name, norm, y, dilation=1):
        y = net.conv(f"{name}.0", y, dilation=dilation, depthwise=True)
        return net.conv_norm(f"{name}.1", norm, y)

    def enlarged(y, factor):
        return F.interpolate(y, scale_factor=factor, mode="bilinear", align_corners=True)

    _, *features = smp_encoder(net, x, output_stride)
    aspp, last = "decoder.aspp.0", features[-1]
    branches = [net.conv_norm(f"{aspp}.convs.0.0", f"{aspp}.convs.0.1", last)]
    for i, rate in enumerate((12, 24, 36), 1):
        branches.append(separable(f"{aspp}.convs.{i}.0", f"{aspp}.convs.{i}.1", last, rate))
    pooled = net.conv_norm(f"{aspp}.convs.4.1", f"{aspp}.convs.4.2", last.mean((2, 3), keepdim=True))
    branches.append(pooled.expand(-1, -1, *last.shape[2:]))
    y = net.conv_norm(f"{aspp}.project.0", f"{aspp}.project.1", torch.cat(branches, 1))
    y = enlarged(separable("decoder.aspp.1", "decoder.aspp.2", y), output_stride // 4)
    low = net.conv_norm("decoder.block1.0", "decoder.block1.1", features[0])
    y = separable("decoder.block2.0", "decoder.block2.1", torch.cat([y, low], 1))
    return features, enlarged(net.conv("segmentation_head.0", y), 4)
