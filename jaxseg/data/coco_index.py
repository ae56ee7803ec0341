"""A COCO JSON read and checked as a whole, once: what is wrong is named by file and entry."""

import json
import logging
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxseg.metrics.rle import box_of_rle, decode_rle, polygon_points, polygons_of, to_rle
from jaxseg.progress import progress
from jaxseg.types import JaxsegError

_MANY = 30_000  # annotations; so many masks take about two seconds to look at
AGREE = 0.5  # a box and its mask's box are one object's if their IoU is at least this
_MOST_NAMED = 5
Fields = dict[str, type]
_IMAGE: Fields = {"id": int, "file_name": str, "height": int, "width": int}
_CATEGORY: Fields = {"id": int, "name": str}
_OBJECT: Fields = {"id": int, "image_id": int, "category_id": int, "bbox": list}
_CAPTION: Fields = {"id": int, "image_id": int, "caption": str}


class Index(NamedTuple):
    """``content`` as read; ``images`` and ``categories`` in their order (images those that are kept, categories by id);
    ``annotations`` of each image id, without those left out; ``boxes``, xyxy float64, of each annotation id;
    ``captions``, whether this is a file of captions."""

    content: dict[str, Any]
    images: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]
    annotations: dict[int, list[dict[str, Any]]]
    boxes: dict[int, np.ndarray]
    captions: bool


def read_index(
    file: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    keep_empty: bool = True,
    masks: bool = True,
    min_area: float = 0,
) -> Index:
    """Read, check and sort a COCO JSON. Arguments and errors as in :class:`jaxseg.data.Coco`."""
    path = os.fspath(file)
    content = load_json(path)
    wanted = wanted_of(content, path)
    captions = "categories" not in wanted
    found = {key: _entries(content, key, fields, path) for key, fields in wanted.items()}
    images, annotations, categories = (found.get(key, {}) for key in ("images", "annotations", "categories"))
    _check_known(annotations, "image_id", images, path)
    if not captions:
        _check_known(annotations, "category_id", categories, path)
    _check_files(images, pathlib.Path(folder), path)
    boxes = {} if captions else _boxes(annotations, images, path, masks)
    of_image: dict[int, list[dict[str, Any]]] = {i: [] for i in images}
    for a in annotations.values():
        if captions or (a["id"] in boxes and area_of(a) >= min_area):
            of_image[a["image_id"]].append(a)
    shown = tuple(image for i, image in images.items() if keep_empty or of_image[i])
    if not shown:
        what = f"{len(images)} images, none of them with an object" if images else "no images"
        raise JaxsegError(f"{path}: {what}; check the file, or set keep_empty=True and min_area=0")
    return Index(content, shown, tuple(categories[i] for i in sorted(categories)), of_image, boxes, captions)


def area_of(annotation: dict[str, Any]) -> float:
    """The annotation's ``area``, or its box's where it has none."""
    width, height = annotation["bbox"][2:]
    return float(annotation.get("area", width * height))


def load_json(path: str) -> dict[str, Any]:
    """The object that a JSON file holds. Raises JaxsegError where it holds none."""
    if not os.path.isfile(path):
        raise JaxsegError(f"{path}: no such file of annotations; check the path")
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise JaxsegError(f"{path}: not a JSON file ({str(error)[:80]}); download or export it again") from error
    if not isinstance(content, dict):
        raise JaxsegError(f"{path}: holds a {type(content).__name__}, expected COCO's {{'images': [...], ...}}")
    return content


def list_of(content: dict[str, Any], key: str, path: str) -> list[Any]:
    """One of the JSON's lists. Raises JaxsegError where it has none of that name."""
    if not isinstance(content.get(key), list):
        there = ", ".join(list(content)[:8])
        raise JaxsegError(
            f"{path}: has no list of {key} (it has {there or 'nothing'}); give COCO's JSON of instances, keypoints or "
            "captions"
        )
    return content[key]


def wanted_of(content: dict[str, Any], path: str) -> dict[str, Fields]:
    """The lists that the JSON must have, and what each of their entries must have; of captions no categories."""
    first = next(iter(list_of(content, "annotations", path)), None)
    if isinstance(first, dict) and "caption" in first:
        return {"images": _IMAGE, "annotations": _CAPTION}
    return {"images": _IMAGE, "annotations": _OBJECT, "categories": _CATEGORY}


def fault_of(entry: Any, fields: Fields) -> str:
    """What an entry lacks of its ``fields``, in words; "" where nothing."""
    if not isinstance(entry, dict):
        return f" is {str(entry)[:60]!r}, expected an object with {', '.join(fields)}"
    for name, kind in fields.items():
        if type(entry.get(name)) is not kind:
            given = f"is {str(entry[name])[:40]!r}" if name in entry else "is missing"
            panoptic = "; a file of panoptic segments can't be read here" if "segments_info" in entry else ""
            return f" (id {str(entry.get('id'))[:20]}): {name} {given}, expected {kind.__name__}{panoptic}"
    return ""


def _entries(content: dict[str, Any], key: str, fields: Fields, path: str) -> dict[int, Any]:
    """The entries by id; none may lack something."""
    found: dict[int, Any] = {}
    for n, entry in enumerate(list_of(content, key, path)):
        if fault := fault_of(entry, fields):
            raise JaxsegError(f"{path}: {key}[{n}]{fault}")
        if entry["id"] in found:
            raise JaxsegError(f"{path}: {key}[{n}] has the id {entry['id']} of an earlier one; give each its own")
        found[entry["id"]] = entry
    return found


def _check_known(annotations: dict[int, Any], key: str, known: dict[int, Any], path: str) -> None:
    for a in annotations.values():
        if a[key] not in known:
            raise JaxsegError(
                f"{path}: annotation {a['id']} has {key} {a[key]}, which is none of the {len(known)} there are; mend "
                "or remove it"
            )


def _check_files(images: dict[int, Any], folder: pathlib.Path, path: str) -> None:
    """Every image must have a size and be a file in the folder or below it."""
    if not folder.is_dir():
        raise JaxsegError(f"{folder}: no such folder of images; check the path")
    there: dict[pathlib.Path, set[str]] = {}
    missing = []
    for image in images.values():
        if not has_size(image):
            size = f"{str(image['height'])[:20]}x{str(image['width'])[:20]}"
            raise JaxsegError(f"{path}: image {image['id']} has {size} pixels; mend its height and width")
        name = name_of(image)
        if name is None:
            raise JaxsegError(
                f"{path}: image {image['id']}: file_name {image['file_name']!r} leads out of the folder of images; "
                "give names relative to it"
            )
        place = folder / name.parent
        if place not in there:
            there[place] = set(os.listdir(place)) if place.is_dir() else set()
        if name.name not in there[place]:
            missing.append(f"{image['file_name']} (id {image['id']})")
    if missing:
        raise JaxsegError(
            f"{path}: {len(missing)} of {len(images)} images are not in {folder} "
            f"({', '.join(missing[:_MOST_NAMED])}{', ...' if len(missing) > _MOST_NAMED else ''}); check the folder, "
            "fetch them, or take them out of the file"
        )


def has_size(image: dict[str, Any]) -> bool:
    """Whether an image's height and width can be meant."""
    return 0 < image["height"] < 2**24 and 0 < image["width"] < 2**24


def name_of(image: dict[str, Any]) -> pathlib.PurePosixPath | None:
    """An image's file, relative to the folder of images; None where its name leads out of it."""
    name = pathlib.PurePosixPath(image["file_name"].replace("\\", "/"))
    outside = name.is_absolute() or ".." in name.parts or not name.name or pathlib.PureWindowsPath(name).drive
    return None if outside else name


def _boxes(annotations: dict[int, Any], images: dict[int, Any], path: str, masks: bool) -> dict[int, np.ndarray]:
    """xyxy within the image by annotation id, without those that are left out; says what was done."""
    masks = masks and any(a.get("segmentation") for a in annotations.values())
    boxes, flat, outside, replaced = {}, 0, 0, []
    for a in _shown(annotations, path) if masks else annotations.values():
        image, where = images[a["image_id"]], f"{path}: annotation {a['id']}"
        x, y, w, h = _numbers(a, where)
        x_end, y_end = image["width"], image["height"]
        corners = min(max(x, 0), x_end), min(max(y, 0), y_end), min(max(x + w, 0), x_end), min(max(y + h, 0), y_end)
        box = np.array(corners, np.float64)
        if w == 0 or h == 0:
            flat += 1
        elif box[2] <= box[0] or box[3] <= box[1]:
            outside += 1
        else:
            own = _box_of_mask(box, a.get("segmentation"), (image["height"], image["width"]), where) if masks else None
            replaced += [] if own is None else [a["id"]]
            boxes[a["id"]] = box if own is None else own
    _tell(path, len(annotations), flat, outside, replaced)
    return boxes


def _shown(annotations: dict[int, Any], path: str) -> Iterator[dict[str, Any]]:
    """The annotations; where to compare them with their masks takes more than two seconds, with a bar."""
    if len(annotations) < _MANY:
        yield from annotations.values()
        return
    with progress(f"boxes of {os.path.basename(path)}", len(annotations), "objects") as show:
        for done, a in enumerate(annotations.values(), 1):
            yield a
            if done % 1000 == 0 or done == len(annotations):
                show(done)


def is_box(numbers: list[Any]) -> bool:
    """Whether this is x, y, width and height, with sides from 0."""
    # Plain Python: for four numbers it is several times as fast as numpy, and there may be a million boxes.
    sound = len(numbers) == 4 and all(type(v) in (int, float) and abs(v) < 1e9 for v in numbers)
    return sound and min(numbers[2:]) >= 0


def odd_number(a: dict[str, Any]) -> str:
    """Which of ``area`` and ``iscrowd`` is there and no number from 0; "" where neither."""
    for key, types in (("area", (int, float)), ("iscrowd", (int, bool))):
        if key in a and (type(a[key]) not in types or not 0 <= a[key] < math.inf):
            return key
    return ""


def _numbers(a: dict[str, Any], where: str) -> list[float]:
    """The four of ``bbox``; ``area`` and ``iscrowd`` are looked at too."""
    if not is_box(a["bbox"]):
        raise JaxsegError(f"{where}: bbox is {str(a['bbox'])[:60]}, expected [x, y, width, height] with sides from 0")
    if key := odd_number(a):
        raise JaxsegError(f"{where}: {key} is {str(a[key])[:40]!r}, expected a number from 0")
    return a["bbox"]


def _box_of_mask(box: np.ndarray, segmentation: Any, size: tuple[int, int], where: str) -> np.ndarray | None:
    """The tight box of a mask whose IoU with ``box`` is below ``AGREE``; None where they agree or the mask is empty.

    What encloses the points of polygons, or the runs of run lengths, tells most cases without drawing any.
    """
    if not segmentation:
        raise JaxsegError(f"{where}: has no segmentation where others do; add it, or read with masks=False")
    if isinstance(segmentation, list):
        points = np.concatenate([polygon_points(p, size, where) for p in polygons_of(segmentation, where)])
        around = np.concatenate([points.min(0), points.max(0)])
    else:
        around = box_of_rle(to_rle(segmentation, size, where))
    if _iou(box, around) >= AGREE:
        return None
    bitmap, (x, y) = decode_rle(to_rle(segmentation, size, where), where)
    tight = np.array([x, y, x + bitmap.shape[1], y + bitmap.shape[0]], np.float64)
    return tight if bitmap.size and _iou(box, tight) < AGREE else None


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first.tolist(), second.tolist()
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0.0) * max(h, 0.0)
    return both / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both, 1e-12)


def _tell(path: str, count: int, flat: int, outside: int, replaced: list[int]) -> None:
    """One warning about everything that was left out or put right."""
    parts = []
    if flat or outside:
        parts.append(f"left out {flat} of no area and {outside} outside of their images")
    if replaced:
        named = ", ".join(map(str, replaced[:_MOST_NAMED])) + (", ..." if len(replaced) > _MOST_NAMED else "")
        parts.append(
            f"took the masks' own boxes for {len(replaced)} that disagree with their masks (annotation {named}): "
            "bbox must be [x, y, width, height]"
        )
    if parts:
        logging.getLogger("jaxseg").warning("%s: of %d boxes %s", path, count, "; ".join(parts))
