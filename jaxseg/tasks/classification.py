"""Classification: what a picture shows, as a whole. One class a picture, or several at once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import losses, metrics, viz
from jaxseg.metrics.classification import known
from jaxseg.tasks.examples import examples, sheet_of
from jaxseg.types import UNKNOWN, Array, Batch, Outputs, Predictions, Task

_PANEL = 240  # pixels across

Localize = Callable[[Array, tuple[int, int]], tuple[Array, Array]]
"""``(maps [h, w, K], (H, W)) -> (boxes [K, 4], points [K, 2])``: :func:`jaxseg.models.cam.boxes_from_maps`."""


def classification(
    classes: Sequence[str], *, several: bool = False, top: int = 5, localize: Localize | None = None
) -> Task:
    """The task of naming what each picture shows, of ``classes``. The model gives ``logits`` [B, K].

    One class a picture: the batch holds ``category`` [B] (:class:`jaxseg.data.MainObject`); softmax cross-entropy;
    accuracy and top-5 accuracy; ``main_metric`` is ``accuracy``. ``several``: ``category`` is [B, K], 1 present and 0
    absent (:class:`jaxseg.data.Present`); an independent logistic loss each, averaged; average precision;
    ``main_metric`` is ``mean_average_precision``. Rows that are not valid, and ``UNKNOWN`` answers, count for nothing.

    ``localize`` turns the model's ``maps`` into boxes and points, which are judged by the batch's ``instances``
    (:func:`jaxseg.metrics.weak_localization_metric`) and drawn; training never sees an instance.
    """
    classes = tuple(classes)
    metric = metrics.average_precision_metric(classes) if several else metrics.accuracy_metric(classes, top=top)
    if localize is not None:
        metric = metrics.combine(metric, metrics.weak_localization_metric())
    return Task(
        inputs=lambda batch: (batch["image"],),
        loss=partial(_loss, several),
        predict=partial(_predict, several, localize),
        metric=metric,
        draw=partial(sheet_of, partial(_views, classes), _PANEL),
        main_metric="mean_average_precision" if several else "accuracy",
        about="picture",
        views=partial(_views, classes),
        score=("probability of the right answer", partial(_sureness, several)),
    )


def _loss(several: bool, outputs: Outputs, batch: Batch) -> tuple[Array, dict[str, Array]]:
    loss = losses.binary_cross_entropy if several else losses.cross_entropy
    value = loss(outputs["logits"], known(batch, 2 if several else 1), ignore_index=UNKNOWN)
    return value, {"class": value}


def _predict(several: bool, localize: Localize | None, outputs: Outputs, batch: Batch) -> Predictions:
    """``scores`` [B, K], which classes are ``present`` [B, K], and where, if asked."""
    scores = outputs["logits"]
    best = jnp.argmax(scores, axis=-1)
    present = scores >= 0 if several else best[:, None] == jnp.arange(scores.shape[-1])[None]
    predictions = {"scores": scores, "present": present}
    if localize is None:
        return predictions
    boxes, points = jax.vmap(lambda maps: localize(maps, batch["image"].shape[1:3]))(outputs["maps"])
    return predictions | {"boxes": boxes, "points": points, "maps": outputs["maps"]}


def _sureness(several: bool, batch: Batch, predictions: Predictions) -> Array:
    """[B]: the right class's probability; of several classes the mean over all answers that are known."""
    category, scores = known(batch, 2 if several else 1), predictions["scores"]
    if several:
        right = jnp.where(category == 1, nn.sigmoid(scores), nn.sigmoid(-scores))
        return jnp.mean(right, axis=-1, where=category != UNKNOWN)
    right = jnp.take_along_axis(nn.softmax(scores), jnp.maximum(category, 0)[:, None], axis=-1)[:, 0]
    return jnp.where(category == UNKNOWN, jnp.nan, right)


def _views(classes: tuple[str, ...], batch: Batch, predictions: Predictions, width: int) -> list[dict[str, np.ndarray]]:
    """Of every image itself, with the predicted (and the true) names, and where the likeliest is seen."""
    return [_row(classes, width, *one) for one in examples(batch, predictions)]


def _row(classes: tuple[str, ...], width: int, one: Batch, found: Predictions) -> dict[str, Any]:
    image, category, present = one["image"], one["category"], found["present"]
    names = ", ".join(np.array(classes)[present]) or "nothing"
    truth = ", ".join(np.array(classes)[category == 1 if category.ndim else np.arange(len(classes)) == category])
    row = {"image": viz.annotate(image, text=f"{names} ({truth or 'nothing'})", width=width)}
    if "maps" in found:
        k = int(np.argmax(found["scores"]))
        shown = bool(present[k])
        boxes = [(found["boxes"][k], viz.PREDICTION)] if shown else []
        if "instances" in one:
            theirs = one["instances"]["valid"] & (one["instances"]["classes"] == k + 1)
            boxes = [(box, viz.TRUTH) for box in one["instances"]["boxes"][theirs]] + boxes
        picture = viz.heat_map(image, found["maps"][..., k]) if shown else image
        row["where"] = viz.annotate(picture, boxes=boxes, text=classes[k] if shown else "nothing", width=width)
    return row
