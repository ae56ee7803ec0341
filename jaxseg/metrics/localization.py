"""Where things are, one box an image or one a class, and where their joints are.

Overlaps are summed in steps of 2^-16, as whole numbers: any split of the data gives the same mean.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxseg.metrics import counts
from jaxseg.metrics.confusion import check_class_names
from jaxseg.types import Array, Batch, JaxsegError, Metric, Predictions

STEPS = 2**16


def paired_iou(a: Array, b: Array) -> Array:
    """Intersection over union of boxes ``[..., 4]``, pair by pair: ``[...]`` float32 in 0..1; 0 where both are empty.

    Leading axes may be 1 in one of the two. A box whose corners are exchanged counts as empty.
    """
    shape = jnp.broadcast_shapes(a.shape, b.shape)
    a, b = jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape)

    def area(low: Array, high: Array) -> Array:
        return jnp.prod(jnp.maximum(high - low, 0), axis=-1)

    both = area(jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:]))
    union = area(a[..., :2], a[..., 2:]) + area(b[..., :2], b[..., 2:]) - both
    return both / jnp.where(union > 0, union, 1.0)


def localization_metric(threshold: float = 0.5) -> Metric:
    """Scores where each picture has one object.

    ``update`` reads ``predictions["boxes"]`` [B, 4] and ``["category"]`` [B], the batch's ``instances`` (the first of
    each picture is the truth), ``category`` [B] and ``valid``. ``compute`` gives ``mean_iou``; ``localized``, the
    share of IoU >= ``threshold``; ``localization_accuracy``, the share that has the class right too (ILSVRC's top-1
    localization); ``objects``, how many were counted.
    """

    def update(state: dict[str, Any], predictions: Predictions, batch: Batch) -> dict[str, Any]:
        instances = truth_of(batch)
        valid = instances["valid"][:, 0] & batch["valid"]
        iou = paired_iou(predictions["boxes"], instances["boxes"][:, 0])
        right = predictions["category"] == batch["category"].astype(jnp.int32)
        return _add_overlaps(state, iou, valid, {"both": right}, threshold)

    def compute(state: dict[str, Any]) -> dict[str, Any]:
        shares, total = _shares(state)
        names = {"iou": "mean_iou", "localized": "localized", "both": "localization_accuracy"}
        return {name: shares[key] for key, name in names.items()} | {"objects": total}

    return _metric(("iou", "localized", "both", "all"), update, compute)


def weak_localization_metric(threshold: float = 0.5) -> Metric:
    """Scores of boxes and points that are told for every class, where no box was ever taught.

    Judged is every pair of a picture and a class that it shows. ``update`` reads ``predictions["boxes"]`` [B, K, 4],
    ``["points"]`` [B, K, 2] (x, y) and ``["present"]`` [B, K] bool, and the batch's ``instances``, class k + 1 being
    category k. ``compute`` gives, of the instance of that class with the best overlap, ``mean_iou``; ``localized``, the
    share of IoU >= ``threshold`` ("GT-known"); ``localization_error``, the share of pairs for which it is not so that
    the class was predicted *and* localized (where one class is predicted a picture: ILSVRC's top-1 error, Zhou et
    al. 2016, section 3.2); ``pointing_accuracy``, the share whose point lies in a box of the class (Oquab et al. 2015,
    section 4.2, whose tolerance of 18 pixels is left out: it means nothing at another scale); ``pairs``.
    """

    def update(state: dict[str, Any], predictions: Predictions, batch: Batch) -> dict[str, Any]:
        instances, boxes, points = truth_of(batch), predictions["boxes"], predictions["points"]
        category = jnp.arange(boxes.shape[1])[None, None]
        valid = (instances["valid"] & batch["valid"][:, None])[..., None]
        is_class = valid & (instances["classes"].astype(jnp.int32)[..., None] - 1 == category)  # [B, N, K]
        there = instances["boxes"][:, :, None]  # [B, N, 1, 4]
        iou = jnp.max(jnp.where(is_class, paired_iou(boxes[:, None], there), 0), axis=1)
        at = points[:, None]
        inside = jnp.all((at >= there[..., :2]) & (at <= there[..., 2:]), axis=-1)
        pointed = jnp.any(is_class & inside, axis=1)
        state, extra = dict(state), jnp.any(is_class, axis=1)
        state["pointed"] = _add(state["pointed"], extra & pointed)
        return _add_overlaps(state, iou, extra, {"both": predictions["present"]}, threshold)

    def compute(state: dict[str, Any]) -> dict[str, Any]:
        shares, total = _shares(state)
        return {
            "mean_iou": shares["iou"],
            "localized": shares["localized"],
            "localization_error": 1 - shares["both"],
            "pointing_accuracy": shares["pointed"],
            "pairs": total,
        }

    return _metric(("iou", "localized", "both", "pointed", "all"), update, compute)


def pck_metric(keypoint_names: Sequence[str], alpha: float = 0.1) -> Metric:
    """Share of joints that are found: nearer to the truth than ``alpha`` times the longer side of the object's box.

    ``update`` reads ``predictions["keypoints"]`` [B, P, 2] (x, y) and the batch's ``instances``: the first of each
    picture is the truth, its joints of visibility above 0 count. ``compute`` gives ``pck`` over all joints,
    ``pck_of`` by name, ``joints``. Yang & Ramanan 2013, "Articulated human detection", section 5.1 (PCK).
    """
    names = check_class_names(len(keypoint_names), keypoint_names)

    def init() -> dict[str, Any]:
        return {key: counts.zeros((len(names),)) for key in ("found", "all")}

    def update(state: dict[str, Any], predictions: Predictions, batch: Batch) -> dict[str, Any]:
        instances = truth_of(batch)
        truth, box = instances["keypoints"][:, 0], instances["boxes"][:, 0]
        reach = alpha * jnp.max(box[:, 2:] - box[:, :2], axis=-1, keepdims=True)
        distance = jnp.sqrt(jnp.sum((predictions["keypoints"] - truth[..., :2]) ** 2, axis=-1))
        counted = (truth[..., 2] > 0) & (instances["valid"][:, 0] & batch["valid"])[:, None]
        found = {"found": counted & (distance <= reach), "all": counted}
        return {key: _add(state[key], jnp.sum(found[key], axis=0)) for key in state}

    def compute(state: dict[str, Any]) -> dict[str, Any]:
        found, every = (counts.to_host(state[key]) for key in ("found", "all"))
        of = {name: float(f / n) for name, f, n in zip(names, found, every) if n}
        total = int(every.sum())
        return {"pck": float(found.sum() / total) if total else float("nan"), "pck_of": of, "joints": total}

    return Metric(init, update, _merge, compute)


def truth_of(batch: Batch) -> dict[str, Any]:
    """The batch's instances. Raises JaxsegError where it has none."""
    if "instances" not in batch:
        raise JaxsegError(
            "the batch has no instances to judge boxes by; set Data.max_instances, and keep_instances=True in Present"
        )
    return batch["instances"]


def _metric(keys: tuple[str, ...], update: Any, compute: Any) -> Metric:
    return Metric(lambda: {key: counts.zeros(()) for key in keys}, update, _merge, compute)


def _merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    return {key: counts.merge(a[key], b[key]) for key in a}


def _add(counter: Any, found: Array) -> Any:
    found = found if found.ndim == 1 and found.dtype != bool else jnp.sum(found)
    return counts.add(counter, counts.sum_over_devices(found.astype(jnp.uint32)))


def _add_overlaps(
    state: dict[str, Any], iou: Array, valid: Array, also: dict[str, Array], threshold: float
) -> dict[str, Any]:
    """``state`` with these overlaps added where ``valid``; ``also``: what must hold beside IoU >= threshold."""
    good = valid & (iou >= threshold)
    found = {
        "iou": jnp.sum(jnp.where(valid, jnp.round(iou * STEPS), 0).astype(jnp.uint32)),
        "localized": jnp.sum(good),
        "all": jnp.sum(valid),
    } | {key: jnp.sum(good & condition) for key, condition in also.items()}
    return {**state, **{key: _add(state[key], value) for key, value in found.items()}}


def _shares(state: dict[str, Any]) -> tuple[dict[str, float], int]:
    numbers = {key: int(counts.to_host(value)) for key, value in state.items()}
    total = numbers.pop("all")
    numbers = {key: n / STEPS if key == "iou" else n for key, n in numbers.items()}
    return {key: n / total if total else float("nan") for key, n in numbers.items()}, total
