"""COCO's JSON files as TFDS data sets that keep masks, keypoints, captions or panoptic segments, without TensorFlow.

TFDS's own ``coco`` has boxes only, and preparing it needs TensorFlow. ``jaxseg data prepare coco_instances`` fetches
and writes the published ones; of your own files in COCO's format::

    from jaxseg.data import Coco
    from jaxseg.data.coco_builder import prepare_coco

    prepare_coco({"train": Coco("train2017", "annotations/instances_train2017.json"),
                  "validation": Coco("val2017", "annotations/instances_val2017.json")}, data_dir)

and read by ``jaxseg.data.coco_instances("train", data_dir=data_dir)``. This module is imported by nothing that
``import jaxseg.data`` imports: it imports TFDS.
"""

import os
import pathlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxseg.data.coco import Coco
from jaxseg.data.panoptic import CocoPanoptic
from jaxseg.data.prepare.writing import Contents, locked, prepared_splits, write
from jaxseg.metrics.rle import to_rle
from jaxseg.types import JaxsegError

VERSION = "1.0.0"
_IMAGE = {
    "image": tfds.features.Image(shape=(None, None, 3)),
    "image/id": np.int64,
    "image/filename": tfds.features.Text(),
}


def prepare_coco(
    sources: Mapping[str, Coco], data_dir: str | os.PathLike, *, name: str = "coco_instances", masks: bool | None = None
) -> None:
    """Write the sources, by name of split, as the TFDS data set ``name`` under ``data_dir``: ArrayRecord.

    What :class:`Coco` leaves out or puts right is so here too. Splits that are there already stay as they are.

    Raises:
        JaxsegError: no sources, sources of unlike categories, captions; and what :class:`Coco` refuses.
    """
    categories = {(s.things, s.category_ids) for s in sources.values()}
    if len(categories) != 1 or not next(iter(categories))[0]:
        raise JaxsegError(
            f"prepare_coco: {len(sources)} sources with {len(categories)} lists of categories; give sources of "
            "instances, all with the same categories"
        )
    alike = all(source.has_masks for source in sources.values()) if masks is None else masks
    folder = pathlib.Path(data_dir)
    with locked(folder, name):
        for split, source in sources.items():
            if split not in prepared_splits(folder / name / VERSION):
                write(name, VERSION, split, instance_contents(source, alike), folder)


def instance_contents(source: Coco, masks: bool | None = None) -> Contents:
    """``image`` (the file's own bytes), ``image/id``, ``image/filename``, and ``objects``: ``bbox``, ``label``,
    ``is_crowd``, ``id`` (the annotation's), ``area``; ``rle``, the mask's run lengths as COCO's string, if there are
    ``masks`` (by default: if the source has); ``keypoints``, as COCO has them, if its categories do. The categories'
    ids are in the metadata, in the order of the labels."""
    masks = source.has_masks if masks is None else masks
    of_object: dict[str, Any] = {
        "bbox": tfds.features.BBoxFeature(),
        "label": tfds.features.ClassLabel(names=list(source.things)),
        "is_crowd": np.bool_,
        "id": np.int64,
        "area": np.float32,
    } | ({"rle": tfds.features.Text()} if masks else {})
    metadata: dict[str, Any] = {"category_ids": list(source.category_ids)}
    if source.keypoint_names:
        shape = (3 * len(source.keypoint_names),)
        of_object["keypoints"] = tfds.features.Tensor(shape=shape, dtype=np.float32)
        metadata["keypoint_names"] = list(source.keypoint_names)
    entries = {entry[0]["id"]: entry for entry in source.entries()}
    features = _IMAGE | {"objects": tfds.features.Sequence(of_object)}
    return Contents(features, list(entries), partial(_instances, source, entries, masks), metadata)


def caption_contents(source: Coco) -> Contents:
    """As for instances, with ``captions``, a sequence of texts, in place of objects."""
    entries = {entry[0]["id"]: entry for entry in source.entries()}

    def make(number: int) -> dict[str, Any]:
        image, annotations, _ = entries[number]
        return _image(image, source.images) | {"captions": [a["caption"] for a in annotations]}

    return Contents(_IMAGE | {"captions": tfds.features.Sequence(tfds.features.Text())}, list(entries), make)


def panoptic_contents(source: CocoPanoptic) -> Contents:
    """As for instances, with the PNG of ids as ``panoptic_image``, and ``panoptic_objects``: ``id``, ``area``,
    ``label`` and ``is_crowd``. Labels are as in TFDS's own ``coco/2017_panoptic``: things by their ids, then stuff."""
    names = [*source.things, *source.stuff]
    ids = source.category_ids[len(source.stuff) :] + source.category_ids[: len(source.stuff)]
    label_of = {number: k for k, number in enumerate(ids)}
    of_segment = {
        "id": np.int64,
        "area": np.float32,
        "label": tfds.features.ClassLabel(names=names),
        "is_crowd": np.bool_,
    }
    features = _IMAGE | {
        "panoptic_image": tfds.features.Image(shape=(None, None, 3)),
        "panoptic_objects": tfds.features.Sequence(of_segment),
    }

    def make(place: int) -> dict[str, Any]:
        image, entry = source.entry(place)
        segments = [
            {
                "id": s["id"],
                "area": float(s.get("area", 0)),
                "label": label_of[s["category_id"]],
                "is_crowd": bool(s.get("iscrowd", 0)),
            }
            for s in entry["segments_info"]
        ]
        png = pathlib.Path(source.segments, entry["file_name"]).read_bytes()
        return _image(image, source.images) | {"panoptic_image": png, "panoptic_objects": segments}

    return Contents(features, range(len(source)), make, {"category_ids": list(ids)})


def _image(entry: dict[str, Any], folder: str | os.PathLike) -> dict[str, Any]:
    path = pathlib.Path(folder) / entry["file_name"].replace("\\", "/")
    return {"image": path.read_bytes(), "image/id": entry["id"], "image/filename": entry["file_name"]}


def _instances(source: Coco, entries: dict[int, Any], masks: bool, number: int) -> dict[str, Any]:
    entry, annotations, boxes = entries[number]
    objects = [_object(a, box, entry, source, masks) for a, box in zip(annotations, boxes, strict=True)]
    return _image(entry, source.images) | {"objects": objects}


def _object(a: dict[str, Any], box: np.ndarray, image: dict[str, Any], source: Coco, masks: bool) -> dict[str, Any]:
    height, width = image["height"], image["width"]
    x1, y1, x2, y2 = (float(v) for v in box)
    where = f"{os.fspath(source.annotations)}: annotation {a['id']}"
    out: dict[str, Any] = {
        "bbox": tfds.features.BBox(ymin=y1 / height, xmin=x1 / width, ymax=y2 / height, xmax=x2 / width),
        "label": source.class_of[a["category_id"]] - 1,
        "is_crowd": bool(a.get("iscrowd", 0)),
        "id": a["id"],
        "area": float(a.get("area", (x2 - x1) * (y2 - y1))),
    }
    if masks:
        out["rle"] = to_rle(a["segmentation"], (height, width), where)["counts"].decode("ascii")
    if source.keypoint_names:
        out["keypoints"] = source.points_of(a).ravel()
    return out
