"""High-dimensional Gaussian filtering on the permutohedral lattice, with static shapes.

    y[i] = sum_j k(f_i, f_j) x[j],      k(f, g) ~ exp(-|f - g|^2 / 2)

in time linear in the number of points N, for features of any number d of dimensions (position and colour: a bilateral
filter). Each point is spread over the C = d + 1 corners of the simplex that it lies in, corners are blurred along the
C directions of the lattice, and each point reads its corners again (Adams, Baek and Davis, 2010, "Fast
high-dimensional filtering using the permutohedral lattice"). As in Krähenbühl and Koltun's code, and so in pydensecrf,
only vertices that touch a point exist: the kernel is that approximation's, a few per cent off the Gaussian.

Shapes depend on N, d and ``max_vertices`` alone. Vertices are found by sorting, not in a hash table: a corner's place
in the lattice is one number, so that sorted (place, point) pairs give the vertices, in an order that keeps neighbours
near each other, and the points of each vertex. These lists make of spreading a sum over gathered rows, where a
scatter would take ten times as long on a CPU.

Letters: N points, d dimensions, C = d + 1 corners of a simplex and directions of the lattice, V ``max_vertices``,
M slots of T points, L channels.
"""

from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxseg.types import Array, JaxsegError

_SLOT = 8  # T: points summed at once; a vertex fills its last slot with zeros
CHUNK = 1 << 14  # slots summed at a time: what their sums take stays in the processor's cache
_STRIDE = 16  # S: one neighbour in so many is looked for among all vertices
_BITS = 62  # of a corner's place and its point, as one whole number


class Lattice(NamedTuple):
    """Where points lie in the lattice, and who their neighbours are. Row V of any table of vertices is all zero.

    The numbers of vertices are those of the points' simplices, and how many of them found no room.
    """

    corners: Array  # [C, N] the vertex at each corner; V where it found no room
    weights: Array  # [C, N] barycentric, sum 1 over C; the only part with a gradient
    points: Array  # [M, T] those in each slot, which all touch one vertex
    shares: Array  # [M, T] their weights there; 0 where the slot is empty
    owners: Array  # [M] the vertex of each slot, ascending
    neighbours: Array  # [C, 2, V + 1] before and behind, along each direction
    num_vertices: Array  # []
    num_dropped: Array  # []


def build_lattice(features: Array, *, max_vertices: int | None = None) -> Lattice:
    """Place points in the lattice. Differentiable in ``features`` through ``weights``.

    Args:
      features: ``[N, d]`` floating point, in units of the kernel's standard deviation.
      max_vertices: V, room for vertices. None: as many as there are, where called outside of ``jit`` (rounded up, so
        that few programs are compiled); N / 4, at least 4096, inside it. There are at most ``(d + 1) * N``.

    Returns:
      A :class:`Lattice`. If ``num_dropped`` is not 0, what the filter gives is wrong.

    Raises:
      JaxsegError: a rank or dtype that does not fit; called outside of ``jit``: features that spread so far
        (in the order of ``10**(13 / d)`` standard deviations in each dimension) that places overflow 62 bits.
    """
    if features.ndim != 2 or not jnp.issubdtype(features.dtype, jnp.floating):
        raise JaxsegError(
            f"features are {features.dtype} of shape {features.shape}; expected floating point [N, d]: reshape an "
            "image's [H, W, d] to [H * W, d]"
        )
    n, d = features.shape
    if not (n and d):
        raise JaxsegError(f"features have shape {features.shape}; a lattice needs a point and a dimension")
    found = cast(_Found, _find_vertices(features.astype(jnp.float32)))
    if max_vertices is None:
        max_vertices = _room(found.num_vertices, n, d)
    if max_vertices < 1:
        raise JaxsegError(f"max_vertices is {max_vertices}; it must be at least 1")
    lattice = cast(Lattice, _connect(found, min(max_vertices, (d + 1) * n)))
    # Programs that are not waited for take their memory while those before them still have theirs.
    return lattice if isinstance(lattice.corners, Tracer) else jax.block_until_ready(lattice)


class _Found(NamedTuple):
    """The corners of all points, class by class (corner c of every simplex lies in class c), sorted by place."""

    weights: Array  # [C, N] in the points' order
    points: Array  # [C, N] whose corner it is
    ids: Array  # [C, N] number of its vertex, over all classes
    places: tuple[Array, Array]  # [C, N] upper and lower 32 bits of the vertex's place in its class
    steps: tuple[Array, Array]  # [C, C] from a place to that of its neighbour behind: by class, by direction
    ends: Array  # [C] vertices up to and with this class
    num_vertices: Array  # []; far above any true number where places would overflow


@jax.jit
def _find_vertices(features: Array) -> _Found:
    n, d = features.shape
    first_corner, rank, weights = _simplices(features)
    # Coordinates of corner c, over C: the first corner's, less 1 where the rank is at least C - c. One cell on each
    # side stays empty, so that a step out of the box meets no vertex.
    low = jnp.min(first_corner[:d], axis=1) - 2
    extent = jnp.max(first_corner[:d], axis=1) - low + 2
    point_bits = (n - 1).bit_length()
    fits = jnp.sum(jnp.log2(extent.astype(jnp.float32))) < _BITS - point_bits
    with jax.enable_x64(True):
        stride = jnp.cumprod(jnp.concatenate([jnp.ones(1, jnp.int64), extent[: d - 1].astype(jnp.int64)]))
        stride = jnp.concatenate([stride, jnp.zeros(1, jnp.int64)])  # the last coordinate follows from the others
        place = jnp.sum((first_corner[:d] - low[:, None]).astype(jnp.int64) * stride[:d, None], axis=0)
        point = lax.iota(jnp.int64, n)
        columns: list[Array] = []
        for c in range(d + 1):  # one sort each, so that they run side by side
            if c:
                place = place - jnp.sum(jnp.where(rank == d + 1 - c, stride[:, None], 0), axis=0)
            columns.append(lax.sort(place << point_bits | point, is_stable=False))
        points = jnp.stack([(x & (1 << point_bits) - 1).astype(jnp.int32) for x in columns])
        places = jnp.stack([x >> point_bits for x in columns])
        is_first = jnp.concatenate([jnp.ones((d + 1, 1), bool), places[:, 1:] != places[:, :-1]], axis=1)
        # Behind, along direction j: all coordinates of the lattice + 1, but j's - d. From class c that is class c + 1,
        # its j-th coordinate (over C) less 1; from the last class it is the first, all but the j-th more by 1.
        ahead = jnp.broadcast_to(-stride, (d, d + 1))
        steps = _halves(jnp.concatenate([ahead, (jnp.sum(stride) - stride)[None]]))
        halves = _halves(places)
    number = jnp.cumsum(is_first.astype(jnp.int32), axis=1)
    ends = jnp.cumsum(number[:, -1])
    ids = number - 1 + (ends - number[:, -1])[:, None]
    most = jnp.iinfo(jnp.int32).max
    return _Found(weights, points, ids, halves, steps, ends, jnp.where(fits, ends[-1], most))


def _simplices(features: Array) -> tuple[Array, Array, Array]:
    """The simplex of each point: its first corner over C ``[C, N]``, the ranks of the point's coordinates relative to
    it, falling, ``[C, N]``, and barycentric weights by corner ``[C, N]`` (Adams et al. 2010, section 3)."""
    d = features.shape[1]
    c = d + 1
    upper = np.triu(np.ones((c, d))) - np.eye(c, d, -1) * np.arange(c)[:, None]
    scale = np.sqrt(2 / 3) * c / np.sqrt(np.arange(1, c) * np.arange(2, c + 1))
    plane = lax.dot_general(
        jnp.asarray(upper * scale, jnp.float32), features, (((1,), (1,)), ((), ())), precision="highest"
    )  # [C, N]
    whole = jnp.round(plane * (1 / c))
    rest = plane - whole * c
    earlier = jnp.asarray(np.tri(c, k=-1, dtype=bool))[:, :, None]
    above = (rest[:, None] < rest[None]) | ((rest[:, None] == rest[None]) & earlier)  # [C, C, N]
    rank = jnp.sum(above, axis=1, dtype=jnp.int32) + jnp.sum(whole, axis=0, keepdims=True).astype(jnp.int32)
    wrapped = (rank < 0).astype(jnp.int32) - (rank > d).astype(jnp.int32)
    rank = rank + c * wrapped
    first_corner = whole.astype(jnp.int32) + wrapped
    offset = (plane - (first_corner * c).astype(jnp.float32)) * (1 / c)
    by_rank = jnp.sum(jnp.where(rank[None] == np.arange(c)[:, None, None], offset[None], 0.0), axis=1)  # [C, N]
    return first_corner, rank, jnp.concatenate([by_rank[-1:] + 1 - by_rank[:1], by_rank[-2::-1] - by_rank[:0:-1]])


@partial(jax.jit, static_argnames="room")
def _connect(found: _Found, room: int) -> Lattice:
    """The lists of points of each vertex, and the vertices' neighbours, among the first ``room`` vertices."""
    c, n = found.points.shape
    ids = jnp.minimum(found.ids, room)
    corners = jnp.stack(
        [
            jnp.zeros(n, jnp.int32).at[points].set(of_class, unique_indices=True, mode="promise_in_bounds")
            for points, of_class in zip(found.points, ids)
        ]
    )
    flat = ids.reshape(-1)
    place = lax.iota(jnp.int32, c * n)
    is_first = jnp.concatenate([jnp.ones(1, bool), flat[1:] != flat[:-1]])
    start = jnp.full(room + 1, c * n, jnp.int32)
    start = start.at[jnp.where(is_first, flat, room + 1)].set(place, mode="drop")
    entries, owners = _slots(found.points, flat, start)
    shares = jnp.where(entries < 0, 0.0, lax.stop_gradient(found.weights).reshape(-1)[jnp.maximum(entries, 0)])
    behind = _behind(found, start)
    before = jnp.full((c, room + 1), room, jnp.int32)
    before = jnp.stack([b.at[to].set(lax.iota(jnp.int32, room), mode="drop") for b, to in zip(before, behind)])
    before = before.at[:, room].set(room)
    behind = jnp.pad(behind, ((0, 0), (0, 1)), constant_values=room)
    return Lattice(
        corners=corners,
        weights=found.weights,
        points=jnp.maximum(entries, 0) % n,
        shares=shares,
        owners=owners,
        neighbours=jnp.stack([before, behind], axis=1),
        num_vertices=found.num_vertices,
        num_dropped=jnp.maximum(found.num_vertices - room, 0),
    )


def _slots(points: Array, vertex: Array, start: Array) -> tuple[Array, Array]:
    """Entries ``c * N + n`` cut into slots of T of one vertex each, -1 where empty, and the slots' vertices.

    ``vertex [C * N]`` ascends; those of vertex v begin at ``start[v]``, and what found no room at ``start[V]``.
    """
    c, n = points.shape
    room = len(start) - 1
    filled = -(-(start[1:] - start[:-1]) // _SLOT)
    first = jnp.cumsum(filled) - filled
    number = room + c * n // _SLOT  # never more: each vertex has one slot that is not full
    number = number if number <= CHUNK else -(-number // CHUNK) * CHUNK
    shift = jnp.append(first * _SLOT - start[:-1], number * _SLOT)
    at = lax.iota(jnp.int32, c * n) + shift[vertex]
    entries = (points + n * np.arange(c, dtype=np.int32)[:, None]).reshape(-1)
    slots = jnp.full(number * _SLOT, -1, jnp.int32).at[at].set(entries, unique_indices=True, mode="drop")
    begins = jnp.zeros(number, jnp.int32).at[first].add((filled > 0).astype(jnp.int32), mode="drop")
    return slots.reshape(number, _SLOT), jnp.cumsum(begins) - 1


def _behind(found: _Found, start: Array) -> Array:
    """The vertex one step behind each, [C, V] by direction; V where there is none.

    A step is the same for all vertices of a class, which ascend, so that what they step to ascends, too: one in S is
    looked for among all vertices of its class, by bisection, and those between only between its place and the next's.
    """
    c = len(found.points)
    room = len(start) - 1
    vertex = lax.iota(jnp.int32, -(-room // _STRIDE) * _STRIDE)
    ends = jnp.minimum(found.ends, room)
    kind = jnp.minimum(jnp.sum(vertex[:, None] >= ends[None], axis=1, dtype=jnp.int32), c - 1)  # [V] the class
    # What is looked for lies in the class after. With the first class put last, that ascends over all classes.
    begin = (jnp.append(ends[:-1], room) - ends[0])[kind]
    end = (jnp.append(ends[1:], room + ends[0]) - ends[0])[kind]
    is_vertex = vertex < ends[-1]
    with jax.enable_x64(True):
        places = _whole(found.places).reshape(-1)[jnp.minimum(start[:-1], found.points.size - 1)]
        there = jnp.roll(places, -ends[0])

        def along(steps: Array) -> Array:
            wanted = jnp.pad(places, (0, len(vertex) - room)) + steps[kind]
            wanted = jnp.where(is_vertex, wanted, jnp.iinfo(jnp.int64).max)
            strided = _first_not_below(there, wanted[::_STRIDE], begin[::_STRIDE], end[::_STRIDE])
            low, high = (jnp.repeat(x, _STRIDE) for x in (strided, jnp.append(strided[1:], room)))
            at = _first_not_below(there, wanted, jnp.maximum(low, begin), jnp.minimum(high, end))
            exists = (at < end) & is_vertex & (there[jnp.minimum(at, room - 1)] == wanted)
            return jnp.where(exists, (at + ends[0]) % room, room)[:room]

        # One direction after another: together they would need C times the memory, and be no faster.
        return lax.map(along, _whole(found.steps).T)


def _first_not_below(ascending: Array, wanted: Array, low: Array, high: Array) -> Array:
    """The first i in ``low <= i < high`` with ``ascending[i] >= wanted``, or ``high``, by bisection."""

    def halve(_: int, between: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = between
        middle = (low + high) // 2
        is_below = ascending[jnp.minimum(middle, len(ascending) - 1)] < wanted
        is_open = low < high
        return jnp.where(is_open & is_below, middle + 1, low), jnp.where(is_open & ~is_below, middle, high)

    rounds = 32 - lax.clz(jnp.max(high - low))
    return lax.fori_loop(0, rounds, halve, (low, high))[0]


def _halves(whole: Array) -> tuple[Array, Array]:
    """64-bit numbers as two 32-bit ones: outside of ``enable_x64`` there are no others."""
    return (whole >> 32).astype(jnp.int32), (whole & 0xFFFFFFFF).astype(jnp.uint32)


def _whole(halves: tuple[Array, Array]) -> Array:
    return halves[0].astype(jnp.int64) << 32 | halves[1].astype(jnp.int64)


def _room(num_vertices: Array, n: int, d: int) -> int:
    """Room for all vertices, rounded up to eighths of a power of two; a guess where their number is not known yet."""
    if isinstance(num_vertices, Tracer):
        return max(n // 4, 4096)
    found = int(num_vertices)
    if found > (d + 1) * n:
        raise JaxsegError(
            f"the features of the {n} points spread too far for a lattice of {d} dimensions: divide them by larger "
            "standard deviations"
        )
    step = max(1 << max(found.bit_length() - 4, 0), 64)
    return -(-found // step) * step
