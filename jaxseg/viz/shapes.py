"""Shapes in space as pictures: seen from afar, lit, the nearest last. Host arrays in, uint8 RGB out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from jaxseg.viz.instances import instance_colours
from jaxseg.viz.overlay import PAPER

LIGHT = np.array([-0.4, -0.7, -1.0]) / np.linalg.norm([-0.4, -0.7, -1.0])
_FINER = 3  # drawn so many times as large, and shrunk: smooth edges


def draw_shapes(
    shapes: Sequence[Any], size: tuple[int, int], *, width: int | None = None, turn: float = 0.0
) -> np.ndarray:
    """Meshes (anything with ``vertices [V, 3]``, in pixels, z away, and ``faces [F, 3]``) as the picture of ``size``
    (H, W) shows them; or each turned by ``turn`` degrees about the upright axis through its middle.

    Every face in the colour of its mesh, as bright as it faces the light; those that face away are not drawn.
    ``width``: of the result, in pixels.
    """
    scale, canvas, draw = _canvas(size, width)
    patches = []
    for shape, colour in zip(shapes, instance_colours(len(shapes)), strict=True):
        vertices = _turned(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces), turn)
        corners = vertices[shape.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normal, axis=1)
        bright = 0.35 + 0.65 * np.clip(normal @ LIGHT / np.maximum(length, 1e-9), 0, 1)
        for n in np.flatnonzero((normal[:, 2] < 0) & (length > 0)):
            paint = (0.25 * 255 + 0.75 * colour) * bright[n]
            patches.append((corners[n, :, 2].mean(), (corners[n, :, :2] * scale).ravel().tolist(), paint))
    for _, outline, paint in sorted(patches, key=lambda patch: -patch[0]):
        draw.polygon(outline, fill=tuple(int(c) for c in np.clip(paint, 0, 255)))
    return _shrunk(canvas)


def _canvas(size: tuple[int, int], width: int | None) -> tuple[float, Image.Image, ImageDraw.ImageDraw]:
    h, w = size
    wide = (w if width is None else width) * _FINER
    canvas = Image.new("RGB", (wide, max(_FINER, round(h * wide / w))), PAPER)
    return wide / w, canvas, ImageDraw.Draw(canvas)


def _shrunk(canvas: Image.Image) -> np.ndarray:
    return np.asarray(canvas.reduce(_FINER))


def _about(turn: float) -> np.ndarray:
    """``[3, 3]``: by ``turn`` degrees about y."""
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _turned(vertices: np.ndarray, used: np.ndarray, turn: float) -> np.ndarray:
    if not turn or not used.size:
        return vertices
    seen = vertices[np.unique(used)]
    middle = (seen.max(0) + seen.min(0)) / 2
    return (vertices - middle) @ _about(turn).T + middle
