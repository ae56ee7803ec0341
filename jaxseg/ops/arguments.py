"""Reading of the arguments that the operations share: windows, strides, paddings, array ranks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax

from jaxseg.types import Array, JaxsegError

IntPair = int | tuple[int, int]
Padding = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


def pair(name: str, value: Any, least: int) -> tuple[int, int]:
    """``value`` or ``(value, value)`` as two whole numbers (rows, columns), none below ``least``."""
    two: Any = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(two) != 2 or not all((isinstance(v, int | np.integer) or not known(v)) and v >= least for v in two):
        raise JaxsegError(f"{name} is {value!r}; it must be an int or (rows, columns), each at least {least}")
    rows, columns = (int(v) if known(v) else v for v in two)
    return rows, columns


def known(*sizes: Any) -> bool:
    """Whether sizes are numbers, and not the letters of a program that is exported for any size (jax.export)."""
    return not any(export.is_symbolic_dim(n) for n in sizes)


def sides(name: str, value: Padding) -> tuple[tuple[int, int], tuple[int, int]]:
    """A padding as ``((top, bottom), (left, right))``; an int or ``(rows, columns)`` means both sides
    alike.
    """
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, tuple) for v in value):
        return pair(name, value[0], 0), pair(name, value[1], 0)
    rows, columns = pair(name, value, 0)
    return (rows, rows), (columns, columns)


def check_image(name: str, x: Array, rank: int | None = None, integers: bool = False) -> None:
    """Refuse what is not ``[H, W, C]`` (or of the given rank; None: any leading axes) and floating point."""
    wanted = {3: "[H, W, C]", 4: "[B, H, W, C]", None: "[..., H, W, C]"}[rank]
    if x.ndim != rank and (rank is not None or x.ndim < 3):
        how = "add or remove leading axes, or jax.vmap over them"
        raise JaxsegError(f"{name} has shape {x.shape}; expected {wanted}: {how}")
    if not jnp.issubdtype(x.dtype, jnp.floating) and not (integers and jnp.issubdtype(x.dtype, jnp.integer)):
        kinds = "floating point or integer" if integers else "floating point"
        raise JaxsegError(f"{name} is {x.dtype}; expected {kinds}: convert it with {name}.astype(jnp.float32)")
    if any(n < 1 for n in x.shape[-3:-1]):
        raise JaxsegError(f"{name} has shape {x.shape}: height and width must be at least 1")


def sum_dtype(x: Array) -> Any:
    """What sums of ``x`` are held in: float32, or float64 where ``x`` is."""
    return x.dtype if x.dtype.itemsize >= 4 else jnp.dtype(jnp.float32)


def vary_alike(*arrays: Array) -> tuple[Array, ...]:
    """Under ``shard_map``: mark replicated arrays (parameters) as varying over the axes that the others
    vary over.

    A custom gradient would otherwise hand back a gradient that differs between devices where a replicated
    one is due; the mark's own gradient is the sum over devices that is missing. Elsewhere it does nothing.
    """
    axes = frozenset().union(*map(_varying_axes, arrays))
    marked = []
    for a in arrays:
        missing = tuple(axes - _varying_axes(a))
        marked.append(lax.pcast(a, missing, to="varying") if missing else a)
    return tuple(marked)


def _varying_axes(x: Array) -> frozenset[str]:
    kind = jax.typeof(x)
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying  # jax renamed it in 0.10
