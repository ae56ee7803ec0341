"""Visual Genome's region descriptions as a source (Krishna et al. 2017; visualgenome.org)."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxseg.data.captions import words_of
from jaxseg.data.images import read_image
from jaxseg.types import JaxsegError


@dataclasses.dataclass(frozen=True)
class VisualGenome:
    """Images with described regions: ``image`` uint8 [H, W, 3], ``name``, ``image_id`` and ``instances``: ``boxes``
    [N, 4], ``classes`` (all 1) and ``captions`` [N] strings.

    Args:
        images: folders that hold ``ID.jpg`` (``VG_100K``, ``VG_100K_2``).
        regions_file: ``region_descriptions.json``, read when first asked for something.
        ids: only these images, in this order, or a function that gives them (the lists of ``densecap_splits.json``);
            by default all.
        most_words: descriptions of more words are left out (Johnson et al. 2016, section 4: 10).

    Raises:
        JaxsegError: no such JSON, ids that it lacks, an image in none of the folders.
    """

    images: tuple[str | os.PathLike, ...]
    regions_file: str | os.PathLike
    ids: Sequence[int] | Callable[[], Sequence[int]] | None = None
    most_words: int = 10

    things = ("region",)
    classes = ("region",)
    palette = np.array([[230, 57, 70]], np.uint8)

    @functools.cached_property
    def _entries(self) -> list[tuple[int, np.ndarray, list[str]]]:
        path = os.fspath(self.regions_file)
        ids = self.ids() if callable(self.ids) else self.ids
        try:
            of_image = {int(entry["id"]): entry["regions"] for entry in json.loads(pathlib.Path(path).read_text())}
            chosen = list(of_image) if ids is None else [int(i) for i in ids]
            missing = [i for i in chosen if i not in of_image]
            if missing:
                raise JaxsegError(f"{path}: has no image {missing[:5]}; give ids that it describes")
            return [(i, *self._regions(of_image[i])) for i in chosen]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, JaxsegError):
                raise
            raise JaxsegError(
                f"{path}: {type(error).__name__}: {error}; expected Visual Genome's region_descriptions.json: a list "
                "of id and regions, each with phrase, x, y, width and height"
            ) from error

    def _regions(self, regions: list[dict[str, Any]]) -> tuple[np.ndarray, list[str]]:
        kept = [
            r
            for r in regions
            if r["width"] > 0 and r["height"] > 0 and 0 < len(words_of(r["phrase"])) <= self.most_words
        ]
        boxes = [(r["x"], r["y"], r["x"] + r["width"], r["y"] + r["height"]) for r in kept]
        return np.array(boxes, np.float32).reshape(-1, 4), [r["phrase"] for r in kept]

    def regions(self, index: int) -> tuple[np.ndarray, list[str]]:
        """Boxes [N, 4] and captions of one image, which is not read."""
        return self._entries[index][1:]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, boxes, captions = self._entries[index]
        paths = [pathlib.Path(folder) / f"{number}.jpg" for folder in self.images]
        path = next((p for p in paths if p.exists()), None)
        if path is None:
            raise JaxsegError(f"image {number} is in none of {', '.join(map(str, self.images))}")
        image = read_image(path)
        limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        instances = {
            "boxes": np.clip(boxes, 0, limit),
            "classes": np.ones(len(boxes), np.int32),
            "captions": np.array(captions, dtype=object),
        }
        return {"image": image, "name": str(path), "image_id": number, "instances": instances}
