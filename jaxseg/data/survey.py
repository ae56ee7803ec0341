"""What a source holds, looked at sample by sample: sizes, classes, and what is wrong with it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jaxseg.types import JaxsegError

THREADS = 4
NAMED = 3  # files that a problem names


class Problem(NamedTuple):
    """Something to mend. ``grave``: training would stop at it, or learn what was not meant. ``where``: the files."""

    what: str
    mend: str
    where: tuple[str, ...] = ()
    grave: bool = True

    def __str__(self) -> str:
        named = ", ".join(self.where[:NAMED])
        more = f" and {len(self.where) - NAMED} more" if len(self.where) > NAMED else ""
        return self.what + (f" ({named}{more})" if named else "") + (f": {self.mend}" if self.mend else "")


class Seen(NamedTuple):
    """One sample. ``pixels`` [K + 1]: of each class and of void; ``classes`` [N]: of its instances; ``error``: why it
    can't be read; ``flaws``: of its boxes and masks, in words."""

    name: str
    size: tuple[int, int] = (0, 0)
    digest: str = ""
    pixels: np.ndarray | None = None
    classes: np.ndarray | None = None
    captions: int | None = None
    error: str = ""
    flaws: tuple[str, ...] = ()


class Survey(NamedTuple):
    """All samples of a source, and the names of its label classes and of its instances' classes."""

    seen: tuple[Seen, ...]
    classes: tuple[str, ...]
    things: tuple[str, ...]

    @property
    def read(self) -> list[Seen]:
        """Those that could be read."""
        return [s for s in self.seen if not s.error]


def survey(source: Any, show: Callable[[int], None] = lambda done: None, most: int | None = None) -> Survey:
    """Read every sample (or the first ``most``) once.

    Raises JaxsegError where the source as a whole can't be read; what is wrong with a sample is among its ``Seen``.
    """
    count = len(source) if most is None else min(most, len(source))
    if not count:
        raise JaxsegError("there is nothing in it: no samples; check the paths")
    classes, things = tuple(source.classes), tuple(getattr(source, "things", source.classes))
    seen = []
    with ThreadPoolExecutor(THREADS) as threads:
        for one in threads.map(lambda place: look(source, place), range(count)):
            seen.append(one)
            show(len(seen))
    return Survey(tuple(seen), classes, things)


def look(source: Any, place: int) -> Seen:
    """One sample."""
    num_classes, num_things = len(source.classes), len(getattr(source, "things", source.classes))
    try:
        sample = source[place]
    except JaxsegError as error:
        return Seen(str(place), error=" ".join(str(error).split()))
    image = sample["image"]
    height, width = image.shape[:2]
    seen = Seen(
        str(sample.get("name", place)),
        (height, width),
        hashlib.sha256(np.ascontiguousarray(image).tobytes() + repr(image.shape).encode()).hexdigest(),
    )
    if "label" in sample and has_labels(source):
        labels = np.minimum(sample["label"].ravel().astype(np.int64), num_classes)  # all else is void
        seen = seen._replace(pixels=np.bincount(labels, minlength=num_classes + 1))
    if "captions" in sample:
        seen = seen._replace(captions=len(sample["captions"]))
    if "category" in sample:
        seen = seen._replace(classes=categories_of(sample["category"]) + 1)
    elif "instances" in sample:
        instances = sample["instances"]
        flaws = flaws_of(instances, (height, width), num_things)
        seen = seen._replace(classes=np.asarray(instances["classes"]), flaws=flaws)
    return seen


def has_labels(source: Any) -> bool:
    """Whether label maps are the source's own: where all its classes are of instances, they are of one beneath it."""
    return tuple(source.classes) != tuple(getattr(source, "things", ()))


def categories_of(category: Any) -> np.ndarray:
    """Classes of a picture as a whole, from a class or from K numbers (:mod:`jaxseg.types`); none where unknown."""
    category = np.asarray(category)
    return np.flatnonzero(category == 1) if category.ndim else category[None][category[None] >= 0]


def flaws_of(instances: dict[str, Any], size: tuple[int, int], num_things: int) -> tuple[str, ...]:
    """What is wrong with the boxes, classes and masks of one image."""
    boxes = np.asarray(instances["boxes"], np.float64).reshape(-1, 4)
    classes, flaws = np.asarray(instances["classes"]), []
    height, width = size
    if not np.isfinite(boxes).all():
        flaws.append("boxes that are not numbers")
    elif len(boxes):
        x1, y1, x2, y2 = boxes.T
        if ((x2 <= x1) | (y2 <= y1)).any():
            flaws.append("boxes of no area")
        if (x1 < -0.5).any() or (y1 < -0.5).any() or (x2 > width + 0.5).any() or (y2 > height + 0.5).any():
            flaws.append("boxes that reach out of their image")
    if len(classes) and (classes.min() < 1 or classes.max() > num_things):
        flaws.append(f"classes outside of 1 to {num_things}")
    if "masks" in instances and not all(instances["masks"][n].any() for n in range(len(boxes))):
        flaws.append("empty masks")
    return tuple(flaws)


def problems_of(found: Survey) -> list[Problem]:
    """What is wrong with the samples of a source."""
    problems = _unreadable([s for s in found.seen if s.error])
    for flaw in sorted({flaw for s in found.seen for flaw in s.flaws}):
        where = tuple(s.name for s in found.seen if flaw in s.flaws)
        problems.append(Problem(f"{flaw} in {_images(len(where))}", "remove or draw them again", where))
    void = [s.name for s in found.read if s.pixels is not None and not s.pixels[:-1].any()]
    if void:
        problems.append(Problem(f"{_images(len(void))} wholly void", "nothing is learnt of them", tuple(void), False))
    bare = [s.name for s in found.read if s.classes is not None and not len(s.classes)]
    if bare:
        text = f"{_images(len(bare))} of {len(found.seen)} without an object"
        problems.append(Problem(text, "meant? They teach what is background", tuple(bare), False))
    problems += _absent(found)
    of_digest: dict[str, list[str]] = {}
    for s in found.read:
        of_digest.setdefault(s.digest, []).append(s.name)
    twice = [name for names in of_digest.values() for name in names if len(names) > 1]
    if twice and not any(s.captions is not None for s in found.read):
        text = f"{len(twice)} images have the same pixels as another"
        problems.append(Problem(text, "keep one of each", tuple(twice), False))
    return problems


def leaks(train: Survey, val: Survey, part: str = "val") -> list[Problem]:
    """Images that are both learnt from and, in the ``part`` of that name, judged by."""
    learnt = {s.digest: s.name for s in train.read}
    both = [f"{s.name} = {learnt[s.digest]}" for s in val.read if s.digest in learnt]
    if not both:
        return []
    text = f"{len(both)} of {len(val.seen)} {part} images are among the training images too"
    return [Problem(text, "take them out of one of the two, or scores will be too good", tuple(both), False)]


def class_counts(found: Survey) -> list[tuple[str, int, int, int]]:
    """Of each class its name, pixels, instances, and images that show it."""
    labels, instances = [s.pixels for s in found.read if s.pixels is not None], [s.classes for s in found.read]
    pixels = np.sum(labels, axis=0) if labels else np.zeros(len(found.classes) + 1, np.int64)
    shown = np.sum([p > 0 for p in labels], axis=0) if labels else np.zeros_like(pixels)
    objects: Counter[int] = Counter()
    with_object: Counter[int] = Counter()
    for classes in instances:
        objects.update(() if classes is None else classes.tolist())
        with_object.update(() if classes is None else set(classes.tolist()))
    names = list(dict.fromkeys((*found.classes, *found.things)))
    things = list(found.things)
    rows = []
    for name in names:
        k = found.classes.index(name) if name in found.classes else -1
        n = things.index(name) + 1 if name in things else 0
        area, in_images = (int(pixels[k]), int(shown[k])) if k >= 0 else (0, 0)
        rows.append((name, area, objects[n], max(in_images, with_object[n])))
    return rows


def _unreadable(failed: Sequence[Seen]) -> list[Problem]:
    """Errors that differ only in names and numbers as one problem, told as the first of them."""
    groups: dict[str, list[Seen]] = {}
    for s in failed:
        kind = re.sub(r"\S*[/\\]\S*|\S+\.\w{2,4}\b|\d+(\.\d+)?", "#", s.error)
        groups.setdefault(re.sub("#(, #)+", "#", kind), []).append(s)
    problems = []
    for alike in groups.values():
        if len(alike) == 1:
            problems.append(Problem(alike[0].error, ""))
            continue
        # An error begins with its file; where one has none, the sample's place stands for it.
        files, texts = zip(*(s.error.split(": ", 1) if ": " in s.error else (s.name, s.error) for s in alike))
        problems.append(Problem(f"{len(alike)} samples can't be used", texts[0], files))
    return problems


def _absent(found: Survey) -> list[Problem]:
    rows = class_counts(found) if found.read else []
    counted = any(s.pixels is not None or s.classes is not None for s in found.read)
    absent = tuple(name for name, area, objects, _ in rows if not area and not objects)
    if not counted or not absent or len(absent) == len(rows):
        return []
    text = f"{len(absent)} of {len(rows)} classes never appear"
    return [Problem(text, "meant? Check the annotation", absent, False)]


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
