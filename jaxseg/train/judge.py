"""A run judged picture by picture: which it does best and worst, which classes it takes for which."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import viz
from jaxseg.config import Experiment
from jaxseg.train.evaluate import evaluate
from jaxseg.types import VOID, Batch, Metric, Predictions, Task

TALLEST = 1600  # pixels that a picture is drawn at; beyond 16383 there is no WebP


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
    width: int = 400,
    eval_step: Callable[..., Any] | None = None,
    watch: Callable[[int], None] | None = None,
) -> Judged:
    """Evaluate ``variables`` over the validation source, and every picture of it by itself.

    A picture's score is the task's own (``Task.score``) or else its main metric, computed of that picture alone. Kept
    are ``most`` of the best and of the worst (half of all each, if there are fewer). ``eval_step``: as ``evaluate``
    takes it; its metric state is not looked at. ``watch`` is told how many pictures are done.
    """
    task, source, classes = experiment.task, experiment.data.val, classes_of(experiment)
    tally = _Tally(task, source, len(classes), most, watch)
    # What is counted is counted there: a metric's state of all pictures is that of each, merged.
    silent = Metric(dict, lambda state, *_: state, lambda a, _: a, lambda _: {}, on_host=True)
    counted = replace(experiment, task=task._replace(metric=silent))
    evaluate(counted, variables, shown=0, eval_step=eval_step, watch=tally.see)
    ranked = tally.ranked
    half = min(most, (len(ranked) + 1) // 2)
    chosen = (ranked[:half], ranked[half:][::-1][:most])
    worst, best = ([_picture(task, source, entry, width) for entry in part] for part in chosen)
    counts = tally.counts if tally.confusion is None else tally.confusion.sum(1)
    return Judged(
        scores=task.metric.compute(jax.device_get(tally.state)),
        score=task.main_metric if task.score is None else task.score[0],
        by_picture=np.array([value for value, _, _ in ranked] + [np.nan] * tally.unranked),
        worst=worst,
        best=best,
        confusion=tally.confusion,
        counts={name: int(n) for name, n in zip(classes, counts)} if counts.any() else {},
        unit={"pixels": "pixels", "picture": "pictures"}.get(task.about, "objects"),
    )


class _Tally:
    """What is known after each batch: the metric's ``state``; ``ranked``, score, place and example of each picture,
    from the worst on; how many have no score; the confusion of classes, and how many true objects there are of each."""

    def __init__(
        self, task: Task, source: Any, num_classes: int, most: int, watch: Callable[[int], None] | None
    ) -> None:
        self.task, self.source, self.num_classes, self.most, self.watch = task, source, num_classes, most, watch
        self.update = task.metric.update if task.metric.on_host else jax.jit(task.metric.update)
        self.state = task.metric.init()
        self.ranked: list[tuple[float, int, Any]] = []
        self.unranked = 0
        self.confusion: np.ndarray | None = None
        self.counts = np.zeros(num_classes, np.int64)

    def see(self, batch: Batch, predictions: Predictions) -> None:
        for row in np.flatnonzero(batch["valid"]):
            one = jax.tree.map(partial(np.take, indices=[row], axis=0), (batch, predictions))
            score = self.judge(*one)
            if np.isfinite(score):
                self.ranked.append((score, int(batch["index"][row]), one))
            else:
                self.unranked += 1
        self.ranked.sort(key=lambda entry: entry[:2])
        last = len(self.ranked) - self.most
        # Of those that can't be shown any more the number is enough.
        self.ranked = [
            (score, place, one if n < self.most or n >= last else None)
            for n, (score, place, one) in enumerate(self.ranked)
        ]
        if (pairs := _chosen(self.task, batch, predictions)) is not None:
            found = confusion_of(*pairs, self.num_classes)
            self.confusion = found if self.confusion is None else self.confusion + found
        if self.task.about in ("instances", "segments") and "instances" in batch:
            self.counts += _counted(self.task, self.source, batch)
        if self.watch is not None:
            self.watch(len(self.ranked) + self.unranked)

    def judge(self, batch: Batch, predictions: Predictions) -> float:
        """What a batch of one picture is ranked by; it is counted too."""
        metric, score = self.task.metric, self.task.score
        seen = {key: value for key, value in batch.items() if key != "image"}
        state = self.update(metric.init(), predictions, seen)
        self.state = metric.merge(self.state, state)
        if score is not None:
            return float(np.asarray(score[1](batch, predictions))[0])
        return float(metric.compute(jax.device_get(state))[self.task.main_metric])


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


def _chosen(task: Task, batch: Batch, predictions: Predictions) -> tuple[np.ndarray, np.ndarray] | None:
    """True and predicted class of every pixel or picture that counts, where each has one."""
    rows = batch["valid"]
    if task.about == "pixels" and "label" in batch:
        found = predictions["label"][rows].astype(np.int64)
        return batch["label"][rows], np.where(found == VOID, -1, found)
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
    height, wide = batch["size"][0]
    width = max(1, min(width, TALLEST * int(wide) // int(height)))
    views, palette = task.views(batch, predictions, width)[0], getattr(source, "palette", ())
    return viz.Shown(name, value, {key: viz.panel(views, key, palette, width) for key in views})
