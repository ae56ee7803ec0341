"""Panoptic segmentation: every pixel a class, and things told apart."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import losses, ops, viz
from jaxseg.nn import TORCHVISION, RCNNConfig
from jaxseg.ops.masks import PasteRule
from jaxseg.tasks.detection import detection
from jaxseg.tasks.examples import examples, sheet_of
from jaxseg.types import VOID, Array, Batch, Metric, Outputs, Predictions, Task

_PANEL = 320  # pixels across


def panoptic(
    stuff: Sequence[str],
    things: Sequence[str],
    metric: Metric,
    *,
    config: RCNNConfig = TORCHVISION,
    semantic_weight: float = 0.5,
    overlap: float = 0.5,
    stuff_area: int = 4096,
    score: float = 0.5,
    palette: Any = None,
    main_metric: str = "pq",
) -> Task:
    """The task of giving every pixel a segment: of ``stuff``, one a class, or of ``things``, one an instance.

    A batch holds what :func:`jaxseg.tasks.detection` needs, and ``label`` [B, H, W], places in stuff and then things.
    ``L = instances + semantic_weight * pixel``: that task's loss, and the cross-entropy over stuff and one class for
    all things (Kirillov et al. 2019, "Panoptic feature pyramid networks", section 3; detectron2's weight is 0.5).

    Predictions: those of that task, and ``segments`` [B, H, W], ``segment_classes``, ``segment_scores`` and
    ``segment_valid`` [B, S], made by :func:`jaxseg.ops.merge_segments` with ``overlap``, ``stuff_area`` (in pixels of
    the batch's image) and ``score``. ``metric``: :func:`jaxseg.metrics.panoptic_metric`.
    """
    task = detection(things, metric, config=config)
    merge = partial(
        ops.merge_segments,
        num_stuff=len(stuff),
        overlap=overlap,
        stuff_area=stuff_area,
        score=score,
        rule=config.paste,
    )
    views = partial(_views, stuff, things, palette, config.paste)
    return task._replace(
        loss=partial(_loss, task, len(stuff), semantic_weight),
        predict=partial(_predict, task, merge),
        draw=partial(sheet_of, views, _PANEL),
        main_metric=main_metric,
        about="segments",
        views=views,
    )


def _loss(task: Task, num_stuff: int, weight: float, outputs: Outputs, batch: Batch) -> tuple[Array, dict[str, Array]]:
    total, terms = task.loss(outputs, batch)
    label = batch["label"].astype(jnp.int32)
    wanted = jnp.where(label == VOID, VOID, jnp.where(label < num_stuff, label + 1, 0))
    terms = terms | {"pixel": losses.cross_entropy(outputs["semantic"], wanted)}
    return total + weight * terms["pixel"], terms


def _predict(task: Task, merge: Any, outputs: Outputs, batch: Batch) -> Predictions:
    found = {key: value for key, value in task.predict(outputs, batch).items() if key != "semantic"}
    semantic = jnp.argmax(outputs["semantic"], axis=-1).astype(jnp.int32)

    def one(found: Predictions, semantic: Array, size: Array) -> ops.Segments:
        parts = (found[key] for key in ("masks", "boxes", "scores", "classes", "valid"))
        return merge(*parts, semantic, size=size)

    merged = jax.vmap(one)(found, semantic, batch["size"])
    names = {"segments": merged.ids, "segment_classes": merged.classes, "segment_scores": merged.scores}
    return found | names | {"segment_valid": merged.valid}


def _views(
    stuff: Sequence[str],
    things: Sequence[str],
    palette: Any,
    rule: PasteRule,
    batch: Batch,
    predictions: Predictions,
    width: int,
) -> list[dict[str, np.ndarray]]:
    """Of every image itself, the segments found, the true ones."""
    draw = partial(viz.draw_segments, stuff=stuff, things=things, palette=palette, width=width)
    rows = []
    for one, found in examples(batch, predictions):
        h, w = one["size"]
        image = one["image"][:h, :w]
        ids, kinds, scores = (found[f"segment{key}"] for key in ("s", "_classes", "_scores"))
        panels = {"image": image, "prediction": draw(image, ids[:h, :w], kinds, scores)}
        if "instances" in one:
            ids, kinds = _true_segments(one["instances"], one["label"], len(stuff), rule)
            panels["truth"] = draw(image, ids[:h, :w], kinds)
        rows.append(panels)
    return rows


def _true_segments(truth: Any, label: np.ndarray, num_stuff: int, rule: PasteRule) -> tuple[np.ndarray, np.ndarray]:
    """``ids`` and classes as :class:`jaxseg.ops.Segments` has them, later instances over earlier ones."""
    count, masks = len(truth["valid"]), truth["masks"]
    if masks.dtype != bool:
        masks = np.asarray(ops.paste_masks(masks, truth["boxes"], label.shape, rule=rule)) >= 0.5
    ids = np.where(label < num_stuff, label.astype(np.int32) + 1 + count, 0)
    for n in np.flatnonzero(truth["valid"]):
        ids[masks[n]] = n + 1
    return ids, np.concatenate([num_stuff - 1 + truth["classes"], np.arange(num_stuff)])
