"""A run judged picture by picture: which it does best and worst, which classes it takes for which."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import viz
from jaxseg.config import Experiment
from jaxseg.train.evaluate import evaluate
from jaxseg.types import VOID, Batch, Predictions, Task


class Judged(NamedTuple):
    """``scores``: of the whole data, as :func:`jaxseg.train.evaluate.evaluate` has them. ``score``: what each picture
    is ranked by; ``by_picture``: that of every picture, NaN where it has none. ``worst``, the worst first, and
    ``best``, the best first, have no picture in common. ``confusion [K, K]`` int64, truth by prediction, of tasks that
    choose among classes. ``counts``: how many of ``unit`` the truth has of each class."""

    scores: dict[str, Any]
    score: str
    by_picture: np.ndarray
    worst: list[viz.Shown]
    best: list[viz.Shown]
    confusion: np.ndarray | None
    counts: dict[str, int]
    unit: str


def judge(
    experiment: Experiment,
    variables: Any,
    *,
    most: int = 6,
    width: int = 480,
    watch: Callable[[int], None] | None = None,
) -> Judged:
    """Evaluate ``variables`` over the validation source, and every picture of it by itself.

    A picture's score is the task's own (``Task.score``) or else its main metric, computed of that picture alone. Kept
    are ``most`` of the best and of the worst (half of all each, if there are fewer). ``watch`` is told how many
    pictures are done.
    """
    task, source = experiment.task, experiment.data.val
    classes = classes_of(experiment)
    score_name, score = _scorer(task)
    ranked: list[tuple[float, int, Any]] = []
    unranked = 0
    confusion, counts = np.zeros((len(classes),) * 2, np.int64), np.zeros(len(classes), np.int64)
    chooses = False

    def see(batch: Batch, predictions: Predictions) -> None:
        nonlocal ranked, unranked, chooses, confusion, counts
        for row in np.flatnonzero(batch["valid"]):
            one = jax.tree.map(partial(np.take, indices=[row], axis=0), (batch, predictions))
            value = score(*one)
            if np.isfinite(value):
                ranked.append((value, int(batch["index"][row]), one))
            else:
                unranked += 1
        ranked.sort(key=lambda entry: entry[:2])
        # Of those that can't be shown any more the number is enough.
        ranked = [
            (value, place, one if n < most or n >= len(ranked) - most else None)
            for n, (value, place, one) in enumerate(ranked)
        ]
        pairs = _chosen(task, batch, predictions)
        chooses = pairs is not None
        if pairs is not None:
            confusion += confusion_of(*pairs, len(classes))
        if task.about in ("instances", "segments") and "instances" in batch:
            counts += _counted(task, source, batch)
        if watch is not None:
            watch(len(ranked) + unranked)

    scores, _ = evaluate(experiment, variables, shown=0, watch=see)
    half = min(most, (len(ranked) + 1) // 2)
    worst, best = ranked[:half], ranked[half:][::-1][:most]
    worst, best = ([_picture(task, source, entry, width) for entry in part] for part in (worst, best))
    values = np.array([value for value, _, _ in ranked] + [np.nan] * unranked)
    unit = {"pixels": "pixels", "picture": "pictures"}.get(task.about, "objects")
    totals = confusion.sum(1) if chooses else counts
    named = {name: int(n) for name, n in zip(classes, totals)} if totals.any() else {}
    return Judged(scores, score_name, values, worst, best, confusion if chooses else None, named, unit)


def classes_of(experiment: Experiment) -> tuple[str, ...]:
    """Names of what a run tells apart: classes of pixels or pictures, of objects, or of stuff and then things."""
    source = experiment.data.val
    if experiment.task.about == "segments":
        return (*source.stuff, *source.things)
    return tuple(source.things if experiment.task.about == "instances" else source.classes)


def confusion_of(truth: np.ndarray, found: np.ndarray, num_classes: int) -> np.ndarray:
    """``[K, K]`` int64: how often class t was taken for p. What is no class on either side (void) is not counted."""
    truth, found = truth.astype(np.int64).ravel(), found.astype(np.int64).ravel()
    counted = (truth >= 0) & (truth < num_classes) & (truth != VOID) & (found >= 0) & (found < num_classes)
    pairs = truth[counted] * num_classes + found[counted]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _scorer(task: Task) -> tuple[str, Callable[[Batch, Predictions], float]]:
    """What a picture is ranked by, and its value of a batch of one."""
    if task.score is not None:
        name, of = task.score
        return name, lambda batch, predictions: float(np.asarray(of(batch, predictions))[0])
    metric = task.metric
    update = metric.update if metric.on_host else jax.jit(metric.update)

    def alone(batch: Batch, predictions: Predictions) -> float:
        seen = {key: value for key, value in batch.items() if key != "image"}
        return float(metric.compute(update(metric.init(), predictions, seen))[task.main_metric])

    return task.main_metric, alone


def _chosen(task: Task, batch: Batch, predictions: Predictions) -> tuple[np.ndarray, np.ndarray] | None:
    """True and predicted class of every pixel or picture that counts, where each has one."""
    rows = batch["valid"]
    if task.about == "pixels" and "label" in batch:
        return batch["label"][rows], np.where(predictions["label"] == VOID, -1, predictions["label"])[rows]
    if task.about == "picture" and np.ndim(batch["category"]) == 1:
        return batch["category"][rows], np.argmax(predictions["scores"], axis=-1)[rows]
    return None


def _counted(task: Task, source: Any, batch: Batch) -> np.ndarray:
    """How many true objects of each class a batch has; of stuff, in how many pictures it is."""
    stuff = len(source.stuff) if task.about == "segments" else 0
    there = batch["instances"]
    seen = there["valid"] & batch["valid"][:, None]
    if "crowd" in there:
        seen &= ~there["crowd"]
    things = np.bincount(there["classes"][seen], minlength=len(source.things) + 1)[1:]
    pictures = [int((batch["label"][batch["valid"]] == k).any((1, 2)).sum()) for k in range(stuff)]
    return np.array([*pictures, *things.tolist()], np.int64)


def _picture(task: Task, source: Any, entry: tuple[float, int, Any], width: int) -> viz.Shown:
    value, place, (batch, predictions) = entry
    name = Path(str(source[place].get("name", f"picture {place}"))).name
    if task.views is None:
        return viz.Shown(name, value, {"prediction": task.draw(batch, predictions)})
    views, palette = task.views(batch, predictions, width)[0], getattr(source, "palette", ())
    return viz.Shown(name, value, {key: viz.panel(views, key, palette, width) for key in views})
