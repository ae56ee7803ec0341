"""A COCO dictionary, built image by image and object by object from outlines and bitmaps."""

import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxseg.metrics.rle import encode_rle, to_rle

Part = np.ndarray | tuple[np.ndarray, tuple[int, int]]
"""Points ``[P, 2]`` in pixels, or a bitmap [h, w] bool and the corner (x, y) where it lies."""


class CocoWriter:
    """``content`` grows as images and annotations are added; ``left_out`` says in words what could not be.

    Categories have the ids 1, 2, ... in the order of ``names``; file names are relative to ``root``.
    """

    def __init__(self, names: Sequence[str], root: pathlib.Path) -> None:
        categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
        self.content: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
        self.left_out: dict[str, list[str]] = {}
        self.root = root

    def leave_out(self, what: str, file: str) -> None:
        """Note one thing that is left out of a file."""
        self.left_out.setdefault(what, []).append(file)

    def image(self, path: pathlib.Path, size: tuple[int, int]) -> int:
        """Add an image of (H, W), a file in ``root`` or below it; gives its id."""
        number = len(self.content["images"]) + 1
        name = pathlib.PurePath(os.path.relpath(path, self.root)).as_posix()
        self.content["images"].append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        return number

    def annotation(self, image: int, category: int, parts: Sequence[Part], size: tuple[int, int], where: str) -> None:
        """Add an object that is all of ``parts``: as polygons, or where one is a bitmap as run lengths."""
        coco_mask = _coco_mask()

        outlines = [part for part in parts if isinstance(part, np.ndarray)]
        if len(outlines) == len(parts):
            segmentation: Any = [np.round(points, 2).ravel().tolist() for points in outlines]
            rle = to_rle(segmentation, size, where)
        else:
            rles = [
                to_rle([part.ravel().tolist()] if isinstance(part, np.ndarray) else _inside(*part, size), size, where)
                for part in parts
            ]
            rle = coco_mask.merge(rles)
            segmentation = {"size": list(size), "counts": rle["counts"].decode("ascii")}
        area = int(coco_mask.area(rle))
        if not area:
            self.leave_out("objects without a pixel in their image", where)
            return
        entry = {"image_id": image, "category_id": category, "iscrowd": 0, "area": area}
        entry |= {"bbox": coco_mask.toBbox(rle).tolist(), "segmentation": segmentation}
        self.content["annotations"].append({"id": len(self.content["annotations"]) + 1, **entry})

    def box(self, image: int, category: int, box: Any) -> None:
        """Add an object of which nothing is known but its box xyxy."""
        x1, y1, x2, y2 = (round(float(v), 2) for v in box)
        entry = {"image_id": image, "category_id": category, "iscrowd": 0, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        entry["area"] = (x2 - x1) * (y2 - y1)
        self.content["annotations"].append({"id": len(self.content["annotations"]) + 1, **entry})

    def write(self, file: str | os.PathLike) -> None:
        """The JSON, whole or not at all."""
        path = pathlib.Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".tmp")
        partial.write_text(json.dumps(self.content))
        partial.replace(path)


def common_root(folder: pathlib.Path, files: Iterable[pathlib.Path]) -> pathlib.Path:
    """``folder`` where all ``files`` are in it or below it, else the nearest folder that holds both."""
    whole = os.path.commonpath([os.path.abspath(path) for path in (folder, *files)])
    return folder if whole == os.path.abspath(folder) else pathlib.Path(whole)


def _inside(bitmap: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The run lengths of a bitmap, cut off at the image's edge."""
    (x, y), (height, width) = corner, size
    left, top = max(x, 0), max(y, 0)
    cut = bitmap[top - y : max(height - y, 0), left - x : max(width - x, 0)]
    return encode_rle(cut, (min(left, width), min(top, height)), size)


def _coco_mask() -> Any:
    from pycocotools import mask  # here, so that `import jaxseg` stays light

    return mask
