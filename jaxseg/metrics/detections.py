"""Detections of a data set, kept on the host in the pixels of the original images: what AP is computed from."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.metrics.paste import paste_mask
from jaxseg.metrics.rle import encode_rle
from jaxseg.types import Batch, JaxsegError, Metric, Predictions

State = dict[int, tuple[dict[str, Any], ...]]
"""Of each image that was seen, by its place in the source: its detections as entries of COCO's results JSON."""


class Truth(NamedTuple):
    """What is judged by: ``coco``, a COCO dictionary; ``image_ids``, its id of each image by place in the source;
    ``category_ids``, its id of each class: class k, from 1, is ``category_ids[k - 1]``."""

    coco: dict[str, Any]
    image_ids: tuple[int, ...]
    category_ids: tuple[int, ...]


def detection_metric(
    truth: Callable[[], Truth], compute: Callable[[Truth, State], dict[str, Any]], *, extras: Sequence[str] = ()
) -> Metric:
    """A metric on the host that keeps every detection and hands them to ``compute(truth, state)``.

    ``truth`` is called once, when first needed. ``extras``: what it keeps beside boxes, "masks" and "keypoints". What
    ``update`` reads is told in :func:`jaxseg.metrics.coco_metric`.
    """
    known = functools.cache(truth)

    def update(state: State, predictions: Predictions, batch: Batch) -> State:
        return state | _collect(predictions, batch, Truth(*known()), extras)

    return Metric(dict, update, lambda a, b: a | b, lambda state: compute(Truth(*known()), state), on_host=True)


def coco_results(state: State) -> list[dict[str, Any]]:
    """The state of a detection metric as COCO's results: write it with ``json.dump``.

    Entries have ``image_id`` and ``category_id`` as in the truth, ``bbox`` (xywh, rounded to 4 decimals), ``score``
    and, if the metric keeps such, ``segmentation`` and ``keypoints`` (x, y and 1 of each, the first pixel's middle at
    0); image by image, in the order of the source.
    """
    return [entry for place in sorted(state) for entry in state[place]]


def original_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes [D, 4] of the network's input in pixels of the original image, float64, not clipped.

    ``matrix`` [2, 3] takes original pixels to the network's. Raises JaxsegError where it turns or shears.
    """
    (a, b, tx), (c, d, ty) = np.asarray(matrix, np.float64)
    if b or c or not a or not d:
        raise JaxsegError(f"the batch's matrix {np.asarray(matrix).tolist()} turns the image; evaluate on upright ones")
    corners = (np.asarray(boxes, np.float64).reshape(-1, 2, 2) - (tx, ty)) / (a, d)
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def original_keypoints(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Keypoints [..., P, 3] of the network's input in pixels of the original image, float64; as
    :func:`original_boxes`."""
    scale, shift = np.diag(matrix[:, :2]), matrix[:, 2]
    at = (np.asarray(points[..., :2], np.float64) - shift) / scale
    return np.concatenate([at, np.asarray(points[..., 2:], np.float64)], axis=-1)


def coco_keypoints(points: np.ndarray) -> list[float]:
    """Keypoints [P, 3] in pixels as COCO writes them, the first pixel's middle at 0."""
    return (points - (0.5, 0.5, 0)).round(4).ravel().tolist()


def _collect(predictions: Predictions, batch: Batch, truth: Truth, extras: Sequence[str]) -> State:
    """The detections of a batch; filling rows (``index`` -1) are passed over."""
    _check(predictions, batch, extras)
    found: State = {}
    for row, place in enumerate(np.asarray(batch["index"]).tolist()):
        if place < 0:
            continue
        chosen = np.flatnonzero(np.asarray(predictions["valid"][row]))
        part = {key: np.asarray(predictions[key][row])[chosen] for key in ("boxes", "scores", "classes", *extras)}
        height, width = (int(v) for v in batch["original"][row])
        found[place] = tuple(_entries(part, np.asarray(batch["matrix"][row]), (height, width), truth, place))
    return found


def _entries(
    part: dict[str, np.ndarray], matrix: np.ndarray, size: tuple[int, int], truth: Truth, place: int
) -> list[dict[str, Any]]:
    """The detections of one image as COCO's entries. Those of which nothing lies in the image are left out."""
    ids = truth.category_ids
    if not all(np.isfinite(part[key]).all() for key in ("boxes", "scores")):
        raise JaxsegError(f"image {truth.image_ids[place]}: valid detections that are not finite; look at the model")
    if not ((part["classes"] >= 1) & (part["classes"] <= len(ids))).all():
        raise JaxsegError(
            f"image {truth.image_ids[place]}: classes from {part['classes'].min()} to {part['classes'].max()}; "
            f"expected 1 to {len(ids)} (0 is background and no detection)"
        )
    boxes = original_boxes(part["boxes"], matrix)
    clipped = np.clip(boxes, 0, [size[1], size[0]] * 2)
    entries = []
    for n in np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(1)):
        x1, y1, x2, y2 = clipped[n]
        entry: dict[str, Any] = {
            "image_id": truth.image_ids[place],
            "category_id": ids[int(part["classes"][n]) - 1],
            "bbox": [round(float(v), 4) for v in (x1, y1, x2 - x1, y2 - y1)],
            "score": float(part["scores"][n]),
        }
        if "masks" in part:
            seen = part["masks"][n][:: 1 if matrix[1, 1] > 0 else -1, :: 1 if matrix[0, 0] > 0 else -1]
            entry["segmentation"] = encode_rle(*paste_mask(seen, boxes[n], size), size)
        if "keypoints" in part:
            entry["keypoints"] = coco_keypoints(original_keypoints(part["keypoints"][n], matrix))
        entries.append(entry)
    return entries


def _check(predictions: Predictions, batch: Batch, extras: Sequence[str]) -> None:
    wanted = {"boxes": 3, "scores": 2, "classes": 2, "valid": 2} | dict.fromkeys(extras, 4)
    for key, rank in wanted.items():
        if key not in predictions or np.ndim(predictions[key]) != rank:
            shape = list(np.shape(predictions[key])) if key in predictions else "missing"
            raise JaxsegError(
                f"predictions['{key}'] is {shape}; expected boxes [B, D, 4], scores, classes and valid [B, D]"
                + (", masks [B, D, M, M]" if "masks" in extras else "")
                + (", keypoints [B, D, P, 3]" if "keypoints" in extras else "")
                + (": for a metric of boxes alone, choose kinds=('box',)" if extras else "")
            )
    for key in ("index", "original", "matrix"):
        if key not in batch:
            raise JaxsegError(f"the batch has no {key}; take it from eval_batches, with a transform such as Resize")
