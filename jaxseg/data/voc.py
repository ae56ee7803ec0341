"""PASCAL VOC's folders as a source of boxes."""

import dataclasses
import functools
import os
import pathlib
from typing import Any
from xml.etree import ElementTree

import numpy as np

from jaxseg.data.folder import spread_colors
from jaxseg.data.images import MAX_PIXELS, read_image
from jaxseg.names import VOC as VOC_CLASSES
from jaxseg.types import JaxsegError

_MOST_BYTES = 2**24  # of an XML file: a hundred thousand objects


@dataclasses.dataclass(frozen=True)
class Voc:
    """A source of the images of one split of PASCAL VOC, or of your own boxes marked in its way (LabelImg).

    ``root`` holds ``JPEGImages/NAME.jpg``, ``Annotations/NAME.xml`` and ``ImageSets/Main/SPLIT.txt``, one name a line.
    A sample holds ``image`` uint8 [H, W, 3], ``name``, and ``instances``: ``boxes`` [N, 4] float32 xyxy in continuous
    pixels (VOC's first pixel is 1 and its last is within the box: xmin - 1, ymin - 1, xmax, ymax), cut off at the
    image's edge; ``classes`` [N] int32 from 1; ``difficult`` [N] bool; ``crowd`` [N] bool, all False.

    Args:
        root: ``VOCdevkit/VOC2007`` or the like.
        split: ``"train"``, ``"val"``, ``"trainval"``, ``"test"``, or any list in ``ImageSets/Main``.
        things: names of the classes; class k is ``things[k - 1]``. The 20 of VOC by default.
        keep_difficult: False leaves the difficult objects out: for training.
        max_pixels: refuse larger images.

    Raises:
        JaxsegError: on first use: no such folder or split, an empty list, names that lead out of the folder; on
            reading: what :func:`read_image` refuses, a missing or damaged XML, an unknown class, boxes that are not
            four numbers or have no area within the image.
    """

    root: str | os.PathLike
    split: str
    things: tuple[str, ...] = VOC_CLASSES
    keep_difficult: bool = True
    max_pixels: int = MAX_PIXELS

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the split's images, without extension, in the order of its list."""
        folder = pathlib.Path(self.root) / "ImageSets" / "Main"
        path = folder / f"{self.split}.txt"
        if not path.is_file():
            there = ", ".join(sorted(p.stem for p in folder.glob("*.txt") if "_" not in p.stem)) or "none"
            raise JaxsegError(f"{path}: no such split; there are: {there}")
        names = tuple(line.split()[0] for line in path.read_text().splitlines() if line.strip())
        strange = [n for n in names if "/" in n or "\\" in n or ".." in n]
        if strange or not names:
            what = f"the name {strange[0]!r} leads out of the folder" if strange else "the list is empty"
            raise JaxsegError(f"{path}: {what}; give one image's name a line, without folder and extension")
        return names

    @property
    def classes(self) -> tuple[str, ...]:
        """The same as ``things``."""
        return self.things

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw classes with."""
        return spread_colors(len(self.things))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        path = pathlib.Path(self.root) / "JPEGImages" / f"{name}.jpg"
        image = read_image(path, max_pixels=self.max_pixels)
        return {"image": image, "name": str(path), "instances": self._instances(name, image.shape[:2])}

    def _instances(self, name: str, size: tuple[int, ...]) -> dict[str, np.ndarray]:
        path = pathlib.Path(self.root) / "Annotations" / f"{name}.xml"
        boxes, classes, difficult = [], [], []
        for n, thing in enumerate(_parsed(path).findall("object")):
            where, kind = f"{path}: object {n + 1}", (thing.findtext("name") or "").strip()
            if kind not in self.things:
                known = ", ".join(self.things[:8])
                raise JaxsegError(f"{where} is of class {kind!r}, expected one of {known}, ...; mend it or set things")
            hard = (thing.findtext("difficult") or "0").strip() == "1"
            if hard and not self.keep_difficult:
                continue
            boxes.append(_box(thing.find("bndbox"), size, where))
            classes.append(self.things.index(kind) + 1)
            difficult.append(hard)
        return {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "classes": np.array(classes, np.int32),
            "difficult": np.array(difficult, bool),
            "crowd": np.zeros(len(boxes), bool),
        }


def _parsed(path: pathlib.Path) -> ElementTree.Element:
    if not path.is_file():
        raise JaxsegError(f"{path}: no such annotation; add it, or take the name out of the split")
    text = path.read_bytes()
    # An XML file may define words that stand for others, which stand for others: gigabytes from a few lines.
    if len(text) > _MOST_BYTES or b"<!ENTITY" in text:
        raise JaxsegError(f"{path}: {len(text)} bytes, or entities defined: no annotation of VOC's; export it again")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise JaxsegError(f"{path}: damaged XML ({error}); copy or export it again") from error


def _box(element: ElementTree.Element | None, size: tuple[int, ...], where: str) -> list[float]:
    """xyxy in continuous pixels, within the image of ``size`` (H, W)."""
    texts = [None if element is None else element.findtext(k) for k in ("xmin", "ymin", "xmax", "ymax")]
    try:
        numbers = np.array([float(t or "") for t in texts])
    except ValueError:
        numbers = np.full(4, np.nan)
    x1, y1, x2, y2 = np.clip(numbers - (1, 1, 0, 0), 0, [size[1], size[0]] * 2)
    if not (x2 > x1 and y2 > y1):
        raise JaxsegError(
            f"{where}: bndbox is {dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), texts))}; expected numbers with xmin <= "
            f"xmax and ymin <= ymax in an image of {size[0]}x{size[1]} (height x width)"
        )
    return [float(v) for v in (x1, y1, x2, y2)]
