"""The same networks in plain PyTorch, written from the papers, to compare numbers with."""

import numpy as np
import torch
import torch.nn.functional as F


def weight(kernel):
    """Our ``[kh, kw, C, O]`` as PyTorch's ``[O, C, kh, kw]``."""
    return torch.tensor(np.asarray(kernel).transpose(3, 2, 0, 1))


def conv(p, x, padding=0):
    return F.conv2d(x, weight(p["kernel"]), torch.tensor(np.asarray(p["bias"])), padding=padding)


def up_conv(p, x, stride, padding=0):
    w = torch.tensor(np.asarray(p["kernel"]).transpose(2, 3, 0, 1))  # [C, O, kh, kw]
    return F.conv_transpose2d(x, w, torch.tensor(np.asarray(p["bias"])) if "bias" in p else None, stride, padding)


def unet(params, x, depth, padding):
    """Ronneberger et al. 2015, figure 1; x ``[B, 3, H, W]`` normalised."""

    def double(p, x):
        for i in (1, 2):
            x = F.relu(conv(p[f"conv{i}"], x, padding))
        return x

    skips = []
    for level in range(depth):
        x = double(params[f"down{level}"], x)
        skips.append(x)
        x = F.max_pool2d(x, 2)
    x = double(params["bottom"], x)
    for level in reversed(range(depth)):
        x = up_conv(params[f"up_conv{level}"], x, 2)
        skip = skips[level]
        top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
        x = torch.cat([skip[:, :, top : top + x.shape[2], left : left + x.shape[3]], x], 1)
        x = double(params[f"up{level}"], x)
    return conv(params["score"], x)


def bilinear(channels, factor):
    """The published upsample_filt, as a diagonal filter bank."""
    size = 2 * factor
    centre = factor - 0.5
    og = np.ogrid[:size, :size]
    filt = (1 - abs(og[0] - centre) / factor) * (1 - abs(og[1] - centre) / factor)
    w = np.zeros((channels, channels, size, size), np.float32)
    w[range(channels), range(channels)] = filt
    return torch.tensor(w)


def fcn(params, x, stride):
    """The authors' net definitions (voc-fcn32s, 16s, 8s), with Caffe's ceil-mode pooling and their crop offsets."""
    h, w = x.shape[2:]
    pools = {}
    for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            x = F.relu(conv(params["vgg"][f"conv{stage}_{i}"], x, 100 if stage == i == 1 else 1))
        x = pools[stage] = F.max_pool2d(x, 2, ceil_mode=True)
    x = F.relu(conv(params["fc7"], F.relu(conv(params["fc6"], x))))
    score = conv(params["score_fr"], x)
    for pool, at, offset in ((4, 16, 5), (3, 8, 9)):
        if at < stride:
            break
        up = up_conv(params[f"upscore_pool{pool}"], score, 2)
        skip = conv(params[f"score_pool{pool}"], pools[pool])
        score = up + skip[:, :, offset : offset + up.shape[2], offset : offset + up.shape[3]]
    offset = {32: 19, 16: 27, 8: 31}[stride]
    up = F.conv_transpose2d(score, bilinear(score.shape[1], stride), stride=stride)
    return up[:, :, offset : offset + h, offset : offset + w]


class Twin:
    """Layers looked up by name in the variables of a linen module, in inference."""

    def __init__(self, variables):
        self.params, self.stats = variables["params"], variables.get("batch_stats", {})

    def __getitem__(self, name):
        return Twin({"params": self.params[name], "batch_stats": self.stats.get(name, {})})

    def conv(self, x, padding=0, dilation=1):
        bias = torch.tensor(np.asarray(self.params["bias"])) if "bias" in self.params else None
        return F.conv2d(x, weight(self.params["kernel"]), bias, padding=padding, dilation=dilation)

    def bn(self, x):
        arrays = (self.stats["mean"], self.stats["var"], self.params["scale"], self.params["bias"])
        return F.batch_norm(x, *(torch.tensor(np.asarray(a)) for a in arrays))

    def conv_bn_relu(self, x, padding=1):
        return F.relu(self["bn"].bn(self["conv"].conv(x, padding)))


def pspnet_head(net, x, bins=(1, 2, 3, 6)):
    """Zhao et al. 2017, figure 3 from the feature map on, as in the authors' semseg: aligned corners."""
    levels = [x]
    for n in bins:
        pooled = net["pyramid"][f"bin{n}"].conv_bn_relu(F.adaptive_avg_pool2d(x, n), 0)
        levels.append(F.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=True))
    return net["score"].conv(net["head"].conv_bn_relu(torch.cat(levels, 1)))


def frrn(net, x, down, up):
    """Pohlen et al. 2017, table 1 and figure 2; x ``[B, 3, H, W]`` normalised, of sides that halve evenly."""

    def residual_unit(p, x):
        y = p["norm2"].bn(p["conv2"].conv(p["conv1"].conv_bn_relu(x), 1))
        return y + (p["project"].conv(x) if "project" in p.params else x)

    def unit(p, y, z, scale):
        y = torch.cat([y, F.max_pool2d(z, scale)], 1)
        y = p["conv2"].conv_bn_relu(p["conv1"].conv_bn_relu(y))
        return y, z + F.interpolate(p["back"].conv(y), scale_factor=scale, mode="nearest")

    def twice(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    x = net["first"].conv_bn_relu(x, 2)
    for i in range(3):
        x = residual_unit(net[f"before{i}"], x)
    z = net["split_norm"].bn(net["split"].conv(x))
    for stage, (units, _) in enumerate(down):
        x = F.max_pool2d(x, 2)
        for i in range(units):
            x, z = unit(net[f"down{stage}_{i}"], x, z, 2 ** (stage + 1))
    for stage, (units, _) in enumerate(up, len(down)):
        x = twice(x)
        for i in range(units):
            x, z = unit(net[f"up{stage}_{i}"], x, z, 2 ** (2 * len(down) - stage - 1))
    x = torch.cat([twice(x), z], 1)
    for i in range(3):
        x = residual_unit(net[f"after{i}"], x)
    return net["score"].conv(x)


def fusionnet(net, x, depth):
    """Quan et al. 2016, figures 2 and 3; x ``[B, 3, H, W]`` normalised, of sides that halve evenly."""

    def level(p, x):
        x = p["enter"].conv_bn_relu(x)
        y = p["residual2"].conv_bn_relu(p["residual1"].conv_bn_relu(x))
        return p["leave"].conv_bn_relu(x + p["residual3_bn"].bn(p["residual3"].conv(y, 1)))

    skips = []
    for i in range(depth):
        skips.append(level(net[f"down{i}"], x))
        x = F.max_pool2d(skips[-1], 2)
    x = level(net["bridge"], x)
    for i in reversed(range(depth)):
        kernel = torch.tensor(np.asarray(net[f"deconv{i}"].params["kernel"]).transpose(2, 3, 0, 1))
        x = F.conv_transpose2d(x, kernel, stride=2, padding=1, output_padding=1)
        x = level(net[f"up{i}"], F.relu(net[f"deconv{i}_bn"].bn(x)) + skips[i])
    return net["score"].conv(x, 1)


def vgg(net, x, poolings, last_dilation=1):
    """The outputs of VGG-16's five stages, and what the pooling after the last makes of them."""
    stages = []
    for stage, (depth, pooling) in enumerate(zip((2, 2, 3, 3, 3), poolings), 1):
        dilation = last_dilation if stage == 5 else 1
        for i in range(1, depth + 1):
            x = F.relu(net[f"conv{stage}_{i}"].conv(x, dilation, dilation))
        stages.append(x)
        x = pooling(x)
    return stages, x


def deeplab_large_fov(net, x, rate):
    """The authors' DeepLab-LargeFOV net definition: holes in conv5, fc6 with rate 12, Interp by 8 between corners."""
    halves, keeps = torch.nn.MaxPool2d(3, 2, 1), torch.nn.MaxPool2d(3, 1, 1)
    _, x = vgg(net["vgg"], x, [halves] * 3 + [keeps] * 2, last_dilation=2)
    branch = net[f"rate{rate}"]
    x = F.relu(branch["fc6"].conv(F.avg_pool2d(x, 3, 1, 1), rate, rate))
    x = branch["fc8"].conv(F.relu(branch["fc7"].conv(x)))
    return F.interpolate(x, [8 * (side - 1) + 1 for side in x.shape[2:]], mode="bilinear", align_corners=True)


def contextual(net, x):
    """Chen et al. 2016: one linear classifier on the three enlarged maps; sides are multiples of 8."""
    halves = torch.nn.MaxPool2d(2)
    (_, two, four, _, eight), _ = vgg(net["vgg"], x, [halves] * 3 + [torch.nn.Identity()] * 2)
    maps, kernels, bias = [], [], 0
    for stride, features in ((2, two), (4, four), (8, eight)):
        branch = net[f"branch{stride}"]
        maps.append(F.relu(up_conv(branch["deconv"].params, features, stride, stride // 2)))
        kernels.append(weight(branch["score"].params["kernel"]))
        bias = bias + np.asarray(branch["score"].params["bias"])
    return F.conv2d(torch.cat(maps, 1), torch.cat(kernels, 1), torch.tensor(bias))


def deconvnet(params, stats, x, train=False):
    """Noh et al. 2015, the authors' stage_2_train.prototxt: pooling keeps its indices, unpooling reads them."""

    def norm(name, x, p, s):
        p, s = p[name], s[name]
        mean, var, scale, bias = (torch.tensor(np.asarray(a)) for a in (s["mean"], s["var"], p["scale"], p["bias"]))
        return F.relu(F.batch_norm(x, mean, var, scale, bias, training=train, eps=1e-5))

    def down(p, x, padding):
        bias = torch.tensor(np.asarray(p["bias"])) if "bias" in p else None
        return F.conv2d(x, weight(p["kernel"]), bias, padding=padding)

    indices = {}
    for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            x = down(params["vgg"][f"conv{stage}_{i}"], x, 1)
            x = norm(f"bn{stage}_{i}", x, params["vgg"], stats["vgg"])
        x, indices[stage] = torch.nn.MaxPool2d(2, return_indices=True)(x)
    for name in ("fc6", "fc7"):
        x = norm(f"{name}_bn", down(params[name], x, 0), params, stats)
    x = norm("fc6_deconv_bn", up_conv(params["fc6_deconv"], x, 1), params, stats)
    for stage, depth in ((5, 3), (4, 3), (3, 3), (2, 2), (1, 2)):
        x = torch.nn.MaxUnpool2d(2)(x, indices[stage])
        for i in range(1, depth + 1):
            name = f"deconv{stage}_{i}"
            x = norm(f"{name}_bn", up_conv(params[name], x, 1, 1), params, stats)
    return conv(params["score"], x)
