"""YOLO's folders (Ultralytics): images, a text file of outlines for each, and ``data.yaml``, as COCO's JSON.

A line is ``class x y x y x y ...``, the outline in parts of the image's width and height, or ``class x y width
height``, a box by its middle. The file of ``.../images/a/b.jpg`` is ``.../labels/a/b.txt``; an image without one shows
nothing.
"""

import os
import pathlib
from typing import Any

import numpy as np

from jaxseg.data.coco_writing import CocoWriter
from jaxseg.data.folder import IMAGE_EXTENSIONS
from jaxseg.data.images import size_of
from jaxseg.types import JaxsegError


def yolo_splits(folder: str | os.PathLike) -> dict[str, list[pathlib.Path]]:
    """The images of each split that ``data.yaml`` names: ``train``, ``val`` and ``test``, as far as they are there.

    Raises JaxsegError: no such file, not as Ultralytics has it, or a split whose folder is not there.
    """
    about = _about(folder)
    return {s: _images(about[s], pathlib.Path(folder), about) for s in ("train", "val", "test") if about.get(s)}


def yolo_to_coco(folder: str | os.PathLike, split: str = "train") -> CocoWriter:
    """One split as a COCO dictionary (``content``), with file names relative to ``folder``, and what was ``left_out``.

    Raises:
        JaxsegError: as :func:`yolo_splits`; no such split; a line that is no outline or box, of a class that
            ``data.yaml`` does not name, or with numbers that are far from 0 to 1.
    """
    root, splits = pathlib.Path(folder), yolo_splits(folder)
    if split not in splits:
        raise JaxsegError(f"{root / 'data.yaml'}: names no {split!r}; it has {', '.join(splits) or 'no split'}")
    names = _names(_about(folder)["names"])
    writer = CocoWriter(names)
    of_image = {image: _objects(_labels(image), names) for image in splits[split]}
    outlines = any(len(numbers) != 4 for objects in of_image.values() for _, numbers in objects)
    for image, objects in of_image.items():
        height, width = size = size_of(image)
        number = writer.image(os.path.relpath(image, root), size)
        for name, numbers in objects:
            if len(numbers) != 4:
                points = np.clip(numbers.reshape(-1, 2), 0, 1) * (width, height)
                writer.annotation(number, name, [points], size, str(_labels(image)))
            elif outlines:
                writer.leave_out("boxes, since others have outlines", image.name)
            else:
                x, y, w, h = numbers
                corners = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, 1)
                writer.box(number, name, corners * (width, height, width, height))
    return writer


def _about(folder: str | os.PathLike) -> dict[str, Any]:
    import yaml

    path = pathlib.Path(folder) / "data.yaml"
    if not path.is_file():
        raise JaxsegError(f"{path}: no such file; it names the folders of images and the classes of a YOLO data set")
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(about, dict) or not _names(about["names"]):
            raise ValueError("no mapping with names")
    except (yaml.YAMLError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:80]
        raise JaxsegError(f"{path}: {reason}; expected train, val and names, as Ultralytics has them") from error
    return about


def _names(names: Any) -> list[str]:
    """A list, or a mapping from 0 on."""
    if isinstance(names, dict):
        return [str(names[k]) for k in range(len(names))]
    return [str(name) for name in names]


def _images(places: Any, folder: pathlib.Path, about: dict[str, Any]) -> list[pathlib.Path]:
    """The images of a split: in one or several folders, or listed in a text file."""
    images: list[pathlib.Path] = []
    for place in places if isinstance(places, list) else [places]:
        # As written, below `path`, and, since exports often have "../train/images", without the leading dots.
        bare = str(place).lstrip("./")
        tried = [folder / str(place), folder / str(about.get("path") or "") / str(place), folder / bare]
        found = next((p for p in tried if p.exists()), None)
        if found is None:
            raise JaxsegError(f"{folder / 'data.yaml'}: {place} is not in {folder}; mend the path")
        if found.is_dir():
            images += sorted(p for p in found.rglob("*") if p.suffix.lower() in IMAGE_EXTENSIONS)
        else:
            images += [found.parent / line.strip() for line in found.read_text().splitlines() if line.strip()]
    if not images:
        raise JaxsegError(f"{folder / 'data.yaml'}: no images in {places}; check the path")
    return images


def _labels(image: pathlib.Path) -> pathlib.Path:
    parts = list(image.parts)
    places = [n for n, part in enumerate(parts) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return pathlib.Path(*parts).with_suffix(".txt")


def _objects(path: pathlib.Path, names: list[str]) -> list[tuple[str, np.ndarray]]:
    """Name and numbers of each line."""
    objects = []
    for n, line in enumerate(path.read_text().splitlines() if path.is_file() else (), 1):
        if not line.strip():
            continue
        where = f"{path}: line {n}"
        try:
            numbers = np.array(line.split(), np.float64)
        except ValueError:
            numbers = np.array([])
        kind, rest = (numbers[0], numbers[1:]) if len(numbers) else (np.nan, numbers)
        if len(rest) not in (4, *range(6, len(rest) + 1, 2)) or not np.isfinite(numbers).all():
            raise JaxsegError(f"{where}: {line[:60]!r}; expected a class and an outline of 3 points or more, or a box")
        if kind != int(kind) or not 0 <= kind < len(names):
            raise JaxsegError(f"{where}: is of class {kind:g}, data.yaml names {len(names)} from 0; mend one of them")
        if rest.min() < -0.5 or rest.max() > 1.5:
            raise JaxsegError(f"{where}: has numbers up to {rest.max():g}; expected parts of the image's sides, 0 to 1")
        objects.append((names[int(kind)], rest))
    return objects
