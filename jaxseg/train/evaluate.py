"""Scores of a trained model over the validation source, and the pictures that go with them."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.train import parallel
from jaxseg.train.build import Run, noted_experiment, state_like
from jaxseg.train.checkpoint import Checkpoints
from jaxseg.train.step import make_eval_step
from jaxseg.types import Batch, JaxsegError
from jaxseg.weights import packed

PACKED = "weights.safetensors"  # a file of weights in a run's folder stands in for checkpoints
SHOWN = 6  # examples on the sheet that each evaluation draws, evenly from first to last: neighbours are often alike


def evaluate(
    experiment: Experiment,
    variables: Any,
    *,
    shown: int = SHOWN,
    eval_step: Callable[..., Any] | None = None,
    watch: Callable[[Batch, Any], None] | None = None,
    show: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Any], np.ndarray]:
    """``(scores, contact sheet)`` of ``variables`` over the validation source.

    ``eval_step``, ``(variables, metric state, batch) -> (metric state, predictions)``, stands in for what model and
    task say by themselves. Where the metric runs on the host it is updated here, with the predictions of all processes.
    ``watch`` is shown every batch with its predictions, as numpy arrays; ``show`` is told how many pictures are done.
    """
    mesh = parallel.spread("jit", devices=experiment.devices)
    eval_step = eval_step or jax.jit(make_eval_step(experiment.model, experiment.task))
    return _evaluate(experiment, eval_step, mesh, variables, shown, watch=watch, show=show)


def load_run(workdir: str | Path, which: str = "best", arguments: Sequence[str] = ()) -> tuple[Experiment, Any, int]:
    """``(experiment, variables, step)`` of what ``jaxseg train`` left in ``workdir``, its best or latest checkpoint,
    or of weights: a file, the name of shipped ones, or ``hf:USER/NAME``. ``arguments`` of its config come after those
    that it was trained with (``--root``)."""
    run = Path(workdir)
    if not run.exists() and (str(workdir) in packed.shipped() or str(workdir).startswith("hf:")):
        run = packed.packed_file(workdir)
    experiment = noted_experiment(run, arguments)
    return experiment, *load_variables(experiment, run, which)


def load_variables(experiment: Experiment, workdir: str | Path, which: str = "best") -> tuple[Any, int]:
    """``(variables, step)`` of the best or the latest checkpoint of a run."""
    workdir = Path(workdir)
    folder = workdir / ("best" if which == "best" else "checkpoints")
    file = workdir if workdir.is_file() else workdir / PACKED
    if file.is_file() and not folder.is_dir():
        return packed.from_packed(file, state_like(experiment).variables), packed.about(file).step
    if not folder.is_dir():
        raise JaxsegError(f"no checkpoints in {workdir}; train first: jaxseg train CONFIG --workdir {workdir}")
    like = state_like(experiment)
    checkpoints = Checkpoints(folder, keep=1 if which == "best" else experiment.keep)
    try:
        found = checkpoints.restore(like.variables if which == "best" else like)
    finally:
        checkpoints.close()
    if found is None:
        raise JaxsegError(f"{folder} holds no checkpoint yet; train longer, or use --checkpoint latest")
    tree, about = found
    return (tree if which == "best" else tree.variables), int(about["step"])


def evaluate_state(
    run: Run, state: Any, most: int | None = None, show: Callable[[int], None] = lambda done: None
) -> tuple[dict[str, Any], np.ndarray]:
    """``(scores, contact sheet)`` of a state in training, however it is spread; of the first ``most`` batches. ``show``
    is told how many pictures are done."""
    variables = run.spread.gather(state).variables
    return _evaluate(run.experiment, run.eval_step, run.eval_spread, variables, SHOWN, most, show=show)


def _evaluate(
    e: Experiment,
    eval_step: Callable[..., Any],
    how: parallel.Spread,
    variables: Any,
    shown: int,
    most: int | None = None,
    watch: Callable[[Batch, Any], None] | None = None,
    show: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Any], np.ndarray]:
    variables, on_host = how.place(variables), e.task.metric.on_host
    metric = e.task.metric.init() if on_host else how.place(e.task.metric.init())
    batches = pipeline.eval_batches(
        e.data.val,
        e.data.prepare,
        batch_size=e.eval_batch_size,
        num_threads=e.data.num_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        max_instances=e.data.max_instances,
        mask_side=e.data.mask_side,
    )
    chosen = np.linspace(0, len(e.data.val) - 1, shown).round()
    examples: list[tuple[Batch, Any]] = []
    for number, batch in enumerate(islice(batches, most), 1):
        placed = how.put(batch)
        if on_host:
            _, predictions = eval_step(variables, None, placed)
            seen = {key: value for key, value in placed.items() if key != "image"}
            metric = e.task.metric.update(metric, *parallel.rows_of_all((predictions, seen)))
        else:
            metric, predictions = eval_step(variables, metric, placed)
        if watch is not None:
            watch(batch, jax.device_get(predictions))
        show(min(number * e.eval_batch_size, len(e.data.val)))
        rows = np.flatnonzero(np.isin(batch["index"], chosen))
        if len(rows) and jax.process_count() == 1:
            examples.append(jax.tree.map(partial(np.take, indices=rows, axis=0), (batch, jax.device_get(predictions))))
    # Pictures of several sizes (data.ByAspect) don't fit on one sheet.
    examples = [e for e in examples if e[0]["image"].shape[1:] == examples[0][0]["image"].shape[1:]]
    batch, predictions = jax.tree.map(lambda *x: np.concatenate(x), *examples) if examples else ({}, {})
    sheet = e.task.draw(batch, predictions) if examples else np.zeros((1, 1, 3), np.uint8)
    return e.task.metric.compute(metric if on_host else jax.device_get(metric)), sheet
