"""Shapes in space: as targets to learn, and as files, OBJ, PLY and what else trimesh knows."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxseg.metrics.mesh import Shape, surface_points
from jaxseg.types import JaxsegError


def shape_targets(shapes: Sequence[Shape], points: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What instances hold of their shapes, in pixels, but for voxels: ``frames`` [N, 4], the boxes around them,
    ``depths`` [N], ``points`` and ``normals`` [N, ``points``, 3], drawn from their surfaces; all float32."""
    low, high = (np.array([how(s.vertices, 0) for s in shapes]).reshape(-1, 3) for how in (np.min, np.max))
    drawn = np.array([surface_points(s, points, rng) for s in shapes], np.float32).reshape(-1, 2, points, 3)
    return {
        "frames": np.concatenate([low[:, :2], high[:, :2]], axis=1).astype(np.float32),
        "depths": (high - low)[:, 2].astype(np.float32),
        "points": drawn[:, 0],
        "normals": drawn[:, 1],
    }


def write_mesh(file: str | os.PathLike, shape: Shape) -> pathlib.Path:
    """``shape``, whose y is down and z away from the viewer, as pictures have them, written with y up and z toward the
    viewer, as programs that show meshes have them. The format is that of the file's ending, ``.obj`` or ``.ply``.

    Vertices of no face are left out.

    Raises:
        JaxsegError: another ending.
    """
    import trimesh

    path = pathlib.Path(file)
    if path.suffix not in (".obj", ".ply"):
        raise JaxsegError(f"{path}: meshes are written as .obj or .ply")
    vertices = np.asarray(shape.vertices, np.float64) * np.array([1, -1, -1])
    mesh = trimesh.Trimesh(vertices, shape.faces, process=False)
    mesh.remove_unreferenced_vertices()
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh.export(path)
    return path


def read_mesh(file: str | os.PathLike) -> Shape:
    """The vertices and triangles of a file, its parts joined, as they stand there.

    Raises:
        JaxsegError: it can't be read, or holds no triangle.
    """
    import trimesh

    try:
        mesh = trimesh.load_mesh(os.fspath(file), process=False)
        vertices, faces = np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int32)
    except Exception as error:
        raise JaxsegError(
            f"{os.fspath(file)}: {type(error).__name__}: {error}; expected a mesh such as .obj"
        ) from error
    if not len(faces):
        raise JaxsegError(f"{os.fspath(file)}: holds no triangles")
    return Shape(vertices, faces)
