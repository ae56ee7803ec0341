"""The networks that ``semantic_vs_torch`` compares with, in PyTorch, and their inference and training steps."""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.torchvision_models import import_torchvision


def network(which: str, args: argparse.Namespace) -> nn.Module:
    base, wide = (16, 128) if args.quick else (64, 4096)
    if which == "unet":
        return TorchUNet(21, base, args.norm)
    return TorchFCN8(21, wide, args.paper_padding) if which == "fcn" else Torchvision(which, 21)


def calls(model: nn.Module, images: np.ndarray, labels: np.ndarray):
    x = torch.tensor(images).permute(0, 3, 1, 2)
    y = torch.tensor(labels).long()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01, momentum=0.9)

    def infer():
        model.eval()
        with torch.inference_mode():
            model(x)

    def train():
        model.train()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y, ignore_index=255).backward()
        optimizer.step()

    return {"inference": infer, "training": train}


class TorchDouble(nn.Sequential):
    def __init__(self, c: int, o: int, norm: str):
        layers = []
        for i in (c, o):
            layers += [nn.Conv2d(i, o, 3, padding=1, bias=norm == "none")]
            layers += [nn.BatchNorm2d(o)] if norm == "batch" else []
            layers += [nn.ReLU(inplace=True)]
        super().__init__(*layers)


class TorchUNet(nn.Module):
    def __init__(self, classes: int, base: int, norm: str):
        super().__init__()
        sizes = [base * 2**i for i in range(5)]
        self.down = nn.ModuleList(TorchDouble(c, o, norm) for c, o in zip([3, *sizes], sizes))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * s, s, 2, 2) for s in sizes[:-1])
        self.up = nn.ModuleList(TorchDouble(2 * s, s, norm) for s in sizes[:-1])
        self.score = nn.Conv2d(base, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for i in reversed(range(4)):
            x = self.up[i](torch.cat([skips[i], self.enlarge[i](x)], 1))
        return self.score(x)


class Torchvision(nn.Module):
    """A segmentation network of torchvision's, without its auxiliary head."""

    def __init__(self, name: str, classes: int):
        super().__init__()
        build = getattr(import_torchvision().models.segmentation, name)
        self.network = build(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)["out"]


class TorchFCN8(nn.Module):
    """``paper``: the image padded by 100 and the scores cropped back, as the authors'."""

    def __init__(self, classes: int, wide: int, paper: bool):
        super().__init__()
        self.paper = paper
        stages = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))
        self.stages = nn.ModuleList()
        for c, o, depth in stages:
            layers = []
            for i in range(depth):
                padding = 100 if paper and c == 3 and not i else 1
                layers += [nn.Conv2d(o if i else c, o, 3, padding=padding), nn.ReLU(inplace=True)]
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        self.fc6, self.fc7 = nn.Conv2d(512, wide, 7, padding=0 if paper else 3), nn.Conv2d(wide, wide, 1)
        self.scores = nn.ModuleList(nn.Conv2d(c, classes, 1) for c in (wide, 512, 256))
        twice = (nn.ConvTranspose2d(classes, classes, 4, 2, 0 if paper else 1, bias=False) for _ in range(2))
        self.twice = nn.ModuleList(twice)
        self.eight = nn.ConvTranspose2d(classes, classes, 16, 8, 0 if paper else 4, groups=classes, bias=False)
        self.eight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, pools = x.shape[2:], []
        for stage in self.stages:
            x = stage(x)
            pools.append(x)
        x = self.scores[0](F.relu(self.fc7(F.relu(self.fc6(x)))))
        for twice, score, pool, offset in zip(self.twice, self.scores[1:], (pools[3], pools[2]), (5, 9)):
            x, skip = twice(x), score(pool)
            x = x + crop(skip, offset, x.shape[2:]) if self.paper else crop(x, 0, skip.shape[2:]) + skip
        return crop(self.eight(x), 31 if self.paper else 0, size)


def crop(x: torch.Tensor, offset: int, size: torch.Size) -> torch.Tensor:
    return x[:, :, offset : offset + size[0], offset : offset + size[1]]
