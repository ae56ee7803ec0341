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


def deconvnet(params, stats, x, train=False):
    """Noh et al. 2015, the authors' stage_2_train.prototxt: pooling keeps its indices, unpooling reads them."""

    def norm(name, x, p, s):
        p, s = p[name], s[name]
        mean, var, scale, bias = (torch.tensor(np.asarray(a)) for a in (s["mean"], s["var"], p["scale"], p["bias"]))
        return F.relu(F.batch_norm(x, mean, var, scale, bias, training=train, eps=1e-5))

    def down(p, x, padding):
        return F.conv2d(x, weight(p["kernel"]), padding=padding)

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
