"""YOLO's folders (Ultralytics): images, a text file of outlines for each, and ``data.yaml``, as COCO's JSON.

A line is ``class x y x y x y ...``, the outline in parts of the image's width and height, or ``class x y width
height``, a box by its middle. The file of ``.../images/a/b.jpg`` is ``.../labels/a/b.txt``; an image without one shows
nothing.
"""

import os
import pathlib
from typing import Any

import numpy as np

from jaxseg.data.coco_writing import CocoWriter, common_root
from jaxseg.data.folder import IMAGE_EXTENSIONS
from jaxseg.data.images import size_of
from jaxseg.progress import progress
from jaxseg.types import JaxsegError

_NOTHING = (None, "", "~", "null")

SPLITS = ("train", "val", "test")


def yolo_splits(folder: str | os.PathLike) -> list[str]:
    """The splits that ``data.yaml`` names, of ``train``, ``val`` and ``test``.

    Raises JaxsegError: no such file, not as Ultralytics has it, or none of these named.
    """
    about = _about(pathlib.Path(folder))
    splits = [split for split in SPLITS if about.get(split) not in _NOTHING]
    if not splits:
        raise JaxsegError(f"{pathlib.Path(folder, 'data.yaml')}: names none of {', '.join(SPLITS)}; add their folders")
    return splits


def yolo_images(folder: str | os.PathLike, split: str) -> list[pathlib.Path]:
    """The images of one split: in one or several folders, or listed in text files.

    Raises JaxsegError: as :func:`yolo_splits`; no such split, a place that is not there, no images.
    """
    root = pathlib.Path(folder)
    about, splits = _about(root), yolo_splits(root)
    if split not in splits:
        raise JaxsegError(f"{root / 'data.yaml'}: names no {split!r}; it has {', '.join(splits)}")
    places, images = about[split], []
    for place in places if isinstance(places, list) else [places]:
        # As written, below `path`, and, since exports often have "../train/images", without the leading dots.
        tried = [root / str(place), root / (about.get("path") or "") / str(place), root / str(place).lstrip("./")]
        found = next((p for p in tried if p.exists()), None)
        if found is None:
            raise JaxsegError(f"{root / 'data.yaml'}: {split}: {place} is not in {root}; mend the path")
        if found.is_dir():
            images += sorted(p for p in found.rglob("*") if p.suffix.lower() in IMAGE_EXTENSIONS)
        else:
            lines = [line.strip().replace("\\", "/") for line in _text(found).splitlines()]
            images += [found.parent / line for line in lines if line]
    if not images:
        raise JaxsegError(f"{root / 'data.yaml'}: {split}: no images in {places}; check the path")
    return images


def yolo_to_coco(folder: str | os.PathLike, split: str = "train") -> CocoWriter:
    """One split as a COCO dictionary (``content``), with file names relative to ``root`` (``folder``, unless images lie
    outside of it), and what was ``left_out``.

    Raises:
        JaxsegError: as :func:`yolo_images`; no file of labels for any image; a line that is no outline or box, of a
            class that ``data.yaml`` does not name, or with numbers that are far from 0 to 1.
    """
    root, images = pathlib.Path(folder), yolo_images(folder, split)
    names = _about(root)["names"]
    if not any(_labels(image).is_file() for image in images):
        raise JaxsegError(
            f"{root / 'data.yaml'}: {split}: none of {len(images)} images has a file of labels; expected files such "
            f"as {_labels(images[0])}"
        )
    with progress(f"labels of {split}", len(images), "images") as show:
        of_image = {}
        for done, image in enumerate(images, 1):
            of_image[image] = _objects(_labels(image), names)
            show(done)
    outlines = any(len(numbers) != 4 for objects in of_image.values() for _, numbers in objects)
    writer = CocoWriter(names, common_root(root, images))
    with progress(f"objects of {split}", len(images), "images") as show:
        for done, (image, objects) in enumerate(of_image.items(), 1):
            _add(writer, image, objects, outlines)
            show(done)
    return writer


def _add(writer: CocoWriter, image: pathlib.Path, objects: list[tuple[int, np.ndarray]], outlines: bool) -> None:
    """An image and its objects; boxes only where no object has an outline."""
    height, width = size = size_of(image)
    number = writer.image(image, size)
    for kind, numbers in objects:
        if len(numbers) != 4:  # an outline is cut off at the image's edge when it is drawn
            points = numbers.reshape(-1, 2) * (width, height)
            writer.annotation(number, kind + 1, [points], size, str(_labels(image)))
        elif outlines:
            writer.leave_out("boxes, since others have outlines", image.name)
        else:
            x, y, w, h = numbers
            corners = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, 1)
            writer.box(number, kind + 1, corners * (width, height, width, height))


def _about(folder: pathlib.Path) -> dict[str, Any]:
    """``data.yaml``, all of whose values are texts, lists and mappings; ``names`` as a list."""
    import yaml

    path = folder / "data.yaml"
    if not path.is_file():
        raise JaxsegError(f"{path}: no such file; it names the folders of images and the classes of a YOLO data set")
    try:
        about = yaml.load(_text(path), Loader=yaml.BaseLoader)  # to which "yes" and "1.0" are names like others
    except yaml.YAMLError as error:
        raise JaxsegError(f"{path}: no YAML ({' '.join(str(error).split())[:80]}); mend or export it again") from error
    names = about.get("names") if isinstance(about, dict) else None
    if isinstance(names, dict):
        numbers = [str(k) for k in range(len(names))]
        if set(names) != set(numbers):
            raise JaxsegError(f"{path}: names has the keys {', '.join(names)[:80]}; they count from 0, without gaps")
        names = [names[k] for k in numbers]
    if not names or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise JaxsegError(f"{path}: names is {str(names)[:80]}; expected train, val and names, as Ultralytics has them")
    if "kpt_shape" in about:
        raise JaxsegError(f"{path}: has kpt_shape: keypoints are not read from YOLO files; export COCO JSON of them")
    return about | {"names": names}


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise JaxsegError(f"{path}: is not in UTF-8 ({error.reason}, byte {error.start}); save it so") from error


def _labels(image: pathlib.Path) -> pathlib.Path:
    parts = list(image.parts)
    places = [n for n, part in enumerate(parts) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return pathlib.Path(*parts).with_suffix(".txt")


def _objects(path: pathlib.Path, names: list[str]) -> list[tuple[int, np.ndarray]]:
    """Class, from 0, and numbers of each line."""
    objects = []
    for n, line in enumerate(_text(path).splitlines() if path.is_file() else (), 1):
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
        if len(rest) == 4 and rest[2:].min() < 0:
            raise JaxsegError(f"{where}: {line[:60]!r} has a side below 0; expected x, y, width and height of a box")
        objects.append((int(kind), rest))
    return objects
