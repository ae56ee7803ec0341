"""The range test of learning rates (Smith 2017, "Cyclical learning rates for training neural networks", 3.3)."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import optax

from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.train.build import build, training_batches
from jaxseg.train.optimizer import Optimizer
from jaxseg.types import JaxsegError

_SMOOTH = 0.9
_TOO_MUCH = 4.0


class RangeTest(NamedTuple):
    """``rates`` and the smoothed loss after a step at each; ``suggested``, a tenth of the rate with the least loss."""

    rates: list[float]
    losses: list[float]
    suggested: float


@dataclass(frozen=True)
class _Sweep(Optimizer):
    """From ``lowest`` to ``learning_rate``, each step's rate the same multiple of the one before."""

    lowest: float = 1e-6

    def rate(self, steps: int) -> optax.Schedule:
        return lambda step: self.lowest * (self.learning_rate / self.lowest) ** (step / max(steps - 1, 1))


def find_rate(
    experiment: Experiment,
    *,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    watch: Callable[[int], None] = lambda done: None,
) -> RangeTest:
    """Train ``experiment`` for ``steps`` at rates from ``lowest`` to ``highest``, until its smoothed loss is four
    times the least, or no number. Nothing is written, and what was learnt is thrown away. ``watch`` is told how many
    steps are done.
    """
    if not 0 < lowest < highest or steps < 2:
        raise JaxsegError(f"a range test needs 0 < lowest < highest and two steps, got {lowest}, {highest}, {steps}")
    if not experiment.steps:
        raise JaxsegError("this experiment trains nothing by gradients (its steps are 0), so it has no learning rate")
    settings: dict[str, Any] = dataclasses.asdict(experiment.optimizer) | {"learning_rate": highest}
    sweep = _Sweep(**settings, lowest=lowest)
    e = dataclasses.replace(experiment, optimizer=sweep, steps=steps)
    run = build(e)
    state, rates, losses = run.spread.place(run.state), [], []
    for batch, step in zip(pipeline.prefetch_to_device(training_batches(e), run.spread.put), range(steps)):
        state, metrics = run.step(state, batch)
        loss = float(metrics["loss"])
        if not math.isfinite(loss) or (rates and smoothed([*losses, loss])[-1] > _TOO_MUCH * min(smoothed(losses))):
            break
        rates.append(float(run.rate(step)))
        losses.append(loss)
        watch(len(losses))
    if not rates:
        raise JaxsegError("the loss of the first step is no finite number; look at the pictures and the labels")
    return RangeTest(rates, smoothed(losses), suggested(rates, smoothed(losses)))


def smoothed(losses: Sequence[float]) -> list[float]:
    """``m_t = 0.9 m_(t-1) + 0.1 loss_t`` from 0, over ``1 - 0.9^t``, as Adam corrects its moments."""
    mean, out = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        out.append(mean / (1 - _SMOOTH**count))
    return out


def suggested(rates: Sequence[float], losses: Sequence[float]) -> float:
    """A tenth of the rate with the least loss: there it still falls, and fast."""
    return rates[min(range(len(losses)), key=losses.__getitem__)] / 10
