"""Reading and writing at computed places as ONNX has it: along the first axis only.

XLA's gather and scatter take places in any axes, windows and batches; here all places are counted in one flat array.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import jax.numpy as jnp
from jax import lax


def gather(operand: Any, indices: Any, p: dict[str, Any]) -> Any:
    """What ``lax.gather`` gives with the parameters ``p`` of its equation."""
    d, sizes, shape = p["dimension_numbers"], p["slice_sizes"], operand.shape
    windowed = [a for a in range(operand.ndim) if a not in (*d.collapsed_slice_dims, *d.operand_batching_dims)]
    rank = indices.ndim - 1 + len(windowed)
    batch = [a for a in range(rank) if a not in d.offset_dims]
    result = _result_shape(indices.shape[:-1], batch, [sizes[a] for a in windowed], d.offset_dims)
    places, inside = _places(
        shape, sizes, indices, batch, dict(zip(windowed, d.offset_dims)), d.start_index_map,
        dict(zip(d.operand_batching_dims, d.start_indices_batching_dims)), result,
    )  # fmt: skip
    # Axes at the end that are taken whole move as one row.
    whole = operand.ndim
    while whole and _is_whole(whole - 1, windowed, d, sizes, shape, rank, operand.ndim):
        whole -= 1
    flat = _flat(places[:whole], shape[:whole], result[: rank - (operand.ndim - whole)])
    rows = lax.reshape(operand, (prod(shape[:whole]), *shape[whole:]))
    found = _take(rows, flat)
    if p["mode"] == lax.GatherScatterMode.FILL_OR_DROP:
        fill = p["fill_value"]
        if fill is None:
            fill = jnp.nan if jnp.issubdtype(operand.dtype, jnp.inexact) else 0
        found = lax.select(_spread(inside, result), found, lax.full_like(found, fill))
    return found


SCATTERS = {
    "scatter": lax.scatter,
    "scatter-add": lax.scatter_add,
    "scatter-min": lax.scatter_min,
    "scatter-max": lax.scatter_max,
}


def scatter(name: str, operand: Any, indices: Any, updates: Any, p: dict[str, Any]) -> Any:
    """What the operation of that ``name`` gives, with the parameters ``p`` of its equation."""
    d, shape = p["dimension_numbers"], operand.shape
    windowed = [a for a in range(operand.ndim) if a not in (*d.inserted_window_dims, *d.operand_batching_dims)]
    window = dict(zip(windowed, d.update_window_dims))
    sizes = [updates.shape[window[a]] if a in window else 1 for a in range(operand.ndim)]
    batch = [a for a in range(updates.ndim) if a not in d.update_window_dims]
    places, inside = _places(
        shape, sizes, indices, batch, window, d.scatter_dims_to_operand_dims,
        dict(zip(d.operand_batching_dims, d.scatter_indices_batching_dims)), updates.shape,
        clip=p["mode"] == lax.GatherScatterMode.CLIP,
    )  # fmt: skip
    flat = _flat(places, shape, updates.shape)
    # What falls beside the array goes to a place after its end, which is then cut off.
    flat = lax.select(_spread(inside, updates.shape), flat, lax.full_like(flat, prod(shape)))
    room = lax.concatenate([lax.reshape(operand, (prod(shape),)), lax.full((1,), 0, operand.dtype)], 0)
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    flat, updates = lax.reshape(flat, (updates.size, 1)), lax.reshape(updates, (updates.size,))
    written = SCATTERS[name](room, flat, updates, numbers, mode="promise_in_bounds")
    return lax.reshape(lax.slice(written, (0,), (prod(shape),)), shape)


def _places(
    shape: Sequence[int],
    sizes: Sequence[int],
    indices: Any,
    batch: list[int],
    window: dict[int, int],
    mapped: Sequence[int],
    batching: dict[int, int],
    result: Sequence[int],
    clip: bool = True,
) -> tuple[list[Any], Any]:
    """For each axis of the operand the place of every element of ``result`` (of its rank, to be broadcast), and which
    windows lie inside."""
    starts, inside = {}, None
    for k, axis in enumerate(mapped):
        start = lax.index_in_dim(indices, k, indices.ndim - 1, keepdims=False)
        start = lax.broadcast_in_dim(
            start.astype(jnp.int32), [n if a in batch else 1 for a, n in enumerate(result)], batch
        )
        last = jnp.int32(shape[axis] - sizes[axis])
        fits = (start >= 0) & (start <= last)
        inside = fits if inside is None else inside & fits
        starts[axis] = lax.clamp(jnp.int32(0), start, last) if clip else start
    places = []
    for axis in range(len(shape)):
        place = starts.get(axis)
        if axis in batching:
            place = _count(batch[batching[axis]], result)
        if axis in window and sizes[axis] > 1:
            offset = _count(window[axis], result)
            place = offset if place is None else place + offset
        places.append(place)
    return places, inside


def _flat(places: Sequence[Any], shape: Sequence[int], result: Sequence[int]) -> Any:
    """Row-major places in an array of ``shape``, for every element of ``result``."""
    total = lax.full(result, 0, jnp.int32)
    for axis, place in enumerate(places):
        if place is not None:
            place = lax.reshape(place, place.shape[: len(result)]) if place.ndim > len(result) else place
            total = total + _spread(place, result) * jnp.int32(prod(shape[axis + 1 :]))
    return total


def _take(rows: Any, places: Any) -> Any:
    numbers = lax.GatherDimensionNumbers(tuple(range(places.ndim, places.ndim + rows.ndim - 1)), (0,), (0,))
    sizes = (1, *rows.shape[1:])
    return lax.gather(rows, lax.expand_dims(places, [places.ndim]), numbers, sizes, mode="clip")


def _is_whole(axis: int, windowed: list[int], d: Any, sizes: Any, shape: Any, rank: int, ndim: int) -> bool:
    if axis not in windowed or axis in d.start_index_map or sizes[axis] != shape[axis]:
        return False
    return d.offset_dims[windowed.index(axis)] == rank - (ndim - axis)


def _count(axis: int, result: Sequence[int]) -> Any:
    shape = [n if a == axis else 1 for a, n in enumerate(result)]
    return lax.reshape(lax.iota(jnp.int32, result[axis]), shape)


def _spread(x: Any, shape: Sequence[int]) -> Any:
    return lax.broadcast_in_dim(x, tuple(shape), tuple(range(x.ndim)))


def _result_shape(lead: Sequence[int], batch: list[int], windows: list[int], offset: Sequence[int]) -> tuple[int, ...]:
    shape = dict(zip(batch, lead)) | dict(zip(offset, windows))
    return tuple(shape[a] for a in range(len(shape)))
