"""Corner pooling, forward and backward, against PyTorch's cumulative maximum on this CPU.

``python -m benchmarks.corner_pool [--size 128] [--channels 128] [--batch 2] [--rounds 9]`` (needs the extra ``parity``)

Each of the four sides, in turns in one process, medians in ms and their ratio (below 1: jaxseg is faster). PyTorch has
its faster layout of the two, NCHW or channels_last, side by side.
"""

import argparse
import ctypes
import statistics
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.roi_nms import interleaved
from jaxseg import ops
from jaxseg.ops.corner import Side
from jaxseg.train.parallel import compiler_options


def ours(side: Side, x: np.ndarray, g: np.ndarray):
    def both(x, g):
        y, back = jax.vjp(jax.vmap(partial(ops.corner_pool, side=side)), x)
        return y, back(g)[0]

    arguments = jnp.asarray(x), jnp.asarray(g)
    program = jax.jit(both).lower(*arguments).compile(compiler_options(jax.default_backend()))
    return lambda: jax.block_until_ready(program(*arguments))


def theirs(side: Side, x: np.ndarray, g: np.ndarray, layout: str):
    import torch

    axis, flip = {"top": (2, True), "left": (3, True), "bottom": (2, False), "right": (3, False)}[side]
    memory = torch.channels_last if layout == "NHWC" else torch.contiguous_format
    t, g = (torch.tensor(v.transpose(0, 3, 1, 2)).contiguous(memory_format=memory) for v in (x, g))

    def call():
        z = t.detach().requires_grad_(True)
        y = torch.cummax(z.flip(axis) if flip else z, axis).values
        (y.flip(axis) if flip else y).backward(g)
        return z.grad

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 128), ("channels", 128), ("batch", 2), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    libc = ctypes.CDLL("libc.so.6")
    for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-8, 1)):  # as benchmarks/roi_nms.py does, and why
        libc.mallopt(option, value)
    x, g = np.random.default_rng(0).normal(size=(2, args.batch, args.size, args.size, args.channels)).astype(np.float32)
    print("| side | jaxseg ms | PyTorch ms (NCHW, channels_last) | ratio to the faster |\n|---|---|---|---|")
    for side in get_args(Side):
        calls = ours(side, x, g), theirs(side, x, g, "NCHW"), theirs(side, x, g, "NHWC")
        mine, plain, last = (statistics.median(t) for t in interleaved(args.rounds, *calls))
        print(f"| {side} | {mine:.1f} | {plain:.1f}, {last:.1f} | {mine / min(plain, last):.2f} |", flush=True)


if __name__ == "__main__":
    main()
