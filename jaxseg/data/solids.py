"""Drawn solids with their exact shapes in space: the data set for meshes that needs no download.

One or two solids (sphere, box, cylinder, cone, torus) a picture, turned any way, lit from a side, seen from afar
(without perspective) before a soft ground. Each is drawn by marching rays through its distance function, of which the
voxels are samples too; its mesh is made of the same numbers.
"""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxseg.data.folder import spread_colors
from jaxseg.data.instances import tight_boxes
from jaxseg.data.meshes import shape_targets
from jaxseg.metrics.mesh import Shape
from jaxseg.types import JaxsegError

KINDS = ("sphere", "box", "cylinder", "cone", "torus")
_STEPS = 28  # of a ray; what it has not met by then it passes by


class _Solid(NamedTuple):
    """``kind`` indexes KINDS; ``size`` are its measures in its own space, within a ball of radius 1; ``turn [3, 3]``
    takes that space to the picture's (x right, y down, z away), ``scale`` and ``centre`` to pixels."""

    kind: int
    size: tuple[float, ...]
    turn: np.ndarray
    scale: float
    centre: np.ndarray
    colour: np.ndarray


@dataclasses.dataclass(frozen=True)
class Solids:
    """Drawn solids, a source: ``len(source)``, ``source[i]``, ``things``.

    A sample depends on ``(seed, split, index)`` alone, to within rounding. It holds ``image`` uint8 [H, W, 3], ``name``
    and ``instances``: ``boxes`` [N, 4] around what is seen, ``classes`` [N] from 1, ``masks`` [N, H, W] bool;
    ``frames`` [N, 4], boxes around the whole solids, ``depths`` [N] in pixels, ``voxels`` [N, M, M, M] bool (z, y, x),
    which fill frame and depth; ``points`` and ``normals`` [N, P, 3] float32, drawn from the surfaces: pixels, z from 0
    in the middle of the solid's depth, away from the viewer.

    Args:
        split: ``"train"`` or ``"val"``: two streams of samples that share none.
        size: (H, W) in pixels, at least 32 each.
        length: how many samples; by default 4096 for train and 256 for val.
        seed: another seed, another data set.
        count: fewest and most solids in a picture. They do not overlap.
        voxels: M.
        points: P.
    """

    split: Literal["train", "val"] = "train"
    size: tuple[int, int] = (64, 64)
    length: int | None = None
    seed: int = 0
    count: tuple[int, int] = (1, 2)
    voxels: int = 24
    points: int = 1000

    def __post_init__(self) -> None:
        if self.split not in ("train", "val") or min(self.size) < 32 or min(self.voxels, self.points) < 1:
            raise JaxsegError(
                f"Solids(split={self.split!r}, size={self.size}, voxels={self.voxels}, points={self.points}): expected "
                "the split train or val, sides of at least 32 pixels, and at least one voxel and point"
            )

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the instance classes: class k is ``things[k - 1]``."""
        return KINDS

    classes = things

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw classes with."""
        return spread_colors(len(KINDS))

    def __len__(self) -> int:
        if self.length is not None:
            return self.length
        return 4096 if self.split == "train" else 256

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng, solids = self._arranged(index)
        pixels, masks = _drawn(self.size, solids, rng)
        seen = [n for n in range(len(solids)) if masks[n].any()]
        solids, masks = [solids[n] for n in seen], masks[seen]
        shapes = [_shape(s) for s in solids]
        voxels = [_voxels(s, shape, self.voxels) for s, shape in zip(solids, shapes, strict=True)]
        instances = {
            "boxes": tight_boxes(masks),
            "classes": np.array([s.kind + 1 for s in solids], np.int32),
            "masks": masks,
            "voxels": np.array(voxels, bool).reshape(-1, *[self.voxels] * 3),
            **shape_targets(shapes, self.points, rng),
        }
        return {"image": pixels, "instances": instances, "name": f"solids-{self.split}-{self.seed}-{index:06d}"}

    def shapes(self, index: int) -> list[tuple[int, Shape]]:
        """Class and exact mesh, in pixels, of each solid of a picture, which is not drawn."""
        return [(s.kind + 1, _shape(s)) for s in self._arranged(index)[1]]

    def _arranged(self, index: int) -> tuple[np.random.Generator, list[_Solid]]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        stream = np.random.SeedSequence([self.seed, int(self.split == "val"), int(index), 3])
        rng = np.random.Generator(np.random.Philox(stream))
        return rng, _arrange(self.size, self.count, rng)


def _arrange(size: tuple[int, int], count: tuple[int, int], rng: np.random.Generator) -> list[_Solid]:
    """So many solids that do not touch and lie within the picture."""
    height, width = size
    solids: list[_Solid] = []
    for _ in range(int(rng.integers(count[0], count[1] + 1))):
        kind, scale = int(rng.integers(len(KINDS))), min(size) * rng.uniform(0.17, 0.27)
        measures, turn, colour = _measures(kind, rng), _rotation(rng), rng.uniform(0.25, 1.0, 3)
        for _try in range(20):
            centre = rng.uniform((scale, scale), (width - scale, height - scale))
            if all(np.hypot(*(centre - s.centre[:2])) > 1.05 * (scale + s.scale) for s in solids):
                solids.append(_Solid(kind, measures, turn, scale, np.array([*centre, 0.0]), colour))
                break
    return solids


def _measures(kind: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Of a sphere its radius; of a box its half sides; of cylinder and cone radius and half height; of a torus both
    radii. Within a ball of radius 1."""
    if KINDS[kind] == "sphere":
        return (0.9,)
    if KINDS[kind] == "torus":
        small = rng.uniform(0.18, 0.28)
        return (0.98 - small, small)
    sides = rng.uniform(0.4, 1.0, 3 if KINDS[kind] == "box" else 2)
    return tuple((0.98 * sides / np.linalg.norm(sides)).tolist())


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """Any rotation, all alike likely (of a random unit quaternion)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _distance(kind: int, size: tuple[float, ...], p: np.ndarray) -> np.ndarray:
    """How far points ``[..., 3]`` of the solid's own space are from its surface, or less; negative within."""
    name = KINDS[kind]
    if name == "sphere":
        return np.linalg.norm(p, axis=-1) - size[0]
    if name == "box":
        return np.max(np.abs(p) - np.array(size), axis=-1)
    around = np.hypot(p[..., 0], p[..., 1])
    if name == "torus":
        return np.hypot(around - size[0], p[..., 2]) - size[1]
    radius, half = size
    if name == "cylinder":
        return np.maximum(around - radius, np.abs(p[..., 2]) - half)
    slope = np.hypot(2 * half, radius)  # the cone's tip is at z = half
    side = (around * 2 * half + (p[..., 2] - half) * radius) / slope
    return np.maximum(side, -half - p[..., 2])


def _drawn(size: tuple[int, int], solids: list[_Solid], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The picture [H, W, 3] uint8 and each solid's mask [N, H, W]."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] + 0.5
    low, high = rng.uniform(0.1, 0.9, (2, 3))
    across = rng.normal(size=2) / np.array([width, height])
    share = np.clip(0.5 + across[0] * (x - width / 2) + across[1] * (y - height / 2), 0, 1)[..., None]
    pixels = low + (high - low) * share
    light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, -0.2), -1.0])
    light /= np.linalg.norm(light)
    masks = np.zeros((len(solids), height, width), bool)
    for n, solid in enumerate(solids):
        reach = np.array([-1.02, 1.02]) * solid.scale
        x0, x1 = np.clip(solid.centre[0] + reach, 0, width).astype(int)
        y0, y1 = np.clip(solid.centre[1] + reach, 0, height).astype(int)
        part = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        hit, normal = _met(solid, x[part], y[part])
        shade = 0.3 + 0.7 * np.clip(normal @ light, 0, 1)
        pixels[part][hit] = (shade[..., None] * solid.colour)[hit]
        masks[n][part] = hit
    pixels = pixels + rng.normal(scale=0.015, size=pixels.shape)
    return np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8), masks


def _met(solid: _Solid, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether rays into the picture meet the solid, and its outward normal in the picture's space there."""
    start = np.stack([x - solid.centre[0], y - solid.centre[1], np.full(x.shape, -1.1 * solid.scale)], axis=-1)
    distance = functools.partial(_distance, solid.kind, solid.size)
    p, ray = start @ solid.turn / solid.scale, solid.turn[2]  # the picture's z in the solid's space
    for _ in range(_STEPS):
        p = p + np.minimum(distance(p), 0.3)[..., None] * ray
    hit = np.abs(distance(p)) < 0.02
    step = 1e-3 * np.eye(3)
    slope = np.stack([distance(p + e) - distance(p - e) for e in step], axis=-1)
    slope /= np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-9)
    return hit, slope @ solid.turn.T


@functools.lru_cache(maxsize=4096)
def _own_shape(kind: int, size: tuple[float, ...]) -> Shape:
    from trimesh import creation

    name = KINDS[kind]
    if name == "sphere":
        mesh = creation.icosphere(subdivisions=3, radius=size[0])
    elif name == "box":
        mesh = creation.box(extents=2 * np.array(size))
    elif name == "cylinder":
        mesh = creation.cylinder(radius=size[0], height=2 * size[1], sections=48)
    elif name == "cone":
        mesh = creation.cone(radius=size[0], height=2 * size[1], sections=48)
        mesh.apply_translation([0, 0, -size[1]])
    else:
        mesh = creation.torus(*size, major_sections=48, minor_sections=24)
    return Shape(np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int32))


def _shape(solid: _Solid) -> Shape:
    """Its mesh in the picture's pixels."""
    own = _own_shape(solid.kind, solid.size)
    vertices = own.vertices @ solid.turn.T * solid.scale + solid.centre
    middle = (vertices[:, 2].max() + vertices[:, 2].min()) / 2
    return Shape(vertices - np.array([0, 0, middle]), own.faces)


def _voxels(solid: _Solid, shape: Shape, side: int) -> np.ndarray:
    """``[M, M, M]`` bool (z, y, x): whether the middle of each cell of the box around ``shape`` is in the solid."""
    own = _own_shape(solid.kind, solid.size).vertices @ solid.turn.T[:, 2] * solid.scale
    shift = np.array([0, 0, (own.max() + own.min()) / 2])  # by which the mesh was moved to have its middle at 0
    low, high = shape.vertices.min(0), shape.vertices.max(0)
    steps = [low[a] + (np.arange(side) + 0.5) / side * (high[a] - low[a]) for a in range(3)]
    z, y, x = np.meshgrid(steps[2], steps[1], steps[0], indexing="ij")
    p = (np.stack([x, y, z], axis=-1) + shift - solid.centre) @ solid.turn / solid.scale
    return _distance(solid.kind, solid.size, p) < 0
