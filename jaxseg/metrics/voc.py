"""PASCAL VOC's average precision."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from jaxseg.metrics.coco import class_names
from jaxseg.metrics.confusion import mean_or_nan
from jaxseg.metrics.detections import State, Truth, coco_results, detection_metric
from jaxseg.metrics.precision import average_precision, box_iou
from jaxseg.types import JaxsegError, Metric


def voc_metric(
    truth: Callable[[], Truth], *, overlap: float = 0.5, points: Literal[11, "all"] = "all", name: str = "voc_ap"
) -> Metric:
    """Average precision of boxes as VOC's devkit computes it.

    Detections of a class are taken by falling score. One is right if its IoU with the object of that class and image
    that it overlaps most is at least ``overlap`` and none before it found that object; if that object is difficult
    (or a crowd) it counts for nothing; else it is wrong. ``points="all"``, from 2010 on: the area under precision made
    falling, ``sum_n (R_n - R_(n-1)) max_(m >= n) P_m``. ``points=11``, 2007: the mean over recall 0, 0.1, ... 1 of the
    best precision at that recall or more.

    It runs on the host and reads what :func:`jaxseg.metrics.coco_metric` reads for boxes. Difficult objects are those
    whose annotation in the truth has ``difficult`` 1 (:class:`jaxseg.data.Voc`, or ``difficult`` [N] in the instances
    of your own source). ``compute`` gives ``voc_ap``, the mean over classes, and ``voc_ap_of`` by class name, without
    the classes that have no object to find; the mean over nothing is NaN. ``name`` changes both names.

    Everingham et al. 2010, "The PASCAL visual object classes challenge", section 4.2.
    """
    if points not in (11, "all"):
        raise JaxsegError(f"points is {points!r}; it can be 11 (VOC 2007) or 'all' (2010 and later)")

    def compute(truth: Truth, state: State) -> dict[str, Any]:
        results, seen = coco_results(state), {truth.image_ids[place] for place in state}
        of = {}
        for number, class_name in class_names(truth).items():
            objects = [a for a in truth.coco["annotations"] if a["category_id"] == number and a["image_id"] in seen]
            found = [r for r in results if r["category_id"] == number]
            value = _class_ap(objects, found, overlap, points)
            if value is not None:
                of[class_name] = value
        return {name: mean_or_nan(np.array(list(of.values()))), f"{name}_of": of}

    return detection_metric(truth, compute)


def _class_ap(objects: list[Any], found: list[Any], overlap: float, points: Literal[11, "all"]) -> float | None:
    """AP of one class; None where it has no object to find."""
    of_image: dict[int, list[int]] = {}
    for n, a in enumerate(objects):
        of_image.setdefault(a["image_id"], []).append(n)
    boxes = _corners([a["bbox"] for a in objects])
    ignored = np.array([bool(a.get("difficult", 0)) or bool(a.get("iscrowd", 0)) for a in objects], bool)
    count = int((~ignored).sum())
    if not count:
        return None
    taken = np.zeros(len(objects), bool)
    right, wrong = np.zeros(len(found), bool), np.zeros(len(found), bool)
    order = np.argsort([-r["score"] for r in found], kind="stable")
    for d, r in enumerate(found[n] for n in order):
        rows = of_image.get(r["image_id"], [])
        iou = box_iou(_corners([r["bbox"]]), boxes[rows])[0] if rows else np.zeros(1)
        if iou.max() < overlap:
            wrong[d] = True
        elif not ignored[best := rows[int(iou.argmax())]]:
            right[d], wrong[d] = not taken[best], taken[best]
            taken[best] = True
    return average_precision(right, wrong, count, points)


def _corners(boxes: list[Any]) -> np.ndarray:
    """Boxes xywh as [N, 4] xyxy."""
    xywh = np.array(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
