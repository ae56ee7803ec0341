"""Panoptic quality (Kirillov et al. 2019), and the segmentations that it compares."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.types import Batch, JaxsegError, Metric, Predictions


class Panoptic(NamedTuple):
    """A panoptic segmentation on the host: ``ids [H, W]`` int32, 0 where nothing is known; ``classes``: of each id its
    class, a place in stuff and then things; ``crowd``: those ids that are of many things and of none in particular."""

    ids: np.ndarray
    classes: dict[int, int]
    crowd: frozenset[int] = frozenset()


def panoptic_counts(found: Panoptic, truth: Panoptic, num_classes: int) -> np.ndarray:
    """``[K, 4]`` float64: of each class the sum of IoU over its matched segments, how many these are (true positives),
    and how many found (false positives) and true ones (false negatives) have no match.

    Two segments of one class match if their IoU is above 0.5 (no segment has two matches then), the pixels left out
    that the truth knows nothing of. A crowd is neither found nor missed. What is found and has no match is no mistake
    if more than half of it is where the truth knows nothing or is a crowd of its class.

    Kirillov et al. 2019, "Panoptic segmentation", section 4; the rules for unknown pixels and crowds are those of
    ``panopticapi``.
    """
    if found.ids.shape != truth.ids.shape:
        raise JaxsegError(
            f"panoptic_counts: ids of {found.ids.shape} against a truth of {truth.ids.shape}; of one size"
        )
    ours, theirs = _known(found), _known(truth)
    place = [np.searchsorted(known, part.ids) for known, part in ((ours, found), (theirs, truth))]
    flat = (place[0] * len(theirs) + place[1]).ravel()
    shared = np.bincount(flat, minlength=len(ours) * len(theirs)).reshape(len(ours), len(theirs))
    areas, true_areas = shared.sum(1), shared.sum(0)
    unknown = shared[:, 0]
    counts = np.zeros((num_classes, 4))
    matched, met = set(), set()
    crowds: dict[int, int] = {}
    for g, true_id in enumerate(theirs[1:].tolist(), start=1):
        kind = truth.classes[true_id]
        if true_id in truth.crowd:
            crowds[kind] = g
            continue
        for p in np.flatnonzero(shared[1:, g]) + 1:
            if found.classes[int(ours[p])] != kind:
                continue
            iou = shared[p, g] / (areas[p] + true_areas[g] - shared[p, g] - unknown[p])
            if iou > 0.5:
                counts[kind] += (iou, 1, 0, 0)
                matched.add(p)
                met.add(g)
        counts[kind, 3] += g not in met
    for p, found_id in enumerate(ours[1:].tolist(), start=1):
        kind = found.classes[found_id]
        excused = unknown[p] + (shared[p, crowds[kind]] if kind in crowds else 0)
        counts[kind, 2] += p not in matched and excused <= 0.5 * areas[p]
    return counts


def panoptic_quality(counts: np.ndarray, stuff: Sequence[str], things: Sequence[str]) -> dict[str, Any]:
    """Of counts ``[K, 4]`` (:func:`panoptic_counts`, added up): ``pq``, ``sq`` and ``rq``, means over classes, those of
    stuff and of things alone after ``_stuff`` and ``_things``, and ``pq_of``, ``sq_of`` and ``rq_of`` by name.

    ``PQ = SQ RQ``, ``SQ``: the mean IoU of what was matched, ``RQ = TP / (TP + FP / 2 + FN / 2)``. A class that is
    neither true nor found is in no mean; a mean over nothing is NaN.
    """
    names = (*stuff, *things)
    iou, tp, fp, fn = np.asarray(counts, np.float64).T
    total = tp + fp / 2 + fn / 2
    seen = total > 0
    numbers = {
        "pq": iou / np.where(seen, total, 1),
        "sq": iou / np.where(tp > 0, tp, 1),
        "rq": tp / np.where(seen, total, 1),
    }
    parts = {"": np.arange(len(names)), "_stuff": np.arange(len(stuff)), "_things": np.arange(len(stuff), len(names))}
    scores: dict[str, Any] = {
        f"{name}{end}": float(np.mean(values[which][seen[which]])) if seen[which].any() else float("nan")
        for end, which in parts.items()
        for name, values in numbers.items()
    }
    return scores | {
        f"{kind}_of": {name: float(q) for name, q, there in zip(names, values, seen) if there}
        for kind, values in numbers.items()
    }


def panoptic_metric(truth: Callable[[int], Panoptic], stuff: Sequence[str], things: Sequence[str]) -> Metric:
    """Panoptic quality, segmentation quality and recognition quality, with the original images' pixels.

    It runs on the host. ``update`` reads of the predictions ``segments`` ``[B, H, W]``, ids that are 0 or s + 1 of a
    segment s, and ``segment_classes [B, S]``, places in ``stuff`` and then ``things`` (:func:`jaxseg.ops
    .merge_segments`); and of the batch ``index``, ``original`` and ``matrix`` (:func:`jaxseg.data.eval_batches`), by
    which each original pixel finds the one that it became. ``compute``: see :func:`panoptic_quality`.

    Args:
        truth: of an image's place in the source: ``functools.partial(jaxseg.data.panoptic_truth, source)``.
    """
    count = len(stuff) + len(things)

    def update(state: dict[int, np.ndarray], predictions: Predictions, batch: Batch) -> dict[int, np.ndarray]:
        counts = {}
        for row, place in enumerate(np.asarray(batch["index"]).tolist()):
            if place >= 0:
                found = original_panoptic({key: value[row] for key, value in predictions.items()}, _row(batch, row))
                counts[place] = panoptic_counts(found, truth(place), count)
        return state | counts

    def compute(state: dict[int, np.ndarray]) -> dict[str, Any]:
        return panoptic_quality(sum(state.values(), np.zeros((count, 4))), stuff, things)

    return Metric(dict, update, lambda a, b: a | b, compute, on_host=True)


def original_panoptic(predictions: Predictions, row: Batch) -> Panoptic:
    """One image's ``segments`` and ``segment_classes`` in the original image's pixels: each takes that of the pixel in
    which its middle lies."""
    (a, b, tx), (c, d, ty) = np.asarray(row["matrix"], np.float64)
    if b or c:
        raise JaxsegError(f"the batch's matrix {row['matrix']} turns the image; evaluate on upright ones")
    ids = np.asarray(predictions["segments"])
    height, width = (int(v) for v in row["original"])
    y = np.clip(np.floor((np.arange(height) + 0.5) * d + ty).astype(int), 0, ids.shape[0] - 1)
    x = np.clip(np.floor((np.arange(width) + 0.5) * a + tx).astype(int), 0, ids.shape[1] - 1)
    ids = ids[y[:, None], x[None]]
    kinds = np.asarray(predictions["segment_classes"])
    return Panoptic(ids, {int(i): int(kinds[i - 1]) for i in np.unique(ids) if i})


def _row(batch: Batch, row: int) -> Batch:
    return {key: batch[key][row] for key in ("matrix", "original")}


def _known(part: Panoptic) -> np.ndarray:
    """The ids in use, 0 first."""
    ids = np.unique(part.ids)
    ids = ids if ids.size and ids[0] == 0 else np.concatenate([np.zeros(1, ids.dtype), ids])
    unknown = [i for i in ids[1:].tolist() if i not in part.classes]
    if unknown:
        raise JaxsegError(f"segments {unknown[:5]} are in the map and have no class; {list(part.classes)[:5]} have one")
    return ids
