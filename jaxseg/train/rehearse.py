"""What ``jaxseg train --dry-run`` does: the parts of a run, once each and timed, with nothing written."""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.train.build import build, training_batches
from jaxseg.train.evaluate import evaluate_state
from jaxseg.train.loop import finite


class Rehearsal(NamedTuple):
    """``parameters``: how many; ``shape``: of a batch of images; ``loss``: of the first step; then seconds: of the
    first step, which is compiled, of one after it, of evaluating all validation data once, and of the whole run.
    """

    parameters: int
    shape: tuple[int, ...]
    loss: float
    first_step: float
    step: float
    evaluation: float
    in_all: float


def rehearse(experiment: Experiment, steps: int = 4, watch: Callable[[str], None] = lambda stage: None) -> Rehearsal:
    """Build ``experiment`` as a run would, take ``steps`` steps, evaluate a batch twice. Raises what a run would.
    ``watch`` is told of each stage as it begins.
    """
    watch("building the model, the data and the step")
    e, run = experiment, build(experiment)
    parameters = sum(x.size for x in jax.tree.leaves(run.state.variables["params"]))
    state, times, loss = run.spread.place(run.state), [], math.nan
    shape: tuple[int, ...] = ()
    batches = pipeline.prefetch_to_device(training_batches(e), run.spread.put)
    for step in range(1, min(steps, e.steps) + 1):
        watch("the first step, which is compiled" if step == 1 else f"step {step}")
        begun = time.perf_counter()
        batch = next(batches)
        state, metrics = run.step(state, batch)
        values = finite(step, metrics)  # waits for the device
        times.append(time.perf_counter() - begun)
        shape = shape or (e.batch_size, *batch["image"].shape[-3:])
        loss = values["loss"] if step == 1 else loss
    evaluation = []
    for words in ("evaluating a batch, which is compiled", "evaluating it again"):
        watch(words)
        begun = time.perf_counter()
        evaluate_state(run, state, most=1)
        evaluation.append(time.perf_counter() - begun)
    each = evaluation[1] * math.ceil(len(e.data.val) / e.eval_batch_size)
    first, later = (times[0], statistics.median(times[1:] or times)) if times else (0.0, 0.0)
    evaluations = max(math.ceil(e.steps / e.eval_every), 1)
    in_all = first + later * max(e.steps - 1, 0) + evaluation[0] + each * evaluations
    return Rehearsal(parameters, shape, loss, first, later, each, in_all)
