"""Several metrics as one."""

from typing import Any

import jax

from jaxseg.types import Batch, JaxsegError, Metric, Predictions


def combine(*metrics: Metric) -> Metric:
    """One metric that updates and merges each of ``metrics``, and computes all their numbers in one dict.

    It runs on the host if one of them does; the others' updates are then jitted one by one.

    Raises:
        JaxsegError: when two of them compute a number of the same name.
    """

    on_host = any(m.on_host for m in metrics)
    updates = [jax.jit(m.update) if on_host and not m.on_host else m.update for m in metrics]

    def update(state: tuple[Any, ...], predictions: Predictions, batch: Batch) -> tuple[Any, ...]:
        return tuple(do(s, predictions, batch) for do, s in zip(updates, state, strict=True))

    def merge(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(m.merge(x, y) for m, x, y in zip(metrics, a, b, strict=True))

    def compute(state: tuple[Any, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for metric, part in zip(metrics, state, strict=True):
            numbers = metric.compute(part)
            if twice := sorted(result.keys() & numbers.keys()):
                raise JaxsegError(f"two of the combined metrics compute {', '.join(twice)}: combine each kind once")
            result |= numbers
        return result

    return Metric(lambda: tuple(m.init() for m in metrics), update, merge, compute, on_host)
