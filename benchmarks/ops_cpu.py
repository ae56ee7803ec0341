"""Every operation against PyTorch's on this CPU: ``python benchmarks/ops_cpu.py [--quick]``.

Prints medians in milliseconds and the median of the ratios jaxseg / PyTorch (below 1: jaxseg is faster). Both run in
one process, in turns, so that a busy machine slows both. PyTorch's arrays are channels_last, its faster layout.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import torch
import torch.nn.functional as F

from jaxseg import ops


def race(mine: Callable, other: Callable, rounds: int) -> tuple[float, float, float]:
    """Medians in ms and the median ratio of two calls, run in turns."""
    times = []
    for i in range(rounds + 2):
        start = time.perf_counter()
        jax.block_until_ready(mine())
        middle = time.perf_counter()
        other()
        end = time.perf_counter()
        if i >= 2:  # the first rounds compile and warm up
            times.append((1e3 * (middle - start), 1e3 * (end - middle)))
    a, b = zip(*times)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in times)


def channels_last(a: np.ndarray) -> torch.Tensor:
    return torch.tensor(a).permute(0, 3, 1, 2)


def compare(name: str, f: Callable, torch_f: Callable, arrays: list[np.ndarray], to_torch: list, rounds: int) -> None:
    """Forward, and forward with the gradients of all ``arrays``."""
    tensors = [convert(a).requires_grad_() for convert, a in zip(to_torch, arrays)]
    on_device = [jax.device_put(a) for a in arrays]
    y = torch_f(*tensors)
    g = torch.randn(y.shape).contiguous(memory_format=torch.channels_last)
    g_jax = jax.device_put(g.permute(0, 2, 3, 1).numpy())
    forward = jax.jit(f)

    def with_gradients(g, *a):
        y, vjp = jax.vjp(f, *a)
        return y, vjp(g)  # y too, or XLA would leave out a forward pass that the gradient does not need

    both = jax.jit(with_gradients)

    def torch_forward():
        with torch.no_grad():
            torch_f(*tensors)

    def torch_both():
        for t in tensors:
            t.grad = None
        torch_f(*tensors).backward(g)

    np.testing.assert_allclose(forward(*on_device), y.detach().permute(0, 2, 3, 1), atol=2e-3, rtol=1e-3)
    rows = [("forward", lambda: forward(*on_device), torch_forward)]
    rows.append(("forward + backward", lambda: both(g_jax, *on_device), torch_both))
    for what, mine, other in rows:
        a, b, ratio = race(mine, other, rounds)
        print(f"| {name} | {what} | {a:.1f} | {b:.1f} | {ratio:.2f} |", flush=True)


def convolutions(rng: np.random.Generator, scale: int, rounds: int) -> None:
    def weight(k: np.ndarray) -> torch.Tensor:
        return torch.tensor(k.transpose(3, 2, 0, 1).copy()).contiguous(memory_format=torch.channels_last)

    # batch, side, channels in and out, kernel, stride
    cases = [
        (2, 512, 64, 64, 3, 1),
        (2, 256, 128, 128, 3, 1),
        (2, 128, 256, 256, 3, 1),
        (2, 64, 512, 512, 3, 1),
        (8, 192, 24, 24, 3, 1),
        (8, 192, 3, 24, 3, 1),
        (2, 512, 3, 64, 7, 2),
        (2, 128, 128, 256, 1, 1),
        (2, 128, 128, 128, 3, 2),
    ]
    for b, side, c, o, k, s in cases:
        side //= scale
        arrays = [rng.normal(size=(b, side, side, c)), rng.normal(size=(k, k, c, o)) * 0.1]
        compare(
            f"conv {k}x{k} s{s}, {b}x{side}x{side}, {c} -> {o}",
            lambda x, w, k=k, s=s: ops.conv(x, w, stride=s, padding=k // 2),
            lambda x, w, k=k, s=s: F.conv2d(x, w, stride=s, padding=k // 2),
            [a.astype(np.float32) for a in arrays],
            [channels_last, weight],
            rounds,
        )


def transposed(rng: np.random.Generator, scale: int, rounds: int) -> None:
    def weight(k: np.ndarray) -> torch.Tensor:
        return torch.tensor(k.transpose(2, 3, 0, 1).copy())

    # side, C, O / groups, kernel, stride, padding, groups
    cases = [
        (128, 128, 64, 2, 2, 0, 1),
        (64, 256, 128, 2, 2, 0, 1),
        (64, 64, 64, 4, 2, 1, 1),
        (64, 21, 1, 16, 8, 4, 21),
    ]
    for side, c, o, k, s, p, groups in cases:
        side //= scale
        arrays = [rng.normal(size=(2, side, side, c)), rng.normal(size=(k, k, c, o)) * 0.1]
        compare(
            f"transposed conv {k}x{k} s{s}, 2x{side}x{side}, {c} -> {o * groups}" + " depthwise" * (groups > 1),
            lambda x, w, s=s, p=p, groups=groups: ops.transposed_conv(x, w, s, p, groups=groups),
            lambda x, w, s=s, p=p, groups=groups: F.conv_transpose2d(x, w, stride=s, padding=p, groups=groups),
            [a.astype(np.float32) for a in arrays],
            [channels_last, weight],
            rounds,
        )


def pooling_and_resizing(rng: np.random.Generator, scale: int, rounds: int) -> None:
    side = 256 // scale
    x = rng.normal(size=(2, side, side, 64)).astype(np.float32)
    logits = rng.normal(size=(2, 64 // scale, 64 // scale, 21)).astype(np.float32)
    full = (512 // scale, 512 // scale)
    small = (2, side // 2, side // 2, 64)
    switches = jax.jit(lambda x: ops.max_pool_with_switches(x, 2)[1])(x)
    indices = F.max_pool2d(channels_last(x), 2, return_indices=True)[1]
    resized = {m: getattr(ops, f"resize_{m}") for m in ("nearest", "bilinear", "bicubic")}
    cases = [
        ("max pool 2x2", x, lambda x: ops.max_pool(x, 2), lambda x: F.max_pool2d(x, 2)),
        ("max pool 3x3 s2 p1", x, lambda x: ops.max_pool(x, 3, 2, 1), lambda x: F.max_pool2d(x, 3, 2, 1)),
        ("average pool 2x2", x, lambda x: ops.avg_pool(x, 2), lambda x: F.avg_pool2d(x, 2)),
        (
            "max unpool 2x2",
            rng.normal(size=small).astype(np.float32),
            lambda y: ops.max_unpool(y, switches, 2, 2, (side, side)),
            lambda y: F.max_unpool2d(y, indices, 2),
        ),
    ]
    cases += [
        (
            f"{mode} x8, 21 maps",
            logits,
            lambda x, f=f: jax.vmap(lambda x: f(x, full))(x),
            lambda x, mode=mode: F.interpolate(x, full, mode=mode),
        )
        for mode, f in resized.items()
    ]
    for name, array, mine, other in cases:
        compare(name, mine, other, [array], [channels_last], rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the side, three rounds")
    quick = parser.parse_args().quick
    scale, rounds = (4, 3) if quick else (1, 9)
    print("| operation | | jaxseg ms | PyTorch ms | ratio |\n|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for part in (pooling_and_resizing, transposed, convolutions):
        part(rng, scale, rounds)


if __name__ == "__main__":
    main()
