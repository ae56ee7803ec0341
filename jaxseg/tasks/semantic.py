"""Semantic segmentation: a label for every pixel; instances are not told apart."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxseg import losses, metrics, viz
from jaxseg.tasks.examples import examples
from jaxseg.types import VOID, Array, Batch, JaxsegError, Metric, Outputs, Predictions, Task

PixelLoss = Callable[[Array, Array], Array]
"""``(logits [B, H, W, K], labels [B, H, W]) -> scalar``, void pixels counting for nothing."""
Weight: TypeAlias = float | Callable[[Array], Array]
"""A number, or a function of the step."""


def semantic(
    classes: Sequence[str],
    *,
    palette: Any = None,
    loss: PixelLoss = losses.cross_entropy,
    auxiliary_weight: Weight = 0.4,
    boundary: bool = False,
) -> Task:
    """The task of labelling every pixel with one of ``classes``.

    A batch holds ``image`` [B, H, W, 3] and ``label`` [B, H, W] (``VOID`` counts for nothing). The model gives
    ``logits`` [B, H', W', K]; where they are smaller than the labels (U-Net's valid form) the labels are cropped about
    their centre. Further outputs named ``aux_...`` are trained too, each with ``auxiliary_weight`` (PSPNet, section
    3.3), a number or a function of the step (an optax schedule). The metric is mIoU and its relatives, with
    ``boundary`` also boundary F and boundary IoU (:func:`jaxseg.metrics.boundary_metric`); ``main_metric`` is ``miou``.
    """
    classes = tuple(classes)
    metric = metrics.segmentation_metric(len(classes), classes, ignore_index=VOID)
    if boundary:
        metric = metrics.combine(metric, metrics.boundary_metric(len(classes), classes, ignore_index=VOID))
    return Task(
        inputs=lambda batch: (batch["image"],),
        loss=partial(_loss, loss, auxiliary_weight),
        predict=_predict,
        metric=metric._replace(update=partial(_update, metric)),
        draw=partial(_draw, classes, palette),
        main_metric="miou",
        views=_views,
    )


def _loss(pixel_loss: PixelLoss, weight: Weight, outputs: Outputs, batch: Batch) -> tuple[Array, dict[str, Array]]:
    auxiliary = weight(batch["step"]) if callable(weight) else weight
    terms = {"pixel": pixel_loss(outputs["logits"], _labels_like(outputs["logits"], batch["label"]))}
    total = terms["pixel"]
    for name in sorted(outputs):
        if name.startswith("aux_"):
            terms[name] = pixel_loss(outputs[name], _labels_like(outputs[name], batch["label"]))
            total = total + auxiliary * terms[name]
    return total, terms


def _predict(outputs: Outputs, batch: Batch) -> Predictions:
    """Class of the highest logit; ``VOID`` on the border that U-Net's valid form says nothing about."""
    label = jnp.argmax(outputs["logits"], axis=-1).astype(jnp.int32)
    (h, w), (out_h, out_w) = batch["image"].shape[1:3], label.shape[1:]
    top, left = (h - out_h) // 2, (w - out_w) // 2
    border = ((0, 0), (top, h - out_h - top), (left, w - out_w - left))
    return {"label": jnp.pad(label, border, constant_values=VOID)}


def _update(metric: Metric, state: Any, predictions: Predictions, batch: Batch) -> Any:
    label = jnp.where(predictions["label"] == VOID, VOID, batch["label"].astype(jnp.int32))
    return metric.update(state, predictions, {**batch, "label": label})


def _labels_like(logits: Array, labels: Array) -> Array:
    """``labels`` [B, H, W] cropped about their centre to the size of ``logits`` [B, H', W', K]."""
    (h, w), (out_h, out_w) = labels.shape[1:], logits.shape[1:3]
    if out_h > h or out_w > w:
        raise JaxsegError(f"logits of {out_h}x{out_w} are larger than the labels of {h}x{w}")
    top, left = (h - out_h) // 2, (w - out_w) // 2
    return labels[:, top : top + out_h, left : left + out_w]


def _draw(classes: tuple[str, ...], palette: Any, batch: Batch, predictions: Predictions) -> np.ndarray:
    """A contact sheet: image, prediction over it, truth over it, one row an image, and the legend."""
    return viz.contact_sheet(_views(batch, predictions), classes, palette)


def _views(batch: Batch, predictions: Predictions, width: int = 0) -> list[dict[str, np.ndarray]]:
    """Of every image itself and both label maps, cut free of padding, at their own size whatever ``width``."""
    rows = []
    for one, found in examples(batch, predictions):
        h, w = one["size"]
        panels = {"image": one["image"], "prediction": found["label"], "truth": one["label"]}
        rows.append({name: panel[:h, :w] for name, panel in panels.items()})
    return rows
