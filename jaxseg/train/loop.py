"""Training and evaluation from an experiment and a work directory. Read this file first: it is the whole story.

``train`` is: open the work directory -> build the data, the state and the step -> resume -> step, log, evaluate,
save -> finish. Killed at any moment, the same call goes on from the last sound checkpoint and ends with the same
parameters: the state holds all that a step depends on, and batch ``s`` follows from the seed and ``s`` alone.
"""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import config, viz
from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.train import parallel
from jaxseg.train.checkpoint import Checkpoints, write_json
from jaxseg.train.log import Log, read_records
from jaxseg.train.state import TrainState, create_state, init_variables
from jaxseg.train.step import make_eval_step, make_train_step
from jaxseg.types import Batch, JaxsegError

SHOWN = 6  # examples on the sheet that each evaluation draws


@dataclass
class Result:
    """How a run ended: steps done, the last validation scores, the files to look at."""

    step: int
    scores: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False
    files: list[Path] = field(default_factory=list)


def train(experiment: Experiment, workdir: str | Path, *, say: Callable[[str], None] | None = None) -> Result:
    """Train ``experiment`` in ``workdir``, or go on where an earlier call was stopped.

    Leaves ``metrics.jsonl``, ``curves.png``, ``events/`` (TensorBoard), ``predictions.png``, ``checkpoints/`` (the
    latest few, whole) and ``best/`` (the variables with the best score). Stops cleanly on Ctrl-C or SIGTERM, saving
    first. Raises JaxsegError with one line where something needs mending; what was saved before stays.
    """
    workdir = Path(workdir)
    open_workdir(experiment, workdir)
    run = _build(experiment)
    latest = Checkpoints(workdir / "checkpoints", keep=experiment.keep, say=say or print)
    best = Checkpoints(workdir / "best", keep=1, say=say or print)
    state, best_score = _resume(run.state, latest, best)
    start = int(state.step)
    log = Log(workdir, steps=experiment.steps, start=start, quiet=jax.process_index() != 0)
    say = say or log.say
    latest.say = best.say = say
    if start:
        say(f"resuming {workdir} at step {start} of {experiment.steps}")
    result = Result(start)
    try:
        with _stop_requests() as stop_requested:
            state = run.spread.place(state)
            for step, new_state, stopping in _steps(run, state, start, log, stop_requested):
                state = new_state  # the one before has been donated
                last = step == experiment.steps
                if step % experiment.eval_every == 0 or last:
                    result.scores, sheet = _evaluate_state(run, state)
                    best_score = _keep_best(run, state, step, result.scores, best_score, best, log, sheet)
                    result.files = [viz.write_png(workdir / "predictions.png", sheet)] if log.progress else []
                if step % experiment.save_every == 0 or last or stopping:
                    latest.save(step, run.spread.gather(state), {"step": step})
                result.step = step
                if stopping:
                    result.stopped = True
                    break
    finally:
        log.close()
        latest.close()
        best.close()
    if not result.scores:  # nothing was left to do
        result.scores, _ = _evaluate_state(run, state)
    if jax.process_index() == 0:
        result.files.append(viz.plot_curves(read_records(workdir / "metrics.jsonl"), workdir / "curves.png"))
    return result


def evaluate(experiment: Experiment, variables: Any, *, shown: int = SHOWN) -> tuple[dict[str, Any], np.ndarray]:
    """``(scores, contact sheet)`` of ``variables`` over the validation source."""
    mesh = parallel.spread("jit", devices=experiment.devices)
    return _evaluate(experiment, jax.jit(make_eval_step(experiment.model, experiment.task)), mesh, variables, shown)


def load_variables(experiment: Experiment, workdir: str | Path, which: str = "best") -> tuple[Any, int]:
    """``(variables, step)`` of the best or the latest checkpoint of a run."""
    workdir = Path(workdir)
    folder = workdir / ("best" if which == "best" else "checkpoints")
    if not folder.is_dir():
        raise JaxsegError(f"no checkpoints in {workdir}; train first: jaxseg train CONFIG --workdir {workdir}")
    run = _build(experiment, spread=False)
    checkpoints = Checkpoints(folder, keep=1 if which == "best" else experiment.keep)
    try:
        found = checkpoints.restore(run.state.variables if which == "best" else run.state)
    finally:
        checkpoints.close()
    if found is None:
        raise JaxsegError(f"{folder} holds no checkpoint yet; train longer, or use --checkpoint latest")
    tree, about = found
    return (tree if which == "best" else tree.variables), int(about["step"])


def open_workdir(experiment: Experiment, workdir: Path) -> None:
    """Refuse a work directory of another experiment; otherwise note there what this one is."""
    if workdir.exists() and not workdir.is_dir():
        raise JaxsegError(f"--workdir {workdir} is a file; name a folder")
    path = workdir / "experiment.json"
    if path.exists():
        try:
            theirs = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise JaxsegError(f"{path} is damaged ({error}); restore it or use another --workdir") from error
        different = config.differences(experiment, theirs)
        if different:
            raise JaxsegError(
                f"--workdir {workdir} belongs to another experiment ({'; '.join(different[:4])}"
                + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
                + "); use another --workdir, or the settings it was begun with"
            )
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, config.settings(experiment))
    except OSError as error:
        raise JaxsegError(f"--workdir {workdir} can't be written: {error.strerror}; choose another folder") from error


@dataclass
class _Run:
    """What ``train`` builds once."""

    experiment: Experiment
    spread: parallel.Spread
    state: TrainState
    step: Callable[..., Any]
    eval_step: Callable[..., Any]
    eval_spread: parallel.Spread
    rate: Callable[[int], Any]


def _build(experiment: Experiment, *, spread: bool = True) -> _Run:
    e = experiment
    devices = e.devices or len(jax.devices())
    if spread:
        parallel.check_batch_size(e.batch_size, devices // e.model_devices, e.accumulate)
        parallel.check_batch_size(e.eval_batch_size, devices)
    example = next(pipeline.train_batches(e.data.train, e.data.augment, batch_size=1, seed=e.seed, num_threads=0))
    variables = init_variables(e.model, e.task, example, e.seed)
    _check_classes(e, variables, example)
    if e.pretrained is not None and spread:
        variables = dict(e.pretrained(variables))
    optimizer = e.optimizer.transformation(variables["params"], e.steps)
    step = make_train_step(
        e.model,
        e.task,
        optimizer,
        factors=e.optimizer.factors(variables["params"]),
        ema_decay=e.ema,
        accumulate=e.accumulate,
    )
    how = parallel.spread(e.spread, devices=e.devices, model_devices=e.model_devices)
    eval_step = jax.jit(make_eval_step(e.model, e.task))
    state = create_state(variables, optimizer, e.seed, e.ema > 0)
    eval_spread = parallel.spread("jit", devices=e.devices)
    return _Run(e, how, state, how.compile(step), eval_step, eval_spread, e.optimizer.rate(e.steps))


def _check_classes(e: Experiment, variables: Any, example: Batch) -> None:
    """A model whose scores are of another number of classes than the data would train on nonsense."""
    outputs = jax.eval_shape(lambda v, b: e.model.apply(v, *e.task.inputs(b), train=False), variables, example)
    classes = e.data.train.classes
    scored = outputs["logits"].shape[-1] if "logits" in outputs else len(classes)
    if scored != len(classes):
        raise JaxsegError(
            f"the model scores {scored} classes and the data has {len(classes)} classes ({', '.join(classes[:12])}); "
            f"set num_classes={len(classes)}"
        )


def _resume(fresh: TrainState, latest: Checkpoints, best: Checkpoints) -> tuple[TrainState, float]:
    found = latest.restore(fresh)
    kept = best.restore(fresh.variables) if best.steps() else None
    return (found[0] if found else fresh), (kept[1]["score"] if kept else -math.inf)


def _steps(
    run: _Run, state: Any, start: int, log: Log, stop_requested: Callable[[], bool]
) -> Iterator[tuple[int, Any, bool]]:
    """Step after step: ``(steps done, state, stop now?)``. Raises at the first number that is not finite.

    The device runs ahead: its numbers are waited for only when something is due, or twice a second for the bar.
    A state that is yielded when something is due, or at a stop, has been found finite.
    """
    e = run.experiment
    batches = pipeline.train_batches(
        e.data.train,
        e.data.augment,
        batch_size=e.batch_size,
        seed=e.seed,
        start_step=start,
        num_threads=e.data.num_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    due = (e.log_every, e.eval_every, e.save_every)
    pending: list[tuple[int, Any]] = []
    window: list[dict[str, float]] = []
    speed = _Speed(e.batch_size)
    for step, batch in zip(range(start + 1, e.steps + 1), pipeline.prefetch_to_device(batches, run.spread.put)):
        state, metrics = run.step(state, batch)
        pending.append((step, metrics))
        any_due = step == e.steps or any(step % every == 0 for every in due)
        stopping = _all_hosts_agree(stop_requested(), any_due)
        if any_due or stopping or speed.elapsed() > 0.5:
            window += [_finite(at, values) for at, values in pending]
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
        paused = time.perf_counter()
        yield step, state, stopping
        speed.forget(time.perf_counter() - paused)


def _finite(step: int, metrics: Any) -> dict[str, float]:
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
    """Images per second, smoothed over the waits for the device; the first wait, compilation, doesn't count."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.seconds_per_step, self.waits = batch_size, 0.0, 0
        self.begun = time.perf_counter()

    def elapsed(self) -> float:
        return time.perf_counter() - self.begun

    def forget(self, seconds: float) -> None:
        """Time spent on other things (evaluating, saving)."""
        self.begun += seconds

    def waited(self, steps: int) -> float:
        new = self.elapsed() / steps
        self.seconds_per_step = new if self.waits < 2 else 0.9 * self.seconds_per_step + 0.1 * new
        self.waits += 1
        self.begun = time.perf_counter()
        return self.batch_size / self.seconds_per_step


def _all_hosts_agree(stop: bool, any_due: bool) -> bool:
    """Whether to stop: on one host at once; on several, where something is due anyway and any of them wishes to."""
    if jax.process_count() == 1:
        return stop
    if not any_due:
        return False
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(stop))))


def _evaluate_state(run: _Run, state: Any) -> tuple[dict[str, Any], np.ndarray]:
    variables = run.spread.gather(state).variables
    return _evaluate(run.experiment, run.eval_step, run.eval_spread, variables, SHOWN)


def _evaluate(
    e: Experiment, eval_step: Callable[..., Any], how: parallel.Spread, variables: Any, shown: int
) -> tuple[dict[str, Any], np.ndarray]:
    variables, metric = how.place(variables), how.place(e.task.metric.init())
    batches = pipeline.eval_batches(
        e.data.val,
        e.data.prepare,
        batch_size=e.eval_batch_size,
        num_threads=e.data.num_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    examples: list[tuple[Batch, Any]] = []
    seen = 0
    for batch in batches:
        metric, predictions = eval_step(variables, metric, how.put(batch))
        if seen < shown and jax.process_count() == 1:
            examples.append((batch, jax.device_get(predictions)))
        seen += int(batch["valid"].sum())
    batch, predictions = jax.tree.map(lambda *x: np.concatenate(x)[:shown], *examples) if examples else ({}, {})
    sheet = e.task.draw(batch, predictions) if examples else np.zeros((1, 1, 3), np.uint8)
    return e.task.metric.compute(jax.device_get(metric)), sheet


def _keep_best(
    run: _Run,
    state: Any,
    step: int,
    scores: dict[str, Any],
    best_score: float,
    best: Checkpoints,
    log: Log,
    sheet: np.ndarray,
) -> float:
    """Log an evaluation; save the variables if they are the best so far."""
    name = run.experiment.task.main_metric
    score = float(scores[name])
    log.record(step, _flat({"val": scores}))
    log.picture(step, "val/predictions", sheet)
    better = math.isfinite(score) and score > best_score
    log.say(f"step {step}: {name} {score:.4f}{' (best so far)' if better else ''}")
    if better:
        best.save(step, run.spread.gather(state).variables, {"step": step, "score": score, "metric": name})
    return score if better else best_score


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
