"""U-Net, FCN-8s, and torchvision's FCN and DeepLab v3 on ResNet-50, against the same in PyTorch on this CPU.

``python -m benchmarks.semantic_vs_torch [--quick] [--size 512] [--batch 2] [--norm none|batch] [--rounds 5]
[--what inference|training] [--only unet|fcn|fcn_resnet50|deeplabv3_resnet50] [--paper-padding] [--memory]``

Prints, for inference and for a whole training step (cross-entropy, SGD with momentum), the medians in seconds and the
median of the ratios jaxseg / PyTorch (below 1: jaxseg is faster). Both run in one process, in turns, float32, the same
weights nowhere compared (tests do that); PyTorch's arrays are channels_last, its faster layout. ``--memory`` prints
instead the peak of each side's memory in training, each in a process of its own, jaxseg's also with the program from
jax's persistent cache. ``make test EXTRAS=test,lint,parity`` installs what this needs.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxseg.losses import cross_entropy
from jaxseg.models import DeepLabV3ResNet50
from jaxseg.models.fcn import FCN, FCNResNet50
from jaxseg.models.unet import UNet
from jaxseg.train.parallel import compiler_options, give_back_memory

WHAT = ("inference", "training")
NETWORKS = ("unet", "fcn", "fcn_resnet50", "deeplabv3_resnet50")


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

    calls = {}
    if "inference" in wanted:
        kept = jax.tree.map(jnp.copy, variables)  # training gives its own away
        infer, need = compiled(lambda v, x: model.apply(v, x)["logits"], kept, x)
        calls["inference"] = (lambda: infer(kept, x), *need)
    if "training" in wanted:
        options = compiler_options(jax.default_backend())  # as the training engine does
        train, need = compiled(step, *state, x, y, donate_argnums=(0, 1, 2), compiler_options=options)

        def train_once():
            *state[:], value = train(*state, x, y)
            return value

        calls["training"] = (train_once, *need)
    return calls


def compiled(f, *arguments, **options):
    start = time.perf_counter()
    program = jax.jit(f, **options).lower(*arguments).compile()
    give_back_memory()  # as the training engine does
    return program, (program.memory_analysis().temp_size_in_bytes, time.perf_counter() - start)


def network(which: str, args: argparse.Namespace) -> tuple[str, nn.Module]:
    base, wide = (16, 128) if args.quick else (64, 4096)
    if which == "unet":
        return f"U-Net {base}, norm {args.norm}", UNet(21, base=base, norm=args.norm, dropout=0.0)
    if which == "fcn":
        model = FCN(21, fc_features=wide, paper_padding=args.paper_padding, dropout=0.0)
        return "FCN-8s, VGG-16" + ", padded by 100" * args.paper_padding, model
    return which, (FCNResNet50 if which == "fcn_resnet50" else DeepLabV3ResNet50)(21, aux=False)


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
    from benchmarks import torch_networks

    name, model = network(which, args)
    other = torch_networks.calls(torch_networks.network(which, args), *example(args))
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
    if side == "PyTorch":
        from benchmarks import torch_networks

        train = torch_networks.calls(torch_networks.network(which, args), *example(args))["training"]
    else:
        train = jax_calls(network(which, args)[1], *example(args), ("training",))["training"][0]
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
        cache = tempfile.TemporaryDirectory()
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache.name
        for which in chosen:
            for side in ("jaxseg", "jaxseg, compiled before", "PyTorch"):
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
