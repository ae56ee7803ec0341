"""Training from an experiment and a work directory. Read this file first: it is the whole story.

``train`` is: open the work directory -> build the data, the state and the step -> resume -> step, log, evaluate,
save -> finish. Killed at any moment, the same call goes on from the last sound checkpoint and ends with the same
parameters: the state holds all that a step depends on, and batch ``s`` follows from the seed and ``s`` alone.
"""

import math
import signal
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import config, viz
from jaxseg.config import Experiment
from jaxseg.data import pipeline, write_png
from jaxseg.train.build import Run, build, open_workdir, training_batches
from jaxseg.train.checkpoint import AllDamagedError, Checkpoints
from jaxseg.train.evaluate import evaluate_state
from jaxseg.train.log import Log, read_records
from jaxseg.train.state import TrainState
from jaxseg.train.writers import Writer, tensorboard, weights_and_biases
from jaxseg.types import JaxsegError


@dataclass
class Result:
    """How a run ended: steps done, the last validation scores, the files to look at."""

    step: int
    scores: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False
    files: list[Path] = field(default_factory=list)


def train(
    experiment: Experiment, workdir: str | Path, *, say: Callable[[str], None] | None = None, wandb: str | None = None
) -> Result:
    """Train ``experiment`` in ``workdir``, or go on where an earlier call was stopped.

    Leaves ``metrics.jsonl``, ``curves.png``, ``events/`` (TensorBoard), ``predictions.png``, ``checkpoints/`` (the
    latest few, whole) and ``best/`` (the variables with the best score). Stops cleanly on Ctrl-C or SIGTERM, saving
    first. ``wandb``: a project of Weights & Biases that is told as well. Raises JaxsegError with one line where
    something needs mending; what was saved before stays.
    """
    workdir = Path(workdir)
    open_workdir(experiment, workdir)
    run = build(experiment)
    latest = Checkpoints(workdir / "checkpoints", keep=experiment.keep, say=say or print)
    best = Checkpoints(workdir / "best", keep=1, say=say or print)
    state, record = _resume(run.state, latest, best)
    start = int(state.step)
    writers: list[Callable[[], Writer]] = [partial(tensorboard, workdir, start)]
    if wandb:
        writers.append(partial(weights_and_biases, workdir, wandb, config.settings(experiment)))
    log = Log(workdir, steps=experiment.steps, start=start, quiet=jax.process_index() != 0, writers=writers)
    say = say or log.say
    latest.say = best.say = say
    if start:
        say(f"resuming {workdir} at step {start} of {experiment.steps}")
    result = Result(start)
    try:
        with _stop_requests() as stop_requested:
            state = run.spread.place(state)
            done = _given_up(experiment, start, record, say)
            for step, new_state, stopping in () if done else _steps(run, state, start, log, stop_requested):
                state = new_state  # the one before has been donated
                last = step == experiment.steps
                if step % experiment.eval_every == 0 or last:
                    result.scores, sheet = evaluate_state(run, state, show=log.evaluating)
                    record = _keep_best(run, state, step, result.scores, record, best, log, sheet)
                    result.files = [write_png(workdir / "predictions.png", sheet)] if log.progress else []
                    last = last or _given_up(experiment, step, record, say)
                if step % experiment.save_every == 0 or last or stopping:
                    latest.save(step, run.spread.gather(state), {"step": step})
                result.step = step
                if stopping or last:
                    result.stopped = stopping
                    break
    finally:
        log.close()
        latest.close()
        best.close()
    if not result.scores and not result.stopped:  # nothing was left to do
        result.scores, _ = evaluate_state(run, state)
    if jax.process_index() == 0:
        result.files.append(viz.plot_curves(read_records(workdir / "metrics.jsonl"), workdir / "curves.png"))
    return result


class _Record(NamedTuple):
    """The best score so far, and the step that it was reached at."""

    score: float = -math.inf
    step: int = 0


def _given_up(e: Experiment, step: int, record: _Record, say: Callable[[str], None]) -> bool:
    """Whether the evaluation at ``step`` was one too many without a better score; if so, it is told."""
    if not 0 < e.patience * e.eval_every <= step - record.step:
        return False
    say(f"no better score than that of step {record.step} for {e.patience} evaluations")
    return True


def _resume(fresh: TrainState, latest: Checkpoints, best: Checkpoints) -> tuple[TrainState, _Record]:
    """The state to go on from, and the best score so far. What is damaged makes room for what will be saved."""
    found = latest.restore(fresh)
    state = found[0] if found else fresh
    latest.remove_after(int(state.step))
    try:
        kept = best.restore(fresh.variables)
    except AllDamagedError:
        best.say(f"no checkpoint in {best.directory} is sound; the next evaluation saves its own")
        best.remove_after(-1)
        return state, _Record(step=int(state.step))  # patience begins anew: which step was best is lost
    return state, (_Record(kept[1]["score"], kept[1]["step"]) if kept else _Record())


def _steps(
    run: Run, state: Any, start: int, log: Log, stop_requested: Callable[[], bool]
) -> Iterator[tuple[int, Any, bool]]:
    """Step after step: ``(steps done, state, stop now?)``. Raises at the first number that is not finite.

    The device runs ahead: its numbers are waited for only when something is due, or twice a second for the bar.
    A state that is yielded when something is due, or at a stop, has been found finite.
    """
    e = run.experiment
    if e.steps == 0:  # nothing is trained by gradients: what ``pretrained`` made is evaluated and saved
        yield 0, state, False
        return
    batches = training_batches(e, start)
    due = (e.log_every, e.eval_every, e.save_every)
    pending: list[tuple[int, Any]] = []
    window: list[dict[str, float]] = []
    speed = _Speed(e.batch_size)
    for step, batch in zip(range(start + 1, e.steps + 1), pipeline.prefetch_to_device(batches, run.spread.put)):
        state, metrics = run.step(state, batch)
        pending.append((step, metrics))
        any_due = step == e.steps or any(step % every == 0 for every in due)
        wish = stop_requested()
        if any_due or wish or speed.elapsed() > 0.5:
            window += [finite(at, values) for at, values in pending]
            per_second = speed.waited(len(pending))
            pending.clear()
            log.advance(step, window[-1]["loss"], per_second)
            if step % e.log_every == 0 or step == e.steps:
                means = {f"train/{name}": float(np.mean([w[name] for w in window])) for name in window[0]}
                about = {
                    "train/images_per_second": round(per_second, 2),
                    "train/learning_rate": float(run.rate(step - 1)),
                }
                log.record(step, means | about)
                window.clear()
        # Not before the device has been waited for: hosts that exchange two things at once may wait for each other.
        stopping = _all_hosts_agree(wish, any_due)
        paused = time.perf_counter()
        yield step, state, stopping
        speed.forget(time.perf_counter() - paused)


def finite(step: int, metrics: Any) -> dict[str, float]:
    """A step's metrics as floats, or the error that ends the run."""
    values = {name: float(value) for name, value in metrics.items()}  # waits for the device
    for name, value in values.items():
        if not math.isfinite(value):
            raise JaxsegError(
                f"{name} is {value} at step {step}; the last good checkpoint is kept; lower "
                "optimizer.learning_rate, set optimizer.clip_norm, or look at the labels"
            )
    return values


class _Speed:
    """Images per second, the median of the last waits for the device: neither compiling nor a pause moves it long."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.seconds_per_step: deque[float] = deque(maxlen=9)
        self.begun = time.perf_counter()

    def elapsed(self) -> float:
        return time.perf_counter() - self.begun

    def forget(self, seconds: float) -> None:
        """Time spent on other things (evaluating, saving)."""
        self.begun += seconds

    def waited(self, steps: int) -> float:
        self.seconds_per_step.append(self.elapsed() / steps)
        self.begun = time.perf_counter()
        return self.batch_size / statistics.median(self.seconds_per_step)


def _all_hosts_agree(stop: bool, any_due: bool) -> bool:
    """Whether to stop: on one host at once; on several, where something is due anyway and any of them wishes to."""
    if jax.process_count() == 1:
        return stop
    if not any_due:
        return False
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(stop))))


def _keep_best(
    run: Run,
    state: Any,
    step: int,
    scores: dict[str, Any],
    record: _Record,
    best: Checkpoints,
    log: Log,
    sheet: np.ndarray,
) -> _Record:
    """Log an evaluation; save the variables if they are the best so far."""
    name = run.experiment.task.main_metric
    score = float(scores[name])
    log.record(step, _flat({"val": scores}))
    log.picture(step, "val/predictions", sheet)
    better = math.isfinite(score) and score > record.score
    log.say(f"step {step}: {name} {score:.4f}{' (best so far)' if better else ''}")
    if better:
        best.save(step, run.spread.gather(state).variables, {"step": step, "score": score, "metric": name})
    return _Record(score, step) if better else record


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"val": {"iou": {"sky": 0.9}}}`` -> ``{"val/iou/sky": 0.9}``."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value
    return flat


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish that is asked for after each step; a second Ctrl-C interrupts."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
