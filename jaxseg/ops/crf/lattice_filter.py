"""Filtering on a lattice: spread, blur, read; its normalisations; its gradient by the same filter turned round."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.crf.lattice import CHUNK, Lattice
from jaxseg.types import Array, JaxsegError

Normalization = Literal["symmetric", "before", "after", "none"]


class Kernel(NamedTuple):
    """A lattice with its normalisation, ``K = diag(after) S' B S diag(before)``."""

    lattice: Lattice  # its slots' shares are times ``before``
    before: Array  # [N, 1]
    after: Array  # [N, 1]
    shares_back: Array | None  # [M, T]: times ``after``, for the transposed kernel; None where both ends are alike


def lattice_filter(lattice: Lattice, values: Array, *, normalization: Normalization = "none") -> Array:
    """Filter values that lie at the lattice's points: ``y[i] = sum_j k(f_i, f_j) x[j]``, the point itself among them.

    ``normalization``, with ``n = K 1``: "symmetric" ``n^-1/2 K n^-1/2 x``, "before" ``K (x / n)``, "after"
    ``(K x) / n`` (a weighted mean: the bilateral filter), "none" ``K x``; named as pydensecrf does.

    Args:
      lattice: of :func:`build_lattice`.
      values: ``[N, L]`` floating point.
      normalization: one of the four.

    Returns:
      ``[N, L]``, dtype of ``values``; computed in float32. Differentiable in ``values`` and in ``lattice.weights``.

    Raises:
      JaxsegError: shapes that do not fit each other, or another normalization.
    """
    n = lattice.weights.shape[1]
    if values.ndim != 2 or values.shape[0] != n:
        raise JaxsegError(f"values have shape {values.shape}; the lattice has {n} points: expected [{n}, L]")
    return apply_kernel(True, make_kernel(lattice, normalization), values.astype(jnp.float32)).astype(values.dtype)


def make_kernel(lattice: Lattice, normalization: Normalization) -> Kernel:
    """A lattice with its norm, which takes one filtering of ones."""
    one = jnp.ones((lattice.weights.shape[1], 1))
    total = apply_kernel(True, Kernel(lattice, one, one, None), one)
    before, after = norms(total, normalization)
    back = None if after is before else lattice.shares * after[lattice.points, 0]
    return Kernel(lattice._replace(shares=lattice.shares * before[lattice.points, 0]), before, after, back)


def norms(total: Array, normalization: Normalization) -> tuple[Array, Array]:
    """What to multiply by before and after the kernel, given ``total = K 1``, each like ``total [N, 1]``."""
    if normalization not in get_args(Normalization):
        raise JaxsegError(f"normalization is {normalization!r}; it can be one of {', '.join(get_args(Normalization))}")
    one = jnp.ones_like(total)
    if normalization == "none":
        return one, one
    norm = _once(lambda n: (n + 1e-20) ** (-0.5 if normalization == "symmetric" else -1.0), total)
    return {"symmetric": (norm, norm), "before": (norm, one), "after": (one, norm)}[normalization]


def _once(f: Callable[[Array], Array], x: Array) -> Array:
    """``f(x)``, elementwise, in a loop, whose input and result exist as arrays: XLA's CPU compiler would otherwise
    compute both anew wherever they are used."""
    rows = jnp.pad(x.reshape(-1), (0, -x.size % 8), constant_values=1).reshape(8, -1)
    return lax.map(f, rows).reshape(-1)[: x.size].reshape(x.shape)


def apply_kernel(widths: bool, kernel: Kernel, values: Array) -> Array:
    """``K x`` for ``values [N, L]``. Without ``widths`` the kernel has no gradient, and nothing is kept for one."""
    result: Any = _apply(widths, kernel, values)
    return result


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _apply(widths: bool, kernel: Kernel, values: Array) -> Array:
    del widths
    return _read(kernel.lattice, kernel.after, _table(kernel, values))


def _forward(widths: bool, kernel: Kernel, values: Array) -> tuple[Array, Any]:
    return apply_kernel(widths, kernel, values), (kernel, values if widths else None)


def _backward(widths: bool, saved: Any, g: Array) -> tuple[Any, Array]:
    """The transposed kernel is the same with its two ends exchanged, blurred in the reversed order."""
    kernel, values = saved
    lattice = kernel.lattice
    back = _table(kernel, g, reverse=True)
    toward_values = _read(lattice, kernel.before, back)
    if not widths:
        return None, toward_values
    table, one = _table(kernel, values), jnp.ones_like(kernel.after)
    toward_weights = _dots(lattice, g * kernel.after, table) + _dots(lattice, values * kernel.before, back)
    # The slots' shares are the lattice's weights again: all of the gradient is already in theirs.
    none: Any = jax.tree.map(_nothing, kernel)
    return none._replace(
        lattice=none.lattice._replace(weights=toward_weights),
        before=jnp.sum(values * _read(lattice, one, back), axis=1, keepdims=True),
        after=jnp.sum(g * _read(lattice, one, table), axis=1, keepdims=True),
    ), toward_values


def _nothing(_: Array) -> None:
    """The gradient of what has none."""


_apply.defvjp(_forward, _backward)


def _table(kernel: Kernel, values: Array, reverse: bool = False) -> Array:
    """The vertices' values after spreading and blurring, [V + 1, L]; in the transposed kernel if ``reverse``."""
    lattice, back = kernel.lattice, kernel.shares_back
    shares = back if reverse and back is not None else lattice.shares
    table = jnp.zeros((lattice.neighbours.shape[-1], values.shape[1]))

    def add(table: Array, slots: tuple[Array, ...]) -> tuple[Array, None]:
        points, weights, owners = slots
        sums = sum(weights[:, t, None] * values[points[:, t]] for t in range(weights.shape[1]))
        return table.at[owners].add(sums, indices_are_sorted=True, mode="promise_in_bounds"), None

    whole = (lattice.points, shares, lattice.owners)
    chunks = tuple(x.reshape(-1, min(len(x), CHUNK), *x.shape[1:]) for x in whole)
    table, _ = lax.scan(add, table, chunks)

    def blur(table: Array, neighbours: Array) -> tuple[Array, None]:
        return table + 0.5 * (table[neighbours[0]] + table[neighbours[1]]), None

    return lax.scan(blur, table, lattice.neighbours, reverse=reverse)[0]


def _read(lattice: Lattice, scale: Array, table: Array) -> Array:
    """Each point's weighted sum of its corners times ``scale`` and the lattice's constant, [N, L]."""
    corners = zip(lattice.weights[:, :, None], lattice.corners)
    return scale * _height(lattice) * sum(weights * table[ids] for weights, ids in corners)


def _dots(lattice: Lattice, rows: Array, table: Array) -> Array:
    """The gradient of the weights of :func:`_read`, [C, N]."""
    return _height(lattice) * jnp.stack([jnp.sum(rows * table[ids], axis=1) for ids in lattice.corners])


def _height(lattice: Lattice) -> float:
    """1 / (1 + 2^-d), which makes a Gaussian of height 1 (about) of spreading, blurring and reading."""
    return 1 / (1 + 2.0 ** (1 - len(lattice.corners)))
