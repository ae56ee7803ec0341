"""Panoptic segmentations as samples: COCO's format, read and written, and a background for any set of instances.

A panoptic source has ``stuff`` and ``things``, names; its samples have ``label`` [H, W], places in ``classes``, which
are stuff and then things, and ``instances`` with masks that do not overlap.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxseg.data.cutouts import Cutouts, cut_out
from jaxseg.data.folder import spread_colors
from jaxseg.data.images import read_image, write_png
from jaxseg.metrics.panoptic import Panoptic
from jaxseg.types import VOID, JaxsegError


class StuffAndThings:
    """What follows of the names of ``stuff`` and ``things``."""

    stuff: Any
    things: Any

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, stuff first."""
        return self.stuff + self.things

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw labels with."""
        return spread_colors(len(self.classes))


@dataclasses.dataclass(frozen=True)
class CocoPanoptic(StuffAndThings):
    """A source of COCO's panoptic format: a JSON, PNGs whose colours are ids (``R + 256 G + 256^2 B``, 0 unknown), and
    the images.

    ``source[i]`` gives ``image`` uint8 [H, W, 3], ``label`` uint8 [H, W] (``VOID`` where nothing is known), ``name``,
    ``image_id`` and ``instances``: ``boxes``, tight around the masks, ``classes`` from 1, ``crowd`` and ``masks``
    (:class:`jaxseg.data.Cutouts`).

    Args:
        images, segments: the folders that the file names of pictures and of PNGs are relative to.
        annotations: ``panoptic_*.json``.

    Raises:
        JaxsegError: no such JSON; a segment of no known category; ids in a PNG that the JSON lacks; a PNG of another
            size than its image. Each names the file.

    Kirillov et al. 2019; https://cocodataset.org/#format-data.
    """

    images: str | os.PathLike
    segments: str | os.PathLike
    annotations: str | os.PathLike

    @functools.cached_property
    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(pathlib.Path(self.annotations).read_text(encoding="utf-8-sig"))
            parts = [content[key] for key in ("images", "annotations", "categories")]
            known = {c["id"] for c in parts[2] if "isthing" in c and "name" in c}
            used = {s["category_id"] for a in parts[1] for s in a["segments_info"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JaxsegError(
                f"{os.fspath(self.annotations)}: {type(error).__name__}: {error}; expected COCO's panoptic JSON: "
                "images, annotations with segments_info, and categories with id, name and isthing"
            ) from error
        if used - known:
            raise JaxsegError(
                f"{os.fspath(self.annotations)}: segments of categories {sorted(used - known)[:5]}, not listed"
            )
        return content

    def _categories(self, things: bool) -> list[dict[str, Any]]:
        return sorted((c for c in self._content["categories"] if bool(c["isthing"]) is things), key=lambda c: c["id"])

    @property
    def stuff(self) -> tuple[str, ...]:
        """Names of the classes that are no things, by category id."""
        return tuple(c["name"] for c in self._categories(False))

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the instance classes: class k is ``things[k - 1]``."""
        return tuple(c["name"] for c in self._categories(True))

    @functools.cached_property
    def category_ids(self) -> tuple[int, ...]:
        """COCO's id of each of ``classes``."""
        return tuple(c["id"] for which in (False, True) for c in self._categories(which))

    @functools.cached_property
    def _entries(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        images = {image["id"]: image for image in self._content["images"]}
        return [(images[a["image_id"]], a) for a in self._content["annotations"]]

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The JSON's entries of one image and of its segments."""
        return self._entries[index]

    def panoptic(self, index: int) -> Panoptic:
        """The truth of one image, without reading the image."""
        _, entry = self._entries[index]
        path = pathlib.Path(self.segments) / entry["file_name"]
        ids = ids_of_colours(read_image(path, exif=False))
        class_of = {number: k for k, number in enumerate(self.category_ids)}
        classes = {s["id"]: class_of[s["category_id"]] for s in entry["segments_info"]}
        surplus = sorted(set(np.unique(ids).tolist()) - {0} - set(classes))
        if surplus:
            raise JaxsegError(f"{path}: has segments {surplus[:5]} that {os.fspath(self.annotations)} does not list")
        return Panoptic(ids, classes, frozenset(s["id"] for s in entry["segments_info"] if s.get("iscrowd")))

    def __getitem__(self, index: int) -> dict[str, Any]:
        about, _ = self._entries[index]
        path = pathlib.Path(self.images) / about["file_name"]
        image, truth = read_image(path), self.panoptic(index)
        if image.shape[:2] != truth.ids.shape:
            raise JaxsegError(
                f"{path}: {image.shape[:2]} pixels, its panoptic PNG {truth.ids.shape}; give those of one set"
            )
        return {"image": image, "name": str(path), "image_id": about["id"], **annotations_of(truth, len(self.stuff))}


def annotations_of(truth: Panoptic, num_stuff: int) -> dict[str, Any]:
    """A sample's ``label`` and ``instances`` of its segments; a crowd's pixels are ``VOID`` in the label."""
    label = np.full(truth.ids.shape, VOID, np.uint8)
    things, masks = [], []
    for number, kind in truth.classes.items():
        mask = truth.ids == number
        if number not in truth.crowd:
            label[mask] = kind
        if kind >= num_stuff and mask.any():
            things.append((kind - num_stuff + 1, number in truth.crowd))
            masks.append(mask)
    cutouts = cut_out(np.array(masks).reshape(-1, *label.shape))
    instances = {
        "boxes": cutouts.boxes(),
        "classes": np.array([kind for kind, _ in things], np.int32),
        "crowd": np.array([crowd for _, crowd in things], bool),
        "masks": cutouts,
    }
    return {"label": label, "instances": instances}


def panoptic_truth(source: Any, index: int) -> Panoptic:
    """The truth of one image of a panoptic source: its own ``panoptic(index)`` where it has that, else made of the
    sample's label and masks, later ones over earlier ones. What is labelled a thing and is no instance is unknown.
    """
    if hasattr(source, "panoptic"):
        return source.panoptic(index)
    sample, count = source[index], len(source.stuff)
    label = sample["label"].astype(np.int32)
    ids = np.where(label < count, label + 1, 0).astype(np.int32)
    classes = {k + 1: k for k in range(count)}
    instances = sample["instances"]
    for n, kind in enumerate(instances["classes"]):
        ids[instances["masks"][n]] = count + 1 + n
        classes[count + 1 + n] = count - 1 + int(kind)
    crowd = np.flatnonzero(instances["crowd"]) if "crowd" in instances else ()
    return Panoptic(ids, classes, frozenset(count + 1 + int(n) for n in crowd))


@dataclasses.dataclass(frozen=True)
class WithBackground(StuffAndThings):
    """A source of instances as a panoptic one: what is no thing is of one class of stuff, ``background``."""

    source: Any
    stuff: tuple[str, ...] = ("background",)

    @property
    def things(self) -> tuple[str, ...]:
        """The source's."""
        return tuple(self.source.things)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index]
        label = np.zeros(sample["image"].shape[:2], np.uint8)
        instances = sample["instances"]
        masks: Cutouts = cut_out(instances["masks"])
        for (x, y), bitmap, kind in zip(masks.corners, masks.bitmaps, instances["classes"], strict=True):
            label[y : y + bitmap.shape[0], x : x + bitmap.shape[1]][bitmap] = kind
        return {**sample, "label": label}


def write_coco_panoptic(
    file: str | os.PathLike,
    folder: str | os.PathLike,
    found: Iterable[tuple[str, int, Panoptic]],
    *,
    stuff: Sequence[str],
    things: Sequence[str],
    category_ids: Sequence[int] | None = None,
) -> None:
    """Segmentations in COCO's panoptic format: a PNG each in ``folder``, as they come, and in the end the JSON
    ``file``.

    Args:
        found: of each image its file's name, its id and its segments.
        category_ids: COCO's ids of stuff and then things; by default from 1 on.
    """
    names = (*stuff, *things)
    numbers = category_ids or range(1, len(names) + 1)
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [
        {"id": i, "name": n, "isthing": int(k >= len(stuff))}
        for k, (i, n) in enumerate(zip(numbers, names, strict=True))
    ]
    for name, image_id, part in found:
        png = f"{pathlib.PurePath(name).stem}.png"
        height, width = part.ids.shape
        write_png(pathlib.Path(folder, png), colours_of_ids(part.ids))
        content["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
        content["annotations"].append(
            {"image_id": image_id, "file_name": png, "segments_info": segments_info(part, numbers)}
        )
    pathlib.Path(file).write_text(json.dumps(content))


def segments_info(part: Panoptic, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """COCO's entries of the segments that have pixels."""
    entries = []
    for number, kind in part.classes.items():
        rows, columns = np.nonzero(part.ids == number)
        if not len(rows):
            continue
        x, y = int(columns.min()), int(rows.min())
        entries.append(
            {
                "id": number,
                "category_id": category_ids[kind],
                "area": len(rows),
                "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                "iscrowd": int(number in part.crowd),
            }
        )
    return entries


def colours_of_ids(ids: np.ndarray) -> np.ndarray:
    """``[H, W]`` ids below 256^3 -> ``[H, W, 3]`` uint8: ``R + 256 G + 256^2 B``."""
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)


def ids_of_colours(colours: np.ndarray) -> np.ndarray:
    """The inverse of :func:`colours_of_ids`, int32."""
    return colours.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
