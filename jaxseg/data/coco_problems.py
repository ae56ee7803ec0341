"""All that is wrong with a COCO JSON at once, where :class:`jaxseg.data.Coco` would stop at the first."""

import math
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from jaxseg.data.coco_index import load_json
from jaxseg.data.survey import Problem


def coco_problems(file: str | pathlib.Path, folder: str | pathlib.Path) -> list[Problem]:
    """Problems of the entries and of the files they name; no image is opened.

    Raises JaxsegError where the file is no JSON of COCO's kind.
    """
    content = load_json(str(file))
    images = [e for e in content.get("images", ()) if isinstance(e, dict)]
    annotations = [e for e in content.get("annotations", ()) if isinstance(e, dict)]
    categories = [e for e in content.get("categories", ()) if isinstance(e, dict)]
    sizes = {i.get("id"): (i.get("width"), i.get("height")) for i in images}
    known = {c.get("id") for c in categories}
    problems = []

    def tell(what: str, mend: str, found: Iterable[Any], grave: bool = True) -> None:
        where = tuple(str(f) for f in found)
        if where:
            problems.append(Problem(f"{len(where)} {what}", mend, where, grave))

    for kind, entries in (("image", images), ("annotation", annotations), ("category", categories)):
        twice = [i for i, count in Counter(e.get("id") for e in entries).items() if count > 1]
        tell(f"{kind} ids that come twice", "give each entry an id of its own", twice)
    missing = [i.get("file_name") for i in images if not pathlib.Path(folder, str(i.get("file_name"))).is_file()]
    tell(f"images that are not in {folder}", "fetch them, name the folder by --images, or remove them", missing)
    names = [name for name, count in Counter(i.get("file_name") for i in images).items() if count > 1]
    tell("file names that several entries have", "keep one entry an image", names)
    strays = [a.get("id") for a in annotations if a.get("image_id") not in sizes]
    tell("annotations of images that are not listed", "remove them, or list the images", strays)
    boxed = [a for a in annotations if "caption" not in a]
    unknown = [a.get("id") for a in boxed if a.get("category_id") not in known]
    tell("annotations of categories that are not listed", "list the categories, or remove them", unknown)
    _boxes([a for a in boxed if a.get("image_id") in sizes], sizes, tell)
    masked = [a for a in boxed if a.get("segmentation")]
    bare = [a.get("id") for a in boxed if not a.get("segmentation")]
    if masked:
        tell("annotations without a segmentation where others have one", "draw them, or read with masks=False", bare)
    return problems


def _boxes(annotations: list[dict[str, Any]], sizes: dict[Any, Any], tell: Callable[..., None]) -> None:
    wrong, flat, outside, beyond = [], [], [], []
    for a in annotations:
        box, (width, height) = a.get("bbox"), sizes[a["image_id"]]
        numbers = [float(v) for v in box if type(v) in (int, float)] if isinstance(box, list) else []
        if len(numbers) != 4 or len(box or ()) != 4 or not all(map(math.isfinite, numbers)) or min(numbers[2:]) < 0:
            wrong.append(a.get("id"))
            continue
        x, y, w, h = numbers
        if w == 0 or h == 0:
            flat.append(a.get("id"))
        elif isinstance(width, int) and isinstance(height, int):
            if x >= width or y >= height or x + w <= 0 or y + h <= 0:
                outside.append(a.get("id"))
            elif x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
                beyond.append(a.get("id"))
    tell("annotations whose bbox is not four numbers with sides from 0", "write [x, y, width, height]", wrong)
    tell("boxes of no area", "they are left out in training; remove them", flat, False)
    tell("boxes outside of their images", "they are left out in training; remove or mend them", outside, False)
    mend = "they are cut off at the edge; is bbox [x, y, width, height]?"
    tell("boxes that reach out of their images", mend, beyond, False)
