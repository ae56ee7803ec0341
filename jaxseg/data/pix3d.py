"""Pix3D as a source: photographs of furniture, each with the exact shape of one object (Sun et al. 2018)."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxseg.data.folder import spread_colors
from jaxseg.data.images import read_image, read_mask
from jaxseg.data.instances import tight_boxes
from jaxseg.data.meshes import read_mesh, shape_targets
from jaxseg.metrics.mesh import Shape
from jaxseg.types import JaxsegError

CATEGORIES = ("bed", "bookcase", "chair", "desk", "misc", "sofa", "table", "tool", "wardrobe")
SENSOR = 32.0  # width of the sensor that focal lengths are told for, in mm


@dataclasses.dataclass(frozen=True)
class Pix3D:
    """A source of ``pix3d.json`` and the files that it names, all under ``root``.

    A sample is as :class:`jaxseg.data.Solids` has it, of one object: ``image``, ``name`` and ``instances``. Its
    vertices are those of the model where the photograph shows them: x and y in pixels by the photograph's own
    perspective, depth in pixels as wide as they are in the middle of the object.

    Args:
        root: the folder of ``pix3d.json``.
        chosen: only these entries of the JSON, by place; by default those that are neither truncated nor wider than
            the picture.
        voxels, points: see :class:`jaxseg.data.Solids`.

    Raises:
        JaxsegError: no such JSON, entries that lack something, or files that can't be read.
    """

    root: str | os.PathLike
    chosen: Sequence[int] | None = None
    voxels: int = 24
    points: int = 5000

    things = CATEGORIES
    classes = CATEGORIES

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw classes with."""
        return spread_colors(len(CATEGORIES))

    @functools.cached_property
    def _entries(self) -> list[dict[str, Any]]:
        path = pathlib.Path(self.root) / "pix3d.json"
        try:
            entries = json.loads(path.read_text())
            if self.chosen is not None:
                return [entries[i] for i in self.chosen]
            return [e for e in entries if not e["truncated"]]
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise JaxsegError(f"{path}: {type(error).__name__}: {error}; expected Pix3D's list of entries") from error

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry = self._entries[index]
        root = pathlib.Path(self.root)
        image, mask = read_image(root / entry["img"]), read_mask(root / entry["mask"]) > 0
        if image.shape[:2] != mask.shape:
            raise JaxsegError(f"{root / entry['img']}: {image.shape[:2]} pixels and its mask {mask.shape}")
        kind, shape = self._shape(entry)
        instances = {
            "boxes": tight_boxes(mask[None]),
            "classes": np.array([kind], np.int32),
            "masks": mask[None],
            "voxels": self._voxels(entry, shape)[None],
            **shape_targets([shape], self.points, np.random.default_rng(index)),
        }
        return {"image": image, "name": str(root / entry["img"]), "instances": instances}

    def shapes(self, index: int) -> list[tuple[int, Shape]]:
        """Class and mesh, in pixels, of the object; the photograph is not read."""
        return [self._shape(self._entries[index])]

    def _shape(self, entry: dict[str, Any]) -> tuple[int, Shape]:
        if entry["category"] not in CATEGORIES:
            raise JaxsegError(
                f"{entry['img']}: is of category {entry['category']!r}; known are {', '.join(CATEGORIES)}"
            )
        model = read_mesh(pathlib.Path(self.root) / entry["model"])
        pixels, _ = _seen(entry, model.vertices)
        # A camera that sees x grow to the left and y upward is turned by half about its axis: faces stay as they are.
        return CATEGORIES.index(entry["category"]) + 1, Shape(pixels, model.faces)

    def _voxels(self, entry: dict[str, Any], shape: Shape) -> np.ndarray:
        """``[M, M, M]`` bool: the file's voxels, put where the model's box is, seen by the camera and counted again."""
        from scipy.io import loadmat

        grid = loadmat(pathlib.Path(self.root) / entry["voxel"])["voxel"] > 0
        model = read_mesh(pathlib.Path(self.root) / entry["model"]).vertices
        # Voxels: x left, y outward, z up; the model: x left, y up, z inward.
        cells = np.argwhere(grid)[:, [0, 2, 1]] * np.array([1, 1, -1]) + np.array([0.5, 0.5, -0.5])
        low, high = cells.min(0) - 0.5, cells.max(0) + 0.5
        cells = model.min(0) + (cells - low) / (high - low) * (model.max(0) - model.min(0))
        pixels, _ = _seen(entry, cells, about=_seen(entry, model)[1])
        low, high = shape.vertices.min(0), shape.vertices.max(0)
        place = np.floor((pixels - low) / (high - low) * self.voxels).astype(int)
        x, y, z = np.clip(place, 0, self.voxels - 1).T
        filled = np.zeros((self.voxels,) * 3, bool)
        filled[z, y, x] = True
        return filled


def _seen(
    entry: dict[str, Any], vertices: np.ndarray, about: tuple[float, float] | None = None
) -> tuple[np.ndarray, tuple[float, float]]:
    """Vertices of the model in the photograph's pixels, z from the middle of their depth, away; and where that
    depth begins and ends, or ``about``, if that is given.

    ``(X, Y, Z) = R v + t``: X left, Y up, Z away, in the model's unit; ``x = W / 2 - f X / Z`` and
    ``y = H / 2 - f Y / Z``.
    """
    width, height = entry["img_size"]
    focal = entry["focal_length"] / SENSOR * width
    camera = vertices @ np.array(entry["rot_mat"], np.float64).T + np.array(entry["trans_mat"], np.float64)
    depth = camera[:, 2]
    ends = about or (float(depth.min()), float(depth.max()))
    if ends[0] <= 0:
        raise JaxsegError(f"{entry['img']}: its model reaches behind the camera")
    middle = (ends[0] + ends[1]) / 2
    x, y = (side / 2 - focal * camera[:, i] / depth for i, side in ((0, width), (1, height)))
    return np.stack([x, y, (depth - middle) * focal / middle], axis=1), ends
