"""Dense CRF against pydensecrf on this CPU: time, memory and agreement, on two photographs of 500x375 with 21 labels.

``python benchmarks/crf.py [--data ../shared/data/crf] [--rounds 7] [--iterations 5 10] [--memory]``

End to end, lattice included, in turns in one process. The ratio is jaxseg's time to pydensecrf's of the same round
(median), and jaxseg's median to pydensecrf's best of all rounds. "gradient" is the time of forward and backward pass,
of a loss of ``q`` with respect to the unary energies and both weights, as a multiple of forward. ``--memory`` prints
instead what the process's peak grows by, each in a process of its own in which freed memory goes back to the system at
once. pydensecrf 1.0rc3 builds from its source distribution with Cython < 3 after removing the two generated .cpp files.
"""

import argparse
import ctypes
import multiprocessing
import os
import resource
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.ops.crf import Bilateral, Gaussian, dense_crf

SETTINGS = ((80, 13), (67, 3), (30, 5))
FIGURES = ("jaxseg ms", "pydensecrf ms", "its best", "ratio", "to best", "gradient", "same labels", "mean dq")


def theirs(unary: np.ndarray, image: np.ndarray, sxy: float, srgb: float, iterations: int) -> np.ndarray:
    import pydensecrf.densecrf as pydensecrf

    h, w, labels = unary.shape
    crf = pydensecrf.DenseCRF2D(w, h, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(-1, labels).T))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=image, compat=10)
    return np.array(crf.inference(iterations)).T.reshape(h, w, labels)


def ours(unary: np.ndarray, image: np.ndarray, sxy: float, srgb: float, iterations: int) -> np.ndarray:
    crf = dense_crf(jnp.asarray(unary), jnp.asarray(image), iterations=iterations, bilateral=Bilateral(sxy, srgb))
    return np.asarray(crf.q)


def ours_with_gradient(unary: np.ndarray, image: np.ndarray, sxy: float, srgb: float, iterations: int):
    def loss(unary, weights):
        terms = {"gaussian": Gaussian(3.0, weights[0]), "bilateral": Bilateral(sxy, srgb, weights[1])}
        crf = dense_crf(unary, jnp.asarray(image), iterations=iterations, **terms)
        return jnp.mean(jnp.square(crf.q))

    return jax.block_until_ready(jax.grad(loss, argnums=(0, 1))(jnp.asarray(unary), jnp.asarray([3.0, 10.0])))


def seconds(call, *arguments) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def growth(call, *arguments) -> float:
    """MB by which the process's peak grows; compiling and constants are paid before."""
    call(*arguments)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    call(*arguments)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (int(status["VmHWM"].split()[0]) * 1024 - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/crf"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, nargs="+", default=(5, 10))
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    figures = ["jaxseg MB", "pydensecrf MB"] if args.memory else FIGURES
    print("|", " | ".join(["photograph", "sxy, srgb", "iterations", *figures]), "|")
    print("|" + "---|" * (3 + len(figures)))
    for name in ("china", "chelsea"):
        data = np.load(args.data / f"{name}.npz")
        for sxy, srgb in SETTINGS:
            for iterations in args.iterations:
                case = (data["unary"].astype(np.float32), data["image"], sxy, srgb, iterations)
                result = compare_memory(case) if args.memory else compare(case, args.rounds)
                print(f"| {name} | {sxy}, {srgb} | {iterations} |", result, flush=True)


def compare_memory(case) -> str:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "131072"  # what is freed goes back at once: the peak is what is in use
    grown = []
    for call in (ours, theirs):
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            grown.append(alone.apply(growth, (call, *case)))
    return " | ".join(f"{g:.0f}" for g in grown) + " |"


def compare(case, rounds: int) -> str:
    q, reference = ours(*case), theirs(*case)
    ours_with_gradient(*case)
    times = [(seconds(ours, *case), seconds(theirs, *case), seconds(ours_with_gradient, *case)) for _ in range(rounds)]
    mine, other, gradient = zip(*times)
    median = statistics.median
    ratio = median(a / b for a, b, _ in times)
    same, off = np.mean(q.argmax(-1) == reference.argmax(-1)), np.abs(q - reference).mean()
    return (
        f"{median(mine) * 1e3:.0f} | {median(other) * 1e3:.0f} | {min(other) * 1e3:.0f} | {ratio:.2f} | "
        f"{median(mine) / min(other):.2f} | {median(gradient) / median(mine):.2f} | {100 * same:.3f} % | {off:.1e} |"
    )


if __name__ == "__main__":
    main()
