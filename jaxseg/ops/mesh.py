"""Triangle meshes of fixed numbers of vertices and faces, some of which are none: made of voxels, sampled, compared."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import vary_alike
from jaxseg.types import Array, JaxsegError


class Mesh(NamedTuple):
    """``vertices [V, 3]``, (x, y, z); ``faces [F, 3]`` int32, places among them, counter-clockwise seen from outside;
    ``vertex_valid [V]`` and ``face_valid [F]``: which there are. The others are 0."""

    vertices: Array
    faces: Array
    vertex_valid: Array
    face_valid: Array


MOST_VERTICES = 2**16 - 1
"""Of a mesh whose neighbours are told: two places make one number of 32 bits."""

MOST_NEIGHBORS = 18
"""Of a vertex of :func:`cubify`: six along the axes and twelve across squares."""


def cubify(probabilities: Array, *, threshold: float = 0.2, squares: int, smooth: bool = False) -> Mesh:
    """The surface of the voxels whose probability is above ``threshold``: each is a cube, what two share is no surface,
    corners that meet are one vertex, and each square is two triangles (Gkioxari et al. 2019, section 3.2.1).

    The grid fills the cube of -1 to 1. V = 4 ``squares`` / 3 and F = 2 ``squares``, which is room enough for every
    surface of so many squares; of a larger one the squares that come last are left out, and it is not closed
    (:func:`surface_squares` counts them).

    Args:
      probabilities: ``[Gz, Gy, Gx]``.
      squares: how many there is room for; a solid cube of side G has 6 G^2.
      smooth: each vertex is moved to the mean of the places where, between the middles of neighbouring voxels around
        it, the interpolated probability is ``threshold`` (Gibson 1998, "Constrained elastic surface nets"): the
        vertices then have gradients toward the probabilities. Else, as in the paper, they have none.
    """
    if probabilities.ndim != 3 or squares < 1:
        raise JaxsegError(
            f"cubify: probabilities of shape {probabilities.shape} and {squares} squares; expected [Gz, Gy, Gx] and "
            "at least 1"
        )
    sides = probabilities.shape
    table = _squares_of(sides)
    lower, upper = _across(jnp.asarray(probabilities) > threshold)
    # Of squares that are none the index is one past the last, where the table has a row of its own.
    (index,) = jnp.nonzero(lower != upper, size=squares, fill_value=len(table) - 1)
    face_valid = index < len(table) - 1
    corners = jnp.asarray(table)[index]
    outward = jnp.append(lower, jnp.zeros(1, bool))[index]
    corners = jnp.where(outward[:, None], corners, corners[:, ::-1])

    places = int(np.prod([s + 1 for s in sides]))
    used = jnp.zeros(places, bool).at[corners.ravel()].max(jnp.repeat(face_valid, 4))
    (lattice,) = jnp.nonzero(used, size=-(-4 * squares // 3), fill_value=0)
    vertex_valid = jnp.arange(len(lattice)) < used.sum()
    number = (jnp.cumsum(used) - 1)[corners]
    # Squares that are not all of a surface may have more corners than there is room for.
    face_valid &= (number < len(lattice)).all(axis=1)
    quads = jnp.where(face_valid[:, None], number, 0).astype(jnp.int32)
    faces = quads[:, jnp.array([[0, 1, 2], [0, 2, 3]])].reshape(-1, 3)

    grid = jnp.asarray(np.indices([s + 1 for s in sides]).reshape(3, -1).T.astype(np.float32))[lattice]
    if smooth:
        grid = _crossings(jnp.asarray(probabilities, jnp.float32), grid, threshold)
    vertices = (2 * grid / jnp.array(sides, jnp.float32)[None] - 1)[:, ::-1]
    return Mesh(jnp.where(vertex_valid[:, None], vertices, 0), faces, vertex_valid, jnp.repeat(face_valid, 2))


def surface_squares(probabilities: Array, *, threshold: float = 0.2) -> Array:
    """How many squares the surface of :func:`cubify` has, int32."""
    lower, upper = _across(jnp.asarray(probabilities) > threshold)
    return jnp.sum((lower != upper).astype(jnp.int32))


def mesh_neighbors(faces: Array, face_valid: Array, count: int, most: int = MOST_NEIGHBORS) -> Array:
    """``[V, most]`` int32: the vertices that each of ``count`` shares an edge with, each once, ``count`` where there
    are no more. Of more than ``most`` some are left out.

    Args:
      faces: ``[F, 3]``, of which ``face_valid [F]`` are.
      count: at most 65535.
    """
    if count > MOST_VERTICES:
        raise JaxsegError(f"mesh_neighbors: {count} vertices; it knows up to {MOST_VERTICES}")
    ends = jnp.concatenate([faces, jnp.roll(faces, -1, axis=1)], axis=0).astype(jnp.uint32)
    others = jnp.concatenate([jnp.roll(faces, -1, axis=1), faces], axis=0).astype(jnp.uint32)
    # Both as one number: to sort pairs takes six times as long.
    pairs = jnp.where(jnp.tile(face_valid, 2)[:, None], ends * count + others, np.uint32(count * count)).ravel()
    pairs = lax.sort(pairs)
    ends, others = (x.astype(jnp.int32) for x in (pairs // count, pairs % count))
    first = (pairs != jnp.roll(pairs, 1)).at[0].set(True) & (ends < count)
    # The how-manieth neighbour of its vertex each is.
    before = jnp.cumsum(first) - 1
    start = jnp.full(count + 1, len(ends), before.dtype).at[ends].min(jnp.where(first, before, len(ends)))
    rank = jnp.where(first, before - start[ends], most)
    table = jnp.full((count + 1, most + 1), count, jnp.int32)
    return table.at[ends, jnp.minimum(rank, most)].set(others)[:count, :most]


@jax.custom_vjp
def neighbor_sum(features: Array, neighbors: Array) -> Array:
    """``[V, C]``: of each vertex the sum of its neighbours' ``features [V, C]``.

    Args:
      neighbors: ``[V, N]``, V for none (:func:`mesh_neighbors`). They are mutual, by which the gradient is this same
        sum and needs no scattering.
    """
    padded = jnp.concatenate([features, jnp.zeros_like(features[:1])])

    def add(total: Array, column: Array) -> tuple[Array, None]:
        return total + padded.at[column].get(mode="promise_in_bounds"), None

    # As a loop, or XLA sums anew for everything that is made of the sum: a gradient takes six times as long.
    start, columns, _ = vary_alike(jnp.zeros_like(features), neighbors.T, features)
    return lax.scan(add, start, columns, unroll=6)[0]


def _sum_forward(features: Array, neighbors: Array) -> tuple[Array, Array]:
    return neighbor_sum(features, neighbors), neighbors


def _sum_backward(neighbors: Array, g: Array) -> tuple[Array, None]:
    return neighbor_sum(g, neighbors), None


neighbor_sum.defvjp(_sum_forward, _sum_backward)


def vertex_align(features: Array, vertices: Array) -> Array:
    """``[V, C]``: of ``features [h, w, C]``, which fill the square of -1 to 1, what lies at the vertices' x and y,
    interpolated bilinearly; beyond the middles of the outermost cells theirs is repeated (Gkioxari et al. 2019, section
    3.2.2, "vertex alignment")."""
    h, w = features.shape[:2]
    down, across = _hats(vertices[:, 1], h), _hats(vertices[:, 0], w)
    # A product of matrices, few cells being there to read from: its gradient needs no scattering.
    share = (down[:, :, None] * across[:, None, :]).reshape(-1, h * w).astype(features.dtype)
    return jnp.matmul(share, features.reshape(h * w, -1), precision="highest")


def _hats(at: Array, size: int) -> Array:
    """``[V, size]``: the share of each of ``size`` cells, which fill -1 to 1, in what lies at ``at [V]``."""
    at = jnp.clip((at + 1) * (size / 2) - 0.5, 0, size - 1)
    low = jnp.minimum(lax.stop_gradient(jnp.floor(at)), max(size - 2, 0))
    cell, rest = jnp.arange(size, dtype=at.dtype)[None] - low[:, None], (at - low)[:, None]
    return jnp.where(cell == 0, 1 - rest, jnp.where(cell == 1, rest, 0))


def sample_surface(key: Array, mesh: Mesh, count: int) -> tuple[Array, Array]:
    """Points ``[count, 3]`` evenly spread over a mesh's surface, and the unit normals ``[count, 3]`` of their faces.

    A face is drawn by its area, and in it ``p = (1 - sqrt(a)) v1 + sqrt(a) (1 - b) v2 + sqrt(a) b v3`` of uniform a
    and b (Gkioxari et al. 2019, section 3.3; Smith et al. 2019), differentiable toward the vertices. A mesh without
    area gives points of 0 and normals of 0.
    """
    corners = mesh.vertices[mesh.faces]
    across = jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across = jnp.where(mesh.face_valid[:, None], across, 0)
    areas = jnp.cumsum(jnp.sqrt(lax.stop_gradient(jnp.sum(across**2, axis=1))))
    which, spread = jax.random.split(key)
    drawn = jax.random.uniform(which, (count,)) * areas[-1]
    face = jnp.minimum(jnp.searchsorted(areas, drawn, side="right"), len(areas) - 1)
    a, b = jax.random.uniform(spread, (2, count, 1))
    a = jnp.sqrt(a)
    v1, v2, v3 = (corners[face, i] for i in range(3))
    there = areas[-1] > 0
    points = jnp.where(there, (1 - a) * v1 + a * (1 - b) * v2 + a * b * v3, 0)
    return points, unit(across[face])


def unit(x: Array) -> Array:
    """``[..., 3]`` made of length 1; 0 stays 0, with a gradient of 0."""
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    there = square > 0
    return jnp.where(there, x / jnp.sqrt(jnp.where(there, square, 1)), 0)


def nearest_points(points: Array, others: Array, *, block: int = 1024) -> Array:
    """``[P]`` int32: of each of ``points [P, 3]`` the nearest of ``others [Q, 3]``; the first of those equally near.

    By all P Q distances, ``block`` points at a time, so that memory is ``block * Q``. No gradient.
    """
    points, others = (lax.stop_gradient(jnp.asarray(x, jnp.float32)) for x in (points, others))
    squares = jnp.sum(others**2, axis=1)

    def near(part: Array) -> Array:
        product = jnp.matmul(part, others.T, precision="highest")
        return jnp.argmin(squares[None] - 2 * product, axis=1).astype(jnp.int32)

    if len(points) <= block:
        return near(points)
    padded = jnp.pad(points, ((0, -len(points) % block), (0, 0))).reshape(-1, block, 3)
    return lax.map(near, padded).reshape(-1)[: len(points)]


def _across(solid: Array) -> tuple[Array, Array]:
    """Of every square between two voxels, those of z, then y, then x: whether the one below it on its axis is solid,
    and the one above."""
    lower: list[Array] = []
    upper: list[Array] = []
    for axis in range(3):
        pad = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        padded = jnp.pad(solid, pad)
        lower.append(lax.slice_in_dim(padded, 0, -1, axis=axis).ravel())
        upper.append(lax.slice_in_dim(padded, 1, None, axis=axis).ravel())
    return jnp.concatenate(lower), jnp.concatenate(upper)


def _squares_of(sides: tuple[int, ...]) -> np.ndarray:
    """``[squares + 1, 4]`` int32: the lattice places of each square's corners, in the order of :func:`_across`,
    counter-clockwise seen from above on its axis (x, y and z being a right-handed system); the last row is of none."""
    steps = np.array([(sides[1] + 1) * (sides[2] + 1), sides[2] + 1, 1])
    rows: list[np.ndarray] = []
    for axis in range(3):
        shape = [s + (a == axis) for a, s in enumerate(sides)]
        start = np.tensordot(steps, np.indices(shape), 1).ravel()
        # z: x then y; y: z then x; x: y then z. Axes count z, y, x.
        u, v = {0: (2, 1), 1: (0, 2), 2: (1, 0)}[axis]
        rows.append(start[:, None] + np.array([0, steps[u], steps[u] + steps[v], steps[v]])[None])
    return np.concatenate([*rows, np.zeros((1, 4), np.int64)]).astype(np.int32)


def _crossings(probabilities: Array, grid: Array, threshold: float) -> Array:
    """Lattice points ``grid [V, 3]`` (z, y, x, in voxels) moved onto the surface of ``threshold``."""
    padded = jnp.pad(probabilities, 1)
    steps = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    around = np.array(list(np.ndindex(2, 2, 2)))  # of a lattice point the eight voxels, the padding counted
    pairs = [(a, b) for a in range(8) for b in range(8) if sorted(around[b] - around[a]) == [0, 0, 1]]
    first, second = np.array(pairs).T  # the twelve that are neighbours
    corner = jnp.sum(grid.astype(jnp.int32) * steps[None], axis=1)
    value = padded.ravel()[corner[None] + np.sum(around * steps, axis=1)[:, None]]  # [8, V]
    low, high = value[first], value[second]
    crosses = (low > threshold) != (high > threshold)
    share = jnp.where(crosses, (threshold - low) / jnp.where(crosses, high - low, 1), 0)
    begin, along = (x[:, None].astype(np.float32) for x in (around[first] - 0.5, around[second] - around[first]))
    moved = jnp.sum(jnp.where(crosses[..., None], begin + share[..., None] * along, 0), axis=0)
    return grid + moved / jnp.maximum(jnp.sum(crosses, axis=0, dtype=jnp.float32), 1)[:, None]
