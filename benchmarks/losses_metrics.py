"""Losses and metrics beside PyTorch, scikit-learn and numpy, on this machine's CPU.

    python benchmarks/losses_metrics.py [--size 512] [--classes 21] [--images 4] [--rounds 7]

The two of a pair run in turn, round by round, so that a busy machine slows both; the medians are compared. A ratio
above 1 means that jaxseg is quicker. Needs torch and scikit-learn (``pip install jaxseg[parity,test]``).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion

from jaxseg import losses, metrics


def median_times(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds per call, interleaved; the first round warms up (and compiles) and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(t) for name, t in times.items()}


def cross_entropy_pair(logits: np.ndarray, labels: np.ndarray, **options) -> dict[str, Callable[[], object]]:
    """Value and gradient. Each side gets its own layout: classes last here, second in torch."""
    ours = jax.jit(jax.value_and_grad(lambda x, y: losses.cross_entropy(x, y, **options)))
    x, y = jax.numpy.asarray(logits), jax.numpy.asarray(labels)
    there = torch.tensor(np.ascontiguousarray(np.moveaxis(logits, -1, 1)), requires_grad=True)
    target = torch.tensor(labels.astype(np.int64))
    weight = torch.tensor(options["class_weights"]) if "class_weights" in options else None

    def torch_step() -> object:
        there.grad = None
        smoothing = options.get("label_smoothing", 0.0)
        torch.nn.functional.cross_entropy(
            there, target, weight=weight, ignore_index=255, label_smoothing=smoothing
        ).backward()
        return there.grad.numpy()

    return {"jaxseg": lambda: ours(x, y), "torch": torch_step}


def confusion_pairs(predicted: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, dict[str, Callable]]:
    """The same counts on device, by numpy's bincount, and by scikit-learn."""
    ours = jax.jit(lambda p, t: metrics.confusion_matrix(p, t, classes))
    p, t = jax.numpy.asarray(predicted), jax.numpy.asarray(labels)
    keep = labels != 255
    by_numpy = lambda: np.bincount(labels[labels != 255] * classes + predicted[labels != 255], minlength=classes**2)
    by_sklearn = lambda: sklearn_confusion(labels[keep], predicted[keep], labels=range(classes))
    np.testing.assert_array_equal(ours(p, t), by_sklearn())
    return {
        "confusion matrix, numpy bincount": {"jaxseg": lambda: ours(p, t), "numpy": by_numpy},
        "confusion matrix, scikit-learn": {"jaxseg": lambda: ours(p, t), "sklearn": by_sklearn},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"size": 512, "classes": 21, "images": 4, "rounds": 7}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (args.images, args.size, args.size)
    logits = rng.normal(size=(*shape, args.classes)).astype(np.float32)
    labels = rng.integers(0, args.classes, shape).astype(np.int32)
    labels[rng.random(shape) < 0.05] = 255
    weighted = {"class_weights": rng.random(args.classes).astype(np.float32), "label_smoothing": 0.1}
    pairs = {
        "cross-entropy, value and gradient": cross_entropy_pair(logits, labels),
        "  with class weights and smoothing": cross_entropy_pair(logits, labels, **weighted),
        **confusion_pairs(logits.argmax(-1).astype(np.int32), labels, args.classes),
    }
    print(f"{args.images} images of {args.size} x {args.size}, {args.classes} classes, {jax.devices()[0].platform}")
    print(f"{'':36}{'jaxseg ms':>10}{'peer ms':>10}{'peer':>9}{'ratio':>7}")
    for name, calls in pairs.items():
        (_, ours), (peer, theirs) = median_times(calls, args.rounds).items()
        print(f"{name:36}{ours:10.1f}{theirs:10.1f}{peer:>9}{theirs / ours:7.2f}")


if __name__ == "__main__":
    main()
