"""Data sets of TensorFlow Datasets, read without TensorFlow.

Reading needs the data set prepared as ArrayRecord, the one TFDS format with random access: ``jaxseg data prepare`` does
so for the sets of ``jaxseg data list``, without TensorFlow; most others need it (``pip install 'jaxseg[prepare]'``) and
are prepared once, anywhere. Functions for known sets are in :mod:`jaxseg.data.tfds_sets`. Images are decoded by
:mod:`jaxseg.data.images`, not by TFDS, whose results depend on which decoder happens to be installed.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from jaxseg.data.coco import from_coco_points, mirrored
from jaxseg.data.cutouts import Cutouts
from jaxseg.data.folder import spread_colors, to_labels
from jaxseg.data.images import MAX_PIXELS, ColorMap, read_image, read_mask
from jaxseg.metrics.rle import decode_rle
from jaxseg.types import JaxsegError

PREPARABLE = (
    *("voc_segmentation", "coco_instances", "coco_keypoints", "coco_captions", "coco_panoptic", "ade20k", "camvid"),
    *("camvid_original", "oxford_iiit_pet"),
)
"""Sets that ``jaxseg data prepare`` knows; its own list would bring in more than reading needs."""


@dataclasses.dataclass(frozen=True)
class Tfds:
    """A source: any prepared TFDS data set with an image and a mask, boxes, or both.

    Args:
        name: as TFDS has it: ``"oxford_iiit_pet"``, ``"name/config"``, ``"name/config:1.2.3"`` (else the
            newest version found); or the folder that holds ``dataset_info.json``.
        split: ``"train"``, ``"train[:80%]"``, ...
        classes: names of the classes, in the order of their indices.
        image_key: the feature that holds the image; ``"a/b"`` looks inside.
        mask_key: the feature that holds the mask, or None.
        boxes_key: the feature that is a sequence of ``bbox`` (TFDS's relative y1, x1, y2, x2) and
            ``label``, or None. It becomes ``instances``: ``boxes`` [N, 4] xyxy in pixels, ``classes`` [N]
            from 1, ``crowd`` [N] bool where the data set has ``is_crowd``, and ``masks``
            (:class:`jaxseg.data.Cutouts`) where it has ``rle``, COCO's strings of run lengths.
        keypoint_names: of the P keypoints that each object has as ``keypoints`` (COCO's numbers): ``keypoints``
            [N, P, 3] of the instances, with ``flip_pairs``.
        captions_key: a sequence of texts, which become ``captions``, a tuple of strings; or None.
        category_key: a class label, which becomes ``category``, int32; or None.
        value_map: class of each value in the mask (every value must be in it; 255 for void).
        data_dir: where TFDS keeps prepared data; by default ``$TFDS_DATA_DIR`` or
            ``~/tensorflow_datasets``.
        max_pixels: refuse larger images.

    A sample holds ``image`` uint8 [H, W, 3], ``label`` [H, W] and ``instances`` as asked for, ``name``, and
    ``image_id`` where the data set has ``image/id``.

    Raises:
        JaxsegError: on first use (so that a trained run is read without its data): not prepared, not as
            ArrayRecord, no such split or feature (those there are named); on reading, a damaged record, or
            labels out of range.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    image_key: str = "image"
    mask_key: str | None = "segmentation_mask"
    boxes_key: str | None = None
    keypoint_names: tuple[str, ...] = ()
    captions_key: str | None = None
    category_key: str | None = None
    value_map: ColorMap | None = dataclasses.field(default=None, hash=False)
    data_dir: str | os.PathLike | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.name.split("/")[0].split(":")[0] == "scene_parse150" and self.mask_key == "annotation":
            raise JaxsegError(
                "scene_parse150: TFDS holds the annotation of its instance task (red = one of 100 object "
                "classes, green = instance), not the map of 150 classes; use Folder(images, masks, classes, "
                "reduce_zero_label=True) on ADEChallengeData2016"
            )

    @functools.cached_property
    def records(self) -> Any:
        """TFDS's records, the image and the mask of each still encoded."""
        keys = self.image_key, self.mask_key, self.boxes_key, self.captions_key, self.category_key
        return open_records(self.name, self.split, [k for k in keys if k], self.data_dir)

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the instance classes, if there are boxes: class k of an instance is ``things[k - 1]``."""
        return self.classes if self.boxes_key else ()

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw labels with."""
        return spread_colors(len(self.classes))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        name = f"{self.name}/{self.split}/{index}"
        image = _value(record, self.image_key)
        if isinstance(image, bytes):
            image = read_image(image, max_pixels=self.max_pixels, name=name)
        sample: dict[str, Any] = {"image": image, "name": name}
        if self.mask_key:
            sample["label"] = self._label(_value(record, self.mask_key), f"{name} ({self.mask_key})")
            if sample["label"].shape != image.shape[:2]:
                raise JaxsegError(
                    f"{name}: the mask is {sample['label'].shape} and its image {image.shape[:2]}; "
                    "leave the record out, or prepare the data set again"
                )
        if self.boxes_key:
            sample["instances"] = self._instances(_value(record, self.boxes_key), image.shape[:2], name)
        if self.captions_key:
            sample["captions"] = tuple(text.decode() for text in _value(record, self.captions_key))
        if self.category_key:
            sample["category"] = np.int32(_value(record, self.category_key))
        return sample | ({"image_id": int(record["image/id"])} if "image/id" in record else {})

    def _label(self, mask: bytes | np.ndarray, name: str) -> np.ndarray:
        if isinstance(mask, bytes):
            indices = read_mask(mask, self.value_map, max_pixels=self.max_pixels, name=name)
        else:
            indices = np.asarray(mask).squeeze(-1) if np.ndim(mask) == 3 else np.asarray(mask)
        return to_labels(indices, len(self.classes), allow_0_255=self.value_map is not None, where=name)

    def _instances(self, objects: Any, size: tuple[int, int], name: str) -> dict[str, Any]:
        listed = as_lists(objects, ("bbox", "label"))
        instances = _instances(listed, size, name)
        if self.keypoint_names:
            points = np.asarray(listed.get("keypoints", ()), np.float32).reshape(-1, len(self.keypoint_names), 3)
            instances |= {"keypoints": from_coco_points(points), "flip_pairs": mirrored(self.keypoint_names)}
        return instances


def open_records(name: str, split: str, keys: Sequence[str], data_dir: str | os.PathLike | None) -> Any:
    """A prepared data set's records; images under ``keys`` stay encoded. Errors as in :class:`Tfds`."""
    import tensorflow_datasets as tfds  # here, so that `import jaxseg.data` stays light

    builder = tfds.builder_from_directory(_prepared_folder(name, data_dir))
    stored = builder.info.file_format
    if stored is None or stored.value != "array_record":
        kind = "unknown" if stored is None else stored.value
        raise JaxsegError(f"{name}: prepared as {kind}, expected array_record; {_how(name)}")
    if split.split("[")[0] not in builder.info.splits:
        there = ", ".join(builder.info.splits)
        raise JaxsegError(f"{name}: no split {split!r}; it has {there}")
    decoders: dict[str, Any] = {}
    for key in keys:
        if isinstance(_feature(builder.info.features, key, name), tfds.features.Image):
            *outer, last = key.split("/")
            inner = functools.reduce(lambda d, k: d.setdefault(k, {}), outer, decoders)
            inner[last] = tfds.decode.SkipDecoding()
    return cast(Any, builder).as_data_source(split, decoders=decoders)


def data_folder(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Where TFDS keeps prepared data: ``data_dir``, or ``$TFDS_DATA_DIR``, or ``~/tensorflow_datasets``."""
    home = os.environ.get("TFDS_DATA_DIR") or pathlib.Path.home() / "tensorflow_datasets"
    return pathlib.Path(data_dir if data_dir is not None else home)


def _prepared_folder(name: str, data_dir: str | os.PathLike | None) -> str:
    """The folder of the newest (or the named) version, found without the data set's own code."""
    if (pathlib.Path(name) / "dataset_info.json").is_file():
        return name
    root = data_folder(data_dir)
    stem, _, version = name.partition(":")
    found = [p.parent for p in (root / stem).glob(f"{version or '*'}/dataset_info.json")]
    if found:
        return str(max(found, key=lambda p: [int(n) if n.isdigit() else 0 for n in p.name.split(".")]))
    configs = sorted({p.parents[1].name for p in (root / stem).glob("*/*/dataset_info.json")})
    if configs:
        raise JaxsegError(f"{name}: name one of its configs, as {stem}/{configs[0]}; prepared are {configs}")
    raise JaxsegError(f"{name}: not prepared under {root}; {_how(name)}")


def _how(name: str) -> str:
    """The mend for a data set that is not there, or not in a form that can be read."""
    if name.split(":")[0] in PREPARABLE:
        return f"prepare it once: jaxseg data prepare {name.split(':')[0]} --data-dir DIR, and give data_dir=DIR"
    return (
        "prepare it once: pip install 'jaxseg[prepare]', then "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', file_format='array_record', data_dir=DIR).download_and_prepare()\", "
        "and give data_dir=DIR"
    )


def _feature(features: Any, key: str, name: str) -> Any:
    """The feature at a key such as ``"a/b"``."""
    for part in key.split("/"):
        if not hasattr(features, "keys") or part not in features:
            there = ", ".join(features) if hasattr(features, "keys") else "nothing"
            raise JaxsegError(f"{name}: no feature {key!r}; it has {there}")
        features = features[part]
    return features


def _value(record: dict[str, Any], key: str) -> Any:
    return functools.reduce(lambda inner, part: inner[part], key.split("/"), record)


def as_lists(objects: Any, keys: Sequence[str]) -> dict[str, Any]:
    """TFDS's sequence of objects (a dict of lists, or a list of dicts; empty ones have lost their shape) by key."""
    if isinstance(objects, dict):
        return objects
    keys = list(objects[0]) if objects else keys
    return {k: [o[k] for o in objects] for k in keys}


def _instances(objects: dict[str, Any], size: tuple[int, int], name: str) -> dict[str, Any]:
    y1, x1, y2, x2 = np.asarray(objects["bbox"], np.float32).reshape(-1, 4).T
    height, width = size
    out: dict[str, Any] = {
        "boxes": np.stack([x1 * width, y1 * height, x2 * width, y2 * height], axis=1).astype(np.float32),
        "classes": np.asarray(objects["label"], np.int32).reshape(-1) + 1,
    }
    if "is_crowd" in objects:
        out["crowd"] = np.asarray(objects["is_crowd"], bool).reshape(-1)
    if "rle" in objects:
        pairs = [decode_rle({"size": size, "counts": bytes(counts)}, name) for counts in objects["rle"]]
        corners = np.array([corner for _, corner in pairs], np.int32).reshape(-1, 2)
        out["masks"] = Cutouts(size, corners, [bitmap for bitmap, _ in pairs])
    return out
