"""Shapes in space as files: OBJ, PLY and what else trimesh knows."""

import os
import pathlib

import numpy as np

from jaxseg.metrics.mesh import Shape
from jaxseg.types import JaxsegError


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
