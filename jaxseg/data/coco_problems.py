"""All that is wrong with a COCO JSON at once, where :class:`jaxseg.data.Coco` would stop at the first."""

import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from jaxseg.data.coco_index import fault_of, has_size, is_box, list_of, load_json, name_of, odd_number, wanted_of
from jaxseg.data.survey import Problem


def coco_problems(file: str | pathlib.Path, folder: str | pathlib.Path) -> list[Problem]:
    """Problems of the entries and of the files they name; no image is opened, no mask is drawn.

    Raises JaxsegError where there is no such file, or it is no JSON with COCO's lists.
    """
    path = str(file)
    content = load_json(path)
    wanted = wanted_of(content, path)
    if any(isinstance(a, dict) and "segments_info" in a for a in content["annotations"]):
        mend = "inspect a config with jaxseg.data.CocoPanoptic, or give the JSON of instances"
        return [Problem("it holds panoptic segments, not instances, keypoints or captions", mend)]
    problems = []

    def tell(what: str, mend: str, found: Iterable[Any], grave: bool = True) -> None:
        where = tuple(str(f) for f in found)
        if where:
            problems.append(Problem(f"{len(where)} {what}", mend, where, grave))

    sound: dict[str, list[dict[str, Any]]] = {"categories": []}
    for key, fields in wanted.items():
        faults = [(entry, fault_of(entry, fields)) for entry in list_of(content, key, path)]
        mend = "write them as COCO does, or remove them"
        tell(f"{key} that can't be read", mend, (f"{key}[{n}]{fault}" for n, (_, fault) in enumerate(faults) if fault))
        sound[key] = [entry for entry, fault in faults if not fault]
        twice = [i for i, count in Counter(entry["id"] for entry in sound[key]).items() if count > 1]
        tell(f"{key[:-3] + 'y' if key == 'categories' else key[:-1]} ids that come twice", "give each its own", twice)
    images, annotations = sound["images"], sound["annotations"]
    _images(images, folder, tell)
    sizes = {i["id"]: (i["width"], i["height"]) for i in images}
    strays = [a["id"] for a in annotations if a["image_id"] not in sizes]
    tell("annotations of images that are not listed", "remove them, or list the images", strays)
    if "categories" in wanted:
        _objects(annotations, sizes, {c["id"] for c in sound["categories"]}, tell)
    return problems


def _images(images: list[dict[str, Any]], folder: str | pathlib.Path, tell: Callable[..., None]) -> None:
    sizeless = [i["id"] for i in images if not has_size(i)]
    tell("images of no size, or one that can't be", "mend their height and width", sizeless)
    names = [(i["file_name"], name_of(i)) for i in images]
    beyond = [given for given, name in names if name is None]
    tell("file names that lead out of the folder of images", "give names relative to it", beyond)
    missing = [given for given, name in names if name is not None and not os.path.isfile(pathlib.Path(folder, name))]
    tell(f"images that are not in {folder}", "fetch them, name the folder by --images, or remove them", missing)
    twice = [name for name, count in Counter(name for _, name in names if name is not None).items() if count > 1]
    tell("file names that several entries have", "keep one entry an image", twice)


def _objects(
    annotations: list[dict[str, Any]], sizes: dict[int, Any], known: set[int], tell: Callable[..., None]
) -> None:
    unknown = [a["id"] for a in annotations if a["category_id"] not in known]
    tell("annotations of categories that are not listed", "list the categories, or remove them", unknown)
    odd = [a["id"] for a in annotations if odd_number(a)]
    tell("annotations whose area or iscrowd is no number from 0", "mend or leave them out", odd)
    wrong, flat, outside, beyond = [], [], [], []
    for a in annotations:
        if not is_box(a["bbox"]):
            wrong.append(a["id"])
            continue
        x, y, w, h = a["bbox"]
        if w == 0 or h == 0:
            flat.append(a["id"])
        elif a["image_id"] in sizes:
            width, height = sizes[a["image_id"]]
            if x >= width or y >= height or x + w <= 0 or y + h <= 0:
                outside.append(a["id"])
            elif x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
                beyond.append(a["id"])
    tell("annotations whose bbox is not four numbers with sides from 0", "write [x, y, width, height]", wrong)
    tell("boxes of no area", "they are left out in training; remove them", flat, False)
    tell("boxes outside of their images", "they are left out in training; remove or mend them", outside, False)
    mend = "they are cut off at the edge; is bbox [x, y, width, height]?"
    tell("boxes that reach out of their images", mend, beyond, False)
    bare = [a["id"] for a in annotations if not a.get("segmentation")]
    if len(bare) < len(annotations):
        tell("annotations without a segmentation where others have one", "draw them, or read with masks=False", bare)
