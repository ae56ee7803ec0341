"""Detection and instance segmentation: a box, a class and, with masks, the shape of every object."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import losses, ops, viz
from jaxseg.nn import TORCHVISION, RCNNConfig
from jaxseg.tasks.examples import examples, sheet_of
from jaxseg.types import Array, Batch, Metric, Outputs, Predictions, Task

HEAD_LOSSES: Mapping[str, Callable[..., Any]] = {
    "mask": losses.mask_loss,
    "keypoint": losses.keypoint_loss,
    "caption": losses.caption_loss,
    "mesh": losses.mesh_losses,
}
"""The loss of each head, by its name in :class:`jaxseg.models.RegionHeads`: a number, or several by name."""

_PANEL = 320  # pixels across


def detection(
    classes: Sequence[str],
    metric: Metric,
    *,
    config: RCNNConfig = TORCHVISION,
    main_metric: str = "box_ap",
    shown_score: float = 0.5,
    learnt: Literal["all", "proposals", "regions"] = "all",
    heads: Mapping[str, Callable[..., Any]] = HEAD_LOSSES,
    weights: Mapping[str, float] | None = None,
    words: Any = None,
) -> Task:
    """The task of finding the objects of ``classes`` (without background), by a detector of regions.

    A batch holds ``image`` [B, H, W, 3], ``size`` [B, 2], for training ``instances`` (``Data.max_instances``, at
    least as many as any picture shows) and, for R-CNN and Fast R-CNN, ``proposals`` (:class:`jaxseg.data.Propose`). The
    loss is the sum of objectness and box of the proposal network (:func:`jaxseg.losses.rpn_losses`) where the model has
    one, class and box of the regions (``roi_losses``) and of its further heads (:class:`jaxseg.models.RegionHeads`)
    those that ``heads`` has for their names; ``weights`` of these terms, by name, are 1 unless told. ``config`` is the
    model's own: betas and divisors are in it.

    Predictions: ``boxes`` [B, D, 4] in pixels of the batch's image, ``scores``, ``classes`` from 1, ``valid`` [B, D]
    and what the heads predict: ``masks`` [B, D, M, M], probabilities within the boxes, ``keypoints`` [B, D, P, 3],
    ``tokens`` [B, D, T]. ``metric``: :func:`jaxseg.metrics.coco_metric` or ``voc_metric``. ``shown_score``: from which
    score on detections are drawn; ``words``, a :class:`jaxseg.data.Vocabulary`: they are named by their captions.

    ``learnt``: of the two stages one alone, as in alternating training. Where that is "proposals", they are the
    predictions, their score a probability and all of class 1, which a metric with ``any_class`` judges.
    """
    views = partial(_views, tuple(classes), words, config, shown_score)
    return Task(
        inputs=_inputs,
        loss=partial(_loss, config, learnt, dict(heads), dict(weights or {})),
        predict=_proposals if learnt == "proposals" else _predict,
        metric=metric,
        draw=partial(sheet_of, views, _PANEL),
        main_metric=main_metric,
        about="instances",
        views=views,
    )


def _inputs(batch: Batch) -> tuple[Any, ...]:
    given = (batch["proposals"],) if "proposals" in batch else ()
    return (batch["image"], batch["size"], batch.get("instances"), *given)


def _loss(
    config: RCNNConfig,
    learnt: str,
    heads: dict[str, Callable[..., Any]],
    weights: dict[str, float],
    outputs: Outputs,
    batch: Batch,
) -> tuple[Array, dict[str, Array]]:
    del batch
    roi = outputs["roi"]
    terms: dict[str, Array] = {}
    if "rpn" in outputs and learnt != "regions":
        rpn = outputs["rpn"]
        terms["objectness"], terms["rpn_box"] = losses.rpn_losses(
            rpn["logits"],
            rpn["deltas"],
            rpn["targets"],
            rpn["valid"],
            rpn["positive"],
            beta=config.rpn_beta,
            divisor=config.rpn_divisor,
        )
    if learnt != "proposals":
        terms["class"], terms["box"] = losses.roi_losses(
            roi["logits"], roi["deltas"], roi["classes"], roi["targets"], roi["valid"], beta=config.box_beta
        )
    for name in heads if learnt != "proposals" else ():
        if name in outputs:
            value = heads[name](**outputs[name])
            terms |= {f"{name}_{part}": v for part, v in value.items()} if isinstance(value, dict) else {name: value}
    return sum((weights.get(name, 1.0) * term for name, term in terms.items()), start=jnp.zeros(())), terms


def _predict(outputs: Outputs, batch: Batch) -> Predictions:
    del batch
    return {key: value for key, value in outputs.items() if key not in ("features", "proposals")}


def _proposals(outputs: Outputs, batch: Batch) -> Predictions:
    del batch
    found = outputs["proposals"]
    scores = jnp.where(found["valid"], nn.sigmoid(found["scores"]), 0)
    return {**found, "scores": scores, "classes": jnp.ones(scores.shape, jnp.int32)}


def _views(
    classes: tuple[str, ...],
    words: Any,
    config: RCNNConfig,
    shown_score: float,
    batch: Batch,
    predictions: Predictions,
    width: int,
) -> list[dict[str, np.ndarray]]:
    """Of every image itself, what was found, the truth."""
    rows = []
    for one, found in examples(batch, predictions):
        image, (h, w) = one["image"], one["size"]
        seen = found["valid"] & (found["scores"] >= shown_score)
        names = [
            f"{name} {s:.2f}"
            for name, s in zip(_names(classes, words, found, seen), found["scores"][seen], strict=True)
        ]
        panels = {"image": image[:h, :w], "prediction": _panel(image, (h, w), found, seen, names, config, width)}
        if "instances" in one:
            truth = {key: value for key, value in one["instances"].items() if key in found}
            names = _names(classes, words, truth, truth["valid"])
            panels["truth"] = _panel(image, (h, w), truth, truth["valid"], names, config, width)
        rows.append(panels)
    return rows


def _names(classes: tuple[str, ...], words: Any, instances: Any, shown: np.ndarray) -> list[str]:
    if words is not None:
        return [words.decode(tokens) for tokens in instances["tokens"][shown]]
    return [classes[k - 1] for k in instances["classes"][shown]]


def _panel(
    image: np.ndarray,
    size: tuple[int, int],
    instances: Any,
    shown: np.ndarray,
    names: list[str],
    config: RCNNConfig,
    width: int,
) -> np.ndarray:
    (h, w), masks = size, instances.get("masks")
    if masks is not None and masks.dtype != bool:
        # All of them, so that pictures of any number of objects are one program's.
        masks = np.asarray(ops.paste_masks(masks, instances["boxes"], image.shape[:2], rule=config.paste)) >= 0.5
    masks = None if masks is None else masks[shown][:, :h, :w]
    points = instances["keypoints"][shown] if "keypoints" in instances else None
    return viz.draw_instances(image[:h, :w], instances["boxes"][shown], masks, names, keypoints=points, width=width)
