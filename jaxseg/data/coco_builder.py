"""COCO's JSON files as a TFDS data set that keeps the masks, prepared without TensorFlow.

TFDS's own ``coco`` has boxes only, and preparing it needs TensorFlow. This one is made of :class:`jaxseg.data.Coco`::

    from jaxseg.data import Coco
    from jaxseg.data.coco_builder import prepare_coco

    prepare_coco({"train": Coco("train2017", "annotations/instances_train2017.json"),
                  "validation": Coco("val2017", "annotations/instances_val2017.json")}, data_dir)

and read by ``jaxseg.data.coco_instances("train", data_dir=data_dir)``. This module is imported by nothing else: it
imports TFDS.
"""

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxseg.data.coco import Coco
from jaxseg.metrics.rle import to_rle
from jaxseg.types import JaxsegError


class CocoInstances(tfds.core.GeneratorBasedBuilder):
    """``image`` (the files' own bytes), ``image/id``, ``image/filename``, and ``objects``: ``bbox``, ``label``,
    ``is_crowd``, ``id`` (the annotation's), ``area``, and, if all the sources have masks, ``rle``, the mask's run
    lengths as COCO's string. The categories' ids are in the metadata, in the order of the labels."""

    name = "coco_instances"
    pkg_dir_path: Any = None  # else TFDS looks for files beside this one
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, sources: Mapping[str, Coco], **options: Any) -> None:
        self._sources = dict(sources)
        self._masks = all(source.has_masks for source in self._sources.values())
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        first = next(iter(self._sources.values()))
        of_object = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=list(first.things)),
            "is_crowd": np.bool_,
            "id": np.int64,
            "area": np.float32,
        } | ({"rle": tfds.features.Text()} if self._masks else {})
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image/id": np.int64,
            "image/filename": tfds.features.Text(),
            "objects": tfds.features.Sequence(of_object),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(category_ids=list(first.category_ids)),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(source) for split, source in self._sources.items()}

    def _generate_examples(self, source: Coco) -> Iterator[tuple[int, dict[str, Any]]]:
        for entry, annotations, boxes in source.entries():
            path = pathlib.Path(source.images) / entry["file_name"].replace("\\", "/")
            objects = [_object(a, box, entry, source, self._masks) for a, box in zip(annotations, boxes, strict=True)]
            yield (
                entry["id"],
                {
                    "image": os.fspath(path),
                    "image/id": entry["id"],
                    "image/filename": entry["file_name"],
                    "objects": objects,
                },
            )


def prepare_coco(sources: Mapping[str, Coco], data_dir: str | os.PathLike) -> None:
    """Write the sources, by name of split, as the TFDS data set ``coco_instances`` under ``data_dir``: ArrayRecord.

    What :class:`Coco` leaves out or puts right is so here too. Does nothing where the data set is already there.

    Raises:
        JaxsegError: no sources, sources of unlike categories, captions; and what :class:`Coco` refuses.
    """
    categories = {(s.things, s.category_ids) for s in sources.values()}
    if len(categories) != 1 or not next(iter(categories))[0]:
        raise JaxsegError(
            f"prepare_coco: {len(sources)} sources with {len(categories)} lists of categories; give sources of "
            "instances, all with the same categories"
        )
    CocoInstances(sources, data_dir=os.fspath(data_dir), file_format="array_record").download_and_prepare()


def _object(a: dict[str, Any], box: np.ndarray, image: dict[str, Any], source: Coco, masks: bool) -> dict[str, Any]:
    height, width = image["height"], image["width"]
    x1, y1, x2, y2 = (float(v) for v in box)
    where = f"{os.fspath(source.annotations)}: annotation {a['id']}"
    rle = to_rle(a["segmentation"], (height, width), where)["counts"].decode("ascii") if masks else ""
    return {
        "bbox": tfds.features.BBox(ymin=y1 / height, xmin=x1 / width, ymax=y2 / height, xmax=x2 / width),
        "label": source.class_of[a["category_id"]] - 1,
        "is_crowd": bool(a.get("iscrowd", 0)),
        "id": a["id"],
        "area": float(a.get("area", (x2 - x1) * (y2 - y1))),
    } | ({"rle": rle} if masks else {})
