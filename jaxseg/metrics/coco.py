"""COCO's average precision, computed by pycocotools (imported when first needed)."""

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from jaxseg.metrics.detections import State, Truth, coco_results, detection_metric
from jaxseg.types import JaxsegError, Metric

Kind = Literal["box", "mask", "keypoint"]
_TYPES: dict[str, Any] = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}

COCO_PERSON_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""How far apart people mark each of COCO's 17 keypoints, as a share of the object's size."""


def coco_metric(
    truth: Callable[[], Truth],
    kinds: Sequence[Kind] = ("box", "mask"),
    *,
    max_detections: int = 100,
    any_class: bool = False,
    sigmas: Sequence[float] = COCO_PERSON_SIGMAS,
) -> Metric:
    """Average precision and recall as the COCO benchmark has them, of boxes, masks and keypoints.

    It runs on the host. ``update`` reads ``predictions``, of a fixed number D an image: ``boxes`` [B, D, 4] float32
    xyxy in pixels of the network's input, ``scores`` [B, D], ``classes`` [B, D] int32 from 1, ``valid`` [B, D] bool,
    for masks ``masks`` [B, D, M, M] float32, probabilities within the box, for keypoints ``keypoints`` [B, D, P, 3];
    and of the batch ``index``, ``original`` and ``matrix`` (:func:`jaxseg.data.eval_batches`), by which boxes go back
    to the original image, where they are clipped and the masks pasted (:func:`jaxseg.metrics.paste_mask`).

    ``compute`` judges the images that were seen, all others of the truth being left out, and gives for each kind, after
    ``box_``, ``mask_`` or ``keypoint_``: ``ap`` (mean over IoU 0.50, 0.55, ... 0.95), ``ap50``, ``ap75``, ``ap_small``,
    ``ap_medium``, ``ap_large`` (area below 32^2, up to 96^2, above: of the mask if masks are judged); ``ar1``,
    ``ar10``, ``ar100``, ``ar_small``, ``ar_medium``, ``ar_large``, recall with so many detections an image and class;
    and ``ap_of``, AP by class name, without the classes that the truth does not show. A mean over nothing is NaN
    (pycocotools: -1). Keypoints are compared by object keypoint similarity in place of IoU, ``OKS = mean exp(-d^2 / (2
    s^2 (2 sigma)^2))`` over those that are labelled, d the distance and s^2 the object's area; 20 detections an image,
    no small objects.

    Args:
        truth: gives the truth when it is first needed: ``source.truth``, or ``partial(coco_truth, source)``.
        kinds: what to judge.
        max_detections: most detections an image and class; with another number than 100, ``ar100`` is named by it.
        sigmas: P numbers, a keypoint's each, for keypoints; by default COCO's of people.
        any_class: whatever its class, a detection may be any object (pycocotools' ``useCats`` 0): for proposals. There
            is no ``ap_of`` then.

    Raises:
        JaxsegError: unknown kinds; in ``update``, predictions or batches that lack something, valid ones that are not
            finite or of no known class.

    Lin et al. 2014, "Microsoft COCO", and https://cocodataset.org/#detection-eval.
    """
    if not kinds or set(kinds) - set(_TYPES) or isinstance(kinds, str):
        raise JaxsegError(f"kinds is {kinds!r}; expected a tuple of 'box', 'mask' and 'keypoint'")
    if max_detections < 1:
        raise JaxsegError(f"max_detections is {max_detections}; it must be at least 1")

    def compute(truth: Truth, state: State) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        for kind in kinds:
            most = 20 if kind == "keypoint" else max_detections
            found = _scores(_accumulated(truth, state, kind, most, any_class, tuple(sigmas)), truth)
            scores |= {f"{kind}_{name}": value for name, value in found.items()}
        return scores

    return detection_metric(truth, compute, extras=[f"{kind}s" for kind in kinds if kind != "box"])


def _accumulated(
    truth: Truth, state: State, kind: Kind, max_detections: int, any_class: bool, sigmas: tuple[float, ...]
) -> Any:
    """pycocotools' evaluation of the images in ``state``, silent."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        image_ids = {truth.image_ids[place] for place in state}
        # Copies of the entries: pycocotools writes into them, and takes the id 0 for "not found".
        wanted = [
            {"iscrowd": 0, "area": a["bbox"][2] * a["bbox"][3], **a, "id": number}
            for number, a in enumerate(truth.coco["annotations"], start=1)
            if a["image_id"] in image_ids
        ]
        found = _detections(state, kind)
        evaluation: Any = COCOeval(_indexed(truth, wanted), _indexed(truth, found), iouType=_TYPES[kind])
        evaluation.params.imgIds = [truth.image_ids[place] for place in sorted(state)]
        evaluation.params.useCats = int(not any_class)
        evaluation.params.maxDets = sorted({min(n, max_detections) for n in (1, 10, max_detections)})
        if kind == "keypoint":
            _check_keypoints(wanted, found, sigmas)
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _detections(state: State, kind: Kind) -> list[dict[str, Any]]:
    """Results as pycocotools' ``loadRes`` prepares them, but that a mask's area is its own, not its box's. Keypoints'
    is that of the smallest box that holds them."""
    from pycocotools import mask as coco_mask

    found = []
    for number, entry in enumerate(coco_results(state), start=1):
        area = coco_mask.area(entry["segmentation"]) if kind == "mask" else entry["bbox"][2] * entry["bbox"][3]
        if kind == "keypoint":
            area = np.prod(np.ptp(np.reshape(entry["keypoints"], (-1, 3))[:, :2], axis=0))
        found.append({**entry, "id": number, "area": float(area), "iscrowd": 0})
    return found


def _check_keypoints(wanted: list[dict[str, Any]], found: list[dict[str, Any]], sigmas: tuple[float, ...]) -> None:
    """All of one number; and ``num_keypoints``, which pycocotools wants, in the truth."""
    for entry in (*wanted, *found):
        points = entry.get("keypoints")
        if points is None or len(points) != 3 * len(sigmas):
            raise JaxsegError(
                f"image {entry['image_id']} has an object with {len(points or ()) // 3} keypoints, and there are "
                f"{len(sigmas)} sigmas; give coco_metric one sigma a keypoint"
            )
    for entry in wanted:
        entry.setdefault("num_keypoints", int(np.count_nonzero(np.asarray(entry["keypoints"])[2::3])))


def _indexed(truth: Truth, annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    api: Any = COCO()
    api.dataset = {**truth.coco, "annotations": annotations}
    api.createIndex()
    return api


def _scores(evaluation: Any, truth: Truth) -> dict[str, Any]:
    """The twelve numbers of ``COCOeval.summarize``, which knows no other ``maxDets`` than 1, 10 and 100, and AP by
    class."""
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]  # [T, R, K, A, M], [T, K, A, M]
    thresholds, most = np.round(evaluation.params.iouThrs, 2).tolist(), evaluation.params.maxDets
    sizes = {name: a for a, name in enumerate(evaluation.params.areaRngLbl)}
    found = {
        "ap": _mean(precision[..., 0, -1]),
        "ap50": _mean(precision[thresholds.index(0.5), ..., 0, -1]),
        "ap75": _mean(precision[thresholds.index(0.75), ..., 0, -1]),
    }
    named = [name for name in ("small", "medium", "large") if name in sizes]  # keypoints know no small ones
    found |= {f"ap_{name}": _mean(precision[..., sizes[name], -1]) for name in named}
    found |= {f"ar{count}": _mean(recall[..., 0, m]) for m, count in enumerate(most)}
    found |= {f"ar_{name}": _mean(recall[..., sizes[name], -1]) for name in named}
    if not evaluation.params.useCats:
        return found
    by_class = {
        name: _mean(precision[:, :, evaluation.params.catIds.index(i), 0, -1]) for i, name in class_names(truth).items()
    }
    return found | {"ap_of": {name: ap for name, ap in by_class.items() if not np.isnan(ap)}}


def _mean(values: np.ndarray) -> float:
    """Over what is not -1, pycocotools' word for nothing to find."""
    there = values[values > -1]
    return float(there.mean()) if there.size else float("nan")


def class_names(truth: Truth) -> dict[int, str]:
    """Name of each category id, in the order of classes; one that comes twice is followed by its id."""
    of = {category["id"]: category["name"] for category in truth.coco["categories"]}
    names = [of[i] for i in truth.category_ids]
    return {i: f"{name} {i}" if names.count(name) > 1 else name for i, name in zip(truth.category_ids, names)}
