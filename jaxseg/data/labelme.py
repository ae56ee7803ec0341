"""LabelMe's files, a JSON beside each image, as one of COCO's.

Shapes: ``polygon``, ``rectangle`` (two corners), ``oriented_rectangle`` (four), ``circle`` (its middle and a point on
it) and ``mask`` (a PNG in the rectangle of its two points, both of which are in it); shapes of one label and one
``group_id`` are parts of one object. Points and lines have no area and are left out. The format is what labelme 6
writes; nothing of it is needed to read it.
"""

import base64
import binascii
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.coco_writing import CocoWriter, common_root
from jaxseg.data.images import read_mask, size_of
from jaxseg.progress import progress
from jaxseg.types import JaxsegError

_NO_CLASS = ("__ignore__", "_background_")  # of labelme's own examples


def labelme_to_coco(folder: str | os.PathLike) -> CocoWriter:
    """The JSON files in ``folder`` and below it as a COCO dictionary (``content``), with file names relative to
    ``root`` (``folder``, unless images lie outside of it), and what was ``left_out``, in words. An image that several
    files tell of has the objects of all.

    Raises:
        JaxsegError: no such folder, none of LabelMe's files in it, a damaged one, or a label that is no word.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise JaxsegError(f"{root}: no such folder of LabelMe's files; check the path")
    paths, marked, left_out = sorted(root.rglob("*.json")), [], {}
    with progress(f"reading {root.name}", len(paths), "files") as show:
        for done, path in enumerate(paths, 1):
            content = _read(path)
            if content is not None:
                marked.append(_marked(path, content, left_out))
            show(done)
    if not marked:
        raise JaxsegError(f"{root}: holds none of LabelMe's files; expected NAME.json with shapes beside each image")
    found = [one for one in marked if one is not None]
    names = sorted({label for one in found for label, _ in one.objects})
    writer = CocoWriter(names, common_root(root, (one.image for one in found)))
    writer.left_out |= left_out
    numbers: dict[pathlib.Path, int] = {}
    with progress(f"objects of {root.name}", len(found), "images") as show:
        for done, (path, image, size, objects) in enumerate(found, 1):
            place = image.resolve()
            if place not in numbers:
                numbers[place] = writer.image(image, size)
            for label, parts in objects:
                writer.annotation(numbers[place], names.index(label) + 1, parts, size, str(path))
            show(done)
    return writer


class _Marked(NamedTuple):
    """A JSON, its image and that image's (H, W), and label and parts of each object."""

    path: pathlib.Path
    image: pathlib.Path
    size: tuple[int, int]
    objects: list[tuple[str, list[Any]]]


def _marked(path: pathlib.Path, content: dict[str, Any], left_out: dict[str, list[str]]) -> _Marked | None:
    """What a JSON tells of its image; None where that is not there."""
    image = path.parent / content["imagePath"].replace("\\", "/")
    if not image.is_file():
        image = path.parent / image.name
    if not image.is_file():
        left_out.setdefault("files whose image is not there", []).append(path.name)
        return None
    size = size_of(image)
    told = content.get("imageHeight"), content.get("imageWidth")
    if None not in told and told != size:
        text = f"{path}: is of an image of {told[0]}x{told[1]} pixels, {image.name} has {size[0]}x{size[1]}"
        raise JaxsegError(f"{text} (height x width); give the image that the shapes were drawn on")
    return _Marked(path, image, size, _objects(content["shapes"], path, left_out))


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """A JSON of LabelMe's, checked; None if it is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise JaxsegError(f"{path}: not a JSON file ({str(error)[:80]}); save it again, or move it away") from error
    if isinstance(content, dict):
        content.pop("imageData", None)  # the whole picture again
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return None
    wrong = [] if isinstance(content.get("imagePath"), str) else ["imagePath"]
    wrong += [
        f"shapes[{n}]"
        for n, s in enumerate(content["shapes"])
        if not (isinstance(s, dict) and isinstance(s.get("label"), str) and isinstance(s.get("points"), list))
    ]
    if wrong:
        raise JaxsegError(f"{path}: {wrong[0]} is missing or of another kind than LabelMe writes; save it again there")
    return content


def _objects(
    shapes: list[dict[str, Any]], path: pathlib.Path, left_out: dict[str, list[str]]
) -> list[tuple[str, list[Any]]]:
    """Label and parts of each object: shapes of one label and group together, all others alone."""
    found: dict[Any, tuple[str, list[Any]]] = {}
    for n, shape in enumerate(shapes):
        label, group = shape["label"], shape.get("group_id")
        if label in _NO_CLASS:
            left_out.setdefault(f"shapes labelled {label}", []).append(path.name)
            continue
        part = _part(shape, f"{path}: shapes[{n}] ({label})")
        if part is None:
            what = f"shapes of kind {shape.get('shape_type')} or of too few points"
            left_out.setdefault(what, []).append(path.name)
            continue
        found.setdefault(n if group is None else (label, group), (label, []))[1].append(part)
    return list(found.values())


def _part(shape: dict[str, Any], where: str) -> Any:
    """A shape as points [P, 2], or as ``(bitmap, corner)``; None for what has no area."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.array(shape["points"], np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise JaxsegError(f"{where}: its points are {str(shape['points'])[:60]}, expected pairs of numbers") from error
    if not np.isfinite(points).all():
        raise JaxsegError(f"{where}: has points that are not numbers; draw it again")
    if kind in ("polygon", "oriented_rectangle"):
        return points if len(points) >= 3 else None
    if kind not in ("rectangle", "circle", "mask") or len(points) < 2:
        return None
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        angles = np.linspace(0, 2 * np.pi, min(max(4 * math.ceil(radius), 16), 128), endpoint=False)
        return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1) if radius else None
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    if kind == "rectangle":
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) if x2 > x1 and y2 > y1 else None
    try:
        bitmap = read_mask(base64.b64decode(shape["mask"], validate=True), name=where) > 0
    except (KeyError, TypeError, binascii.Error) as error:
        raise JaxsegError(f"{where}: has no readable mask; draw it again") from error
    if bitmap.shape != (int(y2) - int(y1) + 1, int(x2) - int(x1) + 1):
        raise JaxsegError(f"{where}: its mask is {bitmap.shape}, its rectangle another; draw it again")
    return bitmap, (int(x1), int(y1))
