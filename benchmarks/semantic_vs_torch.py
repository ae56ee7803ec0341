"""U-Net, FCN-8s, and torchvision's FCN and DeepLab v3 on ResNet-50, against the same in PyTorch on this CPU.

``python -m benchmarks.semantic_vs_torch [--quick] [--size 512] [--batch 2] [--norm none|batch] [--rounds 5]
[--what inference|training] [--only unet|fcn|fcn_resnet50|deeplabv3_resnet50] [--paper-padding] [--memory]``

Prints, for inference and for a whole training step (cross-entropy, SGD with momentum), the medians in seconds and the
median of the ratios jaxseg / PyTorch (below 1: jaxseg is faster). Both run in one process, in turns, float32, the same
weights nowhere compared (tests do that); PyTorch's arrays are channels_last, its faster layout. ``--memory`` prints
instead the peak of each side's memory in training, each in a process of its own. ``make test EXTRAS=test,lint,parity``
installs what this needs.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from torch import nn

from jaxseg.losses import cross_entropy
from jaxseg.models import DeepLabV3ResNet50
from jaxseg.models.fcn import FCN, FCNResNet50
from jaxseg.models.unet import UNet
from tests.torchvision_models import import_torchvision

WHAT = ("inference", "training")
NETWORKS = ("unet", "fcn", "fcn_resnet50", "deeplabv3_resnet50")


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


def jax_calls(model, images: np.ndarray, labels: np.ndarray, wanted: tuple[str, ...] = WHAT):
    """For inference and training step: a call without arguments, the bytes beside its arguments, and the seconds it
    took to compile."""
    x, y = jax.device_put(images), jax.device_put(labels)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    optimizer = optax.sgd(0.01, momentum=0.9)
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    state = [params, rest, jax.jit(optimizer.init)(params)]

    def loss(params, rest, x, y):
        outputs, new = model.apply(
            {"params": params, **rest}, x, train=True, mutable=list(rest), rngs={"dropout": jax.random.key(1)}
        )
        return cross_entropy(outputs["logits"], y), new

    def step(params, rest, slots, x, y):
        (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(params, rest, x, y)
        updates, slots = optimizer.update(gradient, slots, params)
        return optax.apply_updates(params, updates), rest, slots, value

    kept = jax.tree.map(jnp.copy, variables)
    calls = {}
    if "inference" in wanted:
        infer, need = compiled(lambda v, x: model.apply(v, x)["logits"], kept, x)
        calls["inference"] = (lambda: infer(kept, x), *need)
    if "training" in wanted:
        train, need = compiled(step, *state, x, y, donate_argnums=(0, 1, 2))

        def train_once():
            *state[:], value = train(*state, x, y)
            return value

        calls["training"] = (train_once, *need)
    return calls


def compiled(f, *arguments, **options):
    start = time.perf_counter()
    program = jax.jit(f, **options).lower(*arguments).compile()
    return program, (program.memory_analysis().temp_size_in_bytes, time.perf_counter() - start)


def torch_calls(model: nn.Module, images: np.ndarray, labels: np.ndarray):
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


def networks(which: str, args: argparse.Namespace):
    """``(name, jaxseg's, PyTorch's)``."""
    base, wide = (16, 128) if args.quick else (64, 4096)
    if which == "unet":
        mine = UNet(21, base=base, norm=args.norm, dropout=0.0)
        return f"U-Net {base}, norm {args.norm}", mine, TorchUNet(21, base, args.norm)
    if which != "fcn":
        kind = FCNResNet50 if which == "fcn_resnet50" else DeepLabV3ResNet50
        return which, kind(21, aux=False), Torchvision(which, 21)
    mine = FCN(21, fc_features=wide, paper_padding=args.paper_padding, dropout=0.0)
    name = "FCN-8s, VGG-16" + ", padded by 100" * args.paper_padding
    return name, mine, TorchFCN8(21, wide, args.paper_padding)


def example(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(args.batch, args.size, args.size, 3)).astype(np.float32)
    return images, rng.integers(0, 21, size=(args.batch, args.size, args.size)).astype(np.int32)


def seconds(call: Callable[[], object]) -> float:
    """How long ``call`` takes; the other's threads, which wait busily for some time, have gone to sleep before."""
    time.sleep(0.3)
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def compare(which: str, args: argparse.Namespace) -> None:
    name, model, torch_model = networks(which, args)
    other = torch_calls(torch_model, *example(args))
    for what, (f, temporary, compiling) in jax_calls(model, *example(args), args.what).items():
        g = other[what]
        times = []
        for i in range(args.rounds + 1):
            mine_took, other_took = seconds(f), seconds(g)
            if i:  # the first round warms up
                times.append((mine_took, other_took))
        a, b = (statistics.median(t) for t in zip(*times))
        ratio = statistics.median(x / y for x, y in times)
        shape = f"{args.batch}x{args.size}x{args.size}"
        cost = f"{temporary / 2**30:.2f} | {compiling:.1f}"
        print(f"| {name}, {shape} | {what} | {a:.2f} | {b:.2f} | {ratio:.2f} | {cost} |", flush=True)


def peak_memory(side: str, which: str, args: argparse.Namespace) -> float:
    """GiB resident at most in a process that does nothing but three training steps."""
    _, model, torch_model = networks(which, args)
    if side == "jaxseg":
        train = jax_calls(model, *example(args), ("training",))["training"][0]
    else:
        train = torch_calls(torch_model, *example(args))["training"]
    for _ in range(3):
        jax.block_until_ready(train())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small network on small images, three rounds")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--norm", choices=("none", "batch"), default="none")
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--paper-padding", action="store_true", help="FCN-8s with the image padded by 100")
    parser.add_argument("--memory", action="store_true", help="peak memory of training instead of times")
    args = parser.parse_args()
    if args.quick:
        args.size, args.rounds = 64, 3
    chosen = (args.only,) if args.only else NETWORKS
    if args.memory:
        for which in chosen:
            for side in ("jaxseg", "PyTorch"):
                with multiprocessing.get_context("spawn").Pool(1) as alone:
                    print(
                        f"{which}, {side}: {alone.apply(peak_memory, (side, which, args)):.2f} GiB at most", flush=True
                    )
        return
    print(
        "| network | | jaxseg s | PyTorch s | ratio | temporary GiB | compiling s |\n|---|---|---|---|---|---|---|---|"
    )
    for which in chosen:
        compare(which, args)


if __name__ == "__main__":
    main()
