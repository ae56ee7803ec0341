"""Classification and localization: which object a picture shows, its box, and its joints."""

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import losses, metrics, viz
from jaxseg.metrics.classification import known
from jaxseg.metrics.labels import split_void
from jaxseg.metrics.localization import paired_iou, truth_of
from jaxseg.tasks.examples import examples, sheet_of
from jaxseg.types import UNKNOWN, Array, Batch, JaxsegError, Outputs, Predictions, Task

_PANEL = 240  # pixels across

Regression = Callable[[Array, Array, Array], Array]
"""``(predictions [..., D], targets [..., D], weights [...]) -> scalar``: l2, l1 or smooth_l1 of jaxseg.losses."""


def localization(
    classes: Sequence[str],
    *,
    regression: Regression = losses.smooth_l1,
    box_weight: float = 1.0,
    joint_weight: float = 1.0,
    joints: Sequence[str] = (),
    alpha: float = 0.1,
) -> Task:
    """The task of naming the object of a picture, of ``classes``, and boxing it; and of finding its ``joints``.

    ``L = cross-entropy + box_weight * regression(boxes) + joint_weight * regression(joints)``. A weight changes the
    loss's own scale, so no two weights can be compared by the loss: choose them by the metric. Boxes and joints are
    regressed relative to the picture (:func:`relative`), which also sets ``smooth_l1``'s ``beta`` its scale: bind it
    (``partial(smooth_l1, beta=0.1)``).

    The batch holds ``category`` [B] and ``instances``, of which the first of each picture is the object
    (:class:`jaxseg.data.MainObject`, ``Data.max_instances=1``); where it is not ``valid`` no box is regressed, and
    joints of visibility 0 are not. The model gives ``logits`` [B, K], ``boxes`` [B, 4] or [B, K, 4] and, for joints,
    ``joints`` [B, P, 2]. Metrics: accuracy, :func:`jaxseg.metrics.localization_metric` and, for joints,
    :func:`jaxseg.metrics.pck_metric` with ``alpha``; ``main_metric`` is ``localization_accuracy``.
    """
    classes, joints = tuple(classes), tuple(joints)
    parts = [metrics.accuracy_metric(classes), metrics.localization_metric()]
    return Task(
        inputs=lambda batch: (batch["image"],),
        loss=partial(_loss, regression, box_weight, joint_weight, len(joints)),
        predict=_predict,
        metric=metrics.combine(*parts, *([metrics.pck_metric(joints, alpha)] if joints else [])),
        draw=partial(sheet_of, partial(_views, classes), _PANEL),
        main_metric="localization_accuracy",
        about="picture",
        views=partial(_views, classes),
        score=("the right class's probability times IoU of the box", _quality),
    )


def relative(points: Array, size: tuple[int, ...]) -> Array:
    """Pixels ``[..., 2]`` (x, y) of a picture of ``size`` (H, W) -> relative to it, -0.5..0.5 inside.

    ``(y - middle) / extent``, Toshev & Szegedy 2014, "DeepPose", equation 1, the whole picture being the box.
    """
    return points / _extent(points, size) - 0.5


def pixels(points: Array, size: tuple[int, ...]) -> Array:
    """The inverse of :func:`relative`."""
    return (points + 0.5) * _extent(points, size)


def _extent(points: Array, size: tuple[int, ...]) -> Array:
    h, w = size
    return jnp.broadcast_to(jnp.array([w, h], jnp.float32), points.shape)


def _loss(
    regression: Regression, box_weight: float, joint_weight: float, joints: int, outputs: Outputs, batch: Batch
) -> tuple[Array, dict[str, Array]]:
    size, instances, category = batch["image"].shape[1:3], truth_of(batch), known(batch, 1)
    valid = instances["valid"][:, 0] & batch["valid"]
    truth = instances["boxes"][:, 0].reshape(-1, 2, 2)
    safe, _ = split_void(category, outputs["logits"].shape[-1], UNKNOWN)
    terms = {
        "class": losses.cross_entropy(outputs["logits"], category, ignore_index=UNKNOWN),
        "box": regression(_box_of(outputs["boxes"], safe), relative(truth, size).reshape(-1, 4), valid),
    }
    total = terms["class"] + box_weight * terms["box"]
    if joints:
        keypoints = instances["keypoints"][:, 0]
        if outputs.get("joints", jnp.zeros(0)).shape != (len(keypoints), joints, 2) or keypoints.shape[1] != joints:
            raise JaxsegError(
                f"{joints} joints are asked for; the batch has {keypoints.shape[1]} and the model gives "
                f"{outputs['joints'].shape[1] if 'joints' in outputs else 'none'}: give all three the same number"
            )
        seen = valid[:, None] & (keypoints[..., 2] > 0)
        terms["joints"] = regression(outputs["joints"], relative(keypoints[..., :2], size), seen)
        total = total + joint_weight * terms["joints"]
    return total, terms


def _predict(outputs: Outputs, batch: Batch) -> Predictions:
    """``scores``, ``category`` [B] of the highest, ``boxes`` [B, 4] and ``keypoints`` [B, P, 2] in pixels."""
    size, scores = batch["image"].shape[1:3], outputs["logits"]
    category = jnp.argmax(scores, axis=-1).astype(jnp.int32)
    boxes = pixels(_box_of(outputs["boxes"], category).reshape(-1, 2, 2), size).reshape(-1, 4)
    found = {"keypoints": pixels(outputs["joints"], size)} if "joints" in outputs else {}
    return {"scores": scores, "category": category, "boxes": boxes, **found}


def _box_of(boxes: Array, category: Array) -> Array:
    """``[B, 4]``: the one box, or that of each picture's ``category`` [B] where there is one a class."""
    return boxes if boxes.ndim == 2 else jnp.take_along_axis(boxes, category[:, None, None], axis=1)[:, 0]


def _quality(batch: Batch, predictions: Predictions) -> Array:
    """[B], NaN where the class is unknown or there is no box."""
    truth, category = truth_of(batch), known(batch, 1)
    right = jnp.take_along_axis(nn.softmax(predictions["scores"]), jnp.maximum(category, 0)[:, None], axis=-1)[:, 0]
    there = (category != UNKNOWN) & truth["valid"][:, 0]
    return jnp.where(there, right * paired_iou(predictions["boxes"], truth["boxes"][:, 0]), jnp.nan)


def _views(classes: tuple[str, ...], batch: Batch, predictions: Predictions, width: int) -> list[dict[str, np.ndarray]]:
    """Of every image itself, with the predicted box and joints, and with the true ones; below each the predicted (and
    the true) name."""
    return [_row(classes, width, *one) for one in examples(batch, predictions)]


def _row(classes: tuple[str, ...], width: int, one: Batch, found: Predictions) -> dict[str, np.ndarray]:
    truth = {key: value[0] for key, value in one["instances"].items()}
    draw, category = partial(viz.annotate, one["image"], width=width), int(one["category"])
    text = f"{classes[int(found['category'])]} ({classes[category] if category >= 0 else 'unknown'})"
    true_points = [(p[:2], viz.TRUTH) for p in truth["keypoints"] if p[2] > 0] if "keypoints" in found else []
    return {
        "image": draw(text=text),
        "prediction": draw(
            boxes=[(found["boxes"], viz.PREDICTION)],
            points=[(p, viz.PREDICTION) for p in found.get("keypoints", ())],
            text=text,
        ),
        "truth": draw(
            boxes=[(truth["boxes"], viz.TRUTH)] if truth["valid"] else [],
            points=true_points,
            text=text,
        ),
    }
