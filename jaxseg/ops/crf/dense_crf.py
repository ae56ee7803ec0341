"""Mean-field inference in a fully connected conditional random field (Krähenbühl and Koltun, 2011, "Efficient inference
in fully connected CRFs with Gaussian edge potentials").

    E(x) = sum_i u_i(x_i) + sum_{i<j} mu(x_i, x_j) sum_k w_k k_k(f_i, f_j)
    q_i(l) <- softmax_l( -u_i(l) - sum_k w_k sum_m mu_k(l, m) (K_k q)_i(m) )

with every pixel joined to every other by Gaussian kernels of position, and of position and colour. What pydensecrf
computes, to the digit (its kernels contain the pixel itself, too), as a pure function: under ``jit`` and ``vmap``, with
gradients of the unary energies, the weights, the compatibilities and the widths of kernels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxseg.ops.crf.exact import exact_filter
from jaxseg.ops.crf.lattice import build_lattice
from jaxseg.ops.crf.lattice_filter import Kernel, Normalization, apply_kernel, make_kernel, norms
from jaxseg.types import Array, JaxsegError

Width = float | tuple[float, ...] | Array
Method = Literal["auto", "lattice", "exact"]
Overflow = Literal["nan", "quiet nan", "ignore"]

_EXACT_PIXELS = 1024  # up to here all pairs, which approximate nothing, take 16 ms on 2 cores (the lattice: 4)


class Gaussian(NamedTuple):
    """Neighbours agree: ``k = exp(-|p_i - p_j|^2 / (2 sxy^2))`` for positions p in pixels.

    ``sxy``: a number or (x, y), known before the program is compiled. ``compatibility`` and ``normalization``: None for
    those of :func:`dense_crf`.
    """

    sxy: float | tuple[float, float] = 3.0
    weight: float | Array = 3.0
    compatibility: Array | None = None
    normalization: Normalization | None = None


class Bilateral(NamedTuple):
    """Pixels alike in colour agree, far ones too: ``k = exp(-|p_i - p_j|^2 / (2 sxy^2) - |c_i - c_j|^2 / (2 srgb^2))``.

    ``sxy``: a number or (x, y), in pixels; ``srgb``: a number or one a channel, in steps of 0..255. Traced widths have
    gradients: good ones of all pairs; on the lattice those of its barycentric weights, while its vertices come and go
    with the widths, so there rather search (``jaxseg.infer.crf_search``).
    """

    sxy: Width = 80.0
    srgb: Width = 13.0
    weight: float | Array = 10.0
    compatibility: Array | None = None
    normalization: Normalization | None = None


class Pairwise(NamedTuple):
    """Pixels of alike features agree: ``k = exp(-|f_i - f_j|^2 / 2)``, ``features [H, W, d]`` over their widths."""

    features: Array
    weight: float | Array = 1.0
    compatibility: Array | None = None
    normalization: Normalization | None = None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("q", "logits", "num_vertices", "num_dropped"),
    meta_fields=("method",),
)
@dataclass(frozen=True)
class CRFOutput:
    """``q [H, W, L]`` float32, the labels' probabilities, and ``logits``, of which they are the softmax; of the lattice
    with most vertices, how many it has and how many found no room (a :class:`Gaussian` term's always do; 0 each for
    "exact"); the method that was taken."""

    q: Array
    logits: Array
    num_vertices: Array
    num_dropped: Array
    method: str


def dense_crf(
    unary: Array,
    image: Array,
    *,
    iterations: int = 5,
    gaussian: Gaussian | None = Gaussian(),  # noqa: B008 (immutable)
    bilateral: Bilateral | None = Bilateral(),  # noqa: B008 (immutable)
    others: Sequence[Gaussian | Bilateral | Pairwise] = (),
    compatibility: Array | None = None,
    normalization: Normalization = "symmetric",
    method: Method = "auto",
    max_vertices: int | None = None,
    on_overflow: Overflow = "nan",
) -> CRFOutput:
    """Probabilities of labels that agree with the image's edges, by mean-field inference (equations above).

    Args:
      unary: ``[H, W, L]`` floating point: energies, ``-log p`` (see ``unary_from_logits`` and its neighbours).
      image: ``[H, W, 3]`` (or another number of channels), 0 to 255. It has no gradient.
      iterations: rounds of the second equation; 0 gives ``softmax(-unary)``.
      gaussian, bilateral: the two usual terms; None leaves one out.
      others: any number of further terms.
      compatibility: ``mu`` of terms without their own: None for Potts' model (equal labels gain the weight: the same as
        ``-eye(L)``, and as ``1 - eye(L)``); ``[L]``, its diagonal; ``[L, L]``, energies added where labels l (row) and
        m (column) meet. As in pydensecrf, but that it makes a matrix symmetric.
      normalization: of terms without their own, as in :func:`lattice_filter`.
      method: "lattice" (permutohedral, linear in pixels), "exact" (all pairs), or "auto": exact up to 1024 pixels.
      max_vertices: room in each lattice. None: enough, where called with arrays; a guess (N / 4) inside ``jit``.
      on_overflow: what a lattice without enough room gives: "nan", with a line in the log that names the room needed,
        "quiet nan", without the line (a program to be exported may not call Python), or "ignore", what comes of the
        vertices that found room.

    Returns:
      A :class:`CRFOutput`.

    Raises:
      JaxsegError: shapes that do not fit each other, an image not in 0..255 (where its values are known), a width
        that is not positive, or an unknown option.
    """
    _check(unary, image, iterations, method, on_overflow)
    h, w, labels = unary.shape
    terms = [t for t in (gaussian, bilateral, *others) if t is not None]
    taken = ("exact" if h * w <= _EXACT_PIXELS else "lattice") if method == "auto" else method
    normalizations: tuple[Normalization, ...] = tuple(t.normalization or normalization for t in terms)
    kernels = [_kernel(t, image, n, taken, max_vertices) for t, n in zip(terms, normalizations)]
    couplings = [_coupling(t, compatibility, labels) for t in terms]
    widths = tuple(_learns_widths(t) for t in terms)
    lattices = [k.lattice for t, k in zip(terms, kernels) if isinstance(k, Kernel) and not isinstance(t, Gaussian)]
    zero = jnp.zeros((), jnp.int32)
    num_vertices = jnp.max(jnp.stack([zero, *(x.num_vertices for x in lattices)]))
    num_dropped = jnp.max(jnp.stack([zero, *(x.num_dropped for x in lattices)]))
    is_wrong = num_dropped > 0 if on_overflow != "ignore" and lattices else None
    if is_wrong is not None and on_overflow == "nan":
        _tell(num_vertices, num_dropped)
    q, logits = _mean_field(unary.astype(jnp.float32), kernels, couplings, is_wrong, iterations, normalizations, widths)
    return CRFOutput(q, logits, num_vertices, num_dropped, taken)


def _kernel(
    term: Any, image: Array, normalization: Normalization, method: str, max_vertices: int | None
) -> Kernel | Array:
    """A term's kernel on a lattice, or for "exact" its pixels' features ``[N, d]``."""
    h, w, _ = image.shape
    if isinstance(term, Gaussian):
        sxy = _numbers("gaussian.sxy", term.sxy, 2)
        if method == "lattice":
            return _grid_kernel(h, w, *sxy, normalization)
        return jnp.asarray(_positions(h, w) / np.asarray(sxy, np.float32))
    if isinstance(term, Bilateral):
        colours = image.reshape(h * w, -1).astype(jnp.float32)
        sxy, srgb = _width("sxy", term.sxy, 2), _width("srgb", term.srgb, colours.shape[1])
        features = jnp.concatenate([_positions(h, w) / sxy[None], colours / srgb[None]], axis=1)
    else:
        if term.features.shape[:2] != (h, w) or term.features.ndim != 3:
            raise JaxsegError(f"a term's features have shape {term.features.shape}; expected ({h}, {w}, d)")
        features = term.features.reshape(h * w, -1).astype(jnp.float32)
    if method == "exact":
        return features
    lattice = build_lattice(features, max_vertices=max_vertices)
    make = make_kernel if isinstance(lattice.corners, Tracer) else _make_kernel_in_place
    return make(lattice, normalization)


# A lattice is large and its kernel takes its place: without donation both are there at once.
_make_kernel_in_place = jax.jit(make_kernel, static_argnums=1, donate_argnums=0)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _mean_field(
    unary: Array,
    kernels: list[Kernel | Array],
    couplings: list[Array],
    is_wrong: Array | None,
    iterations: int,
    normalizations: tuple[Normalization, ...],
    widths: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Probabilities and logits ``[H, W, L]``; NaN if ``is_wrong``."""
    h, w, labels = unary.shape
    unary = unary.reshape(h * w, labels)
    filters = [_filter(*x) for x in zip(kernels, normalizations, widths)]

    def update(logits: Array, _: None) -> tuple[Array, None]:
        # Logits are carried, not q: XLA's CPU compiler would compute them anew for each of softmax's passes.
        q = jax.nn.softmax(logits, axis=-1)
        messages = [f(_mix(coupling, q)) for f, coupling in zip(filters, couplings)]
        return sum(messages, start=jnp.zeros_like(unary)) - unary, None

    logits, _ = lax.scan(update, -unary, None, length=iterations)
    if is_wrong is not None:
        logits = jnp.where(is_wrong, jnp.nan, logits)
    logits = logits.reshape(h, w, labels)
    return jax.nn.softmax(logits, axis=-1), logits


def _filter(kernel: Kernel | Array, normalization: Normalization, widths: bool) -> Any:
    """``x [N, L] -> K x`` with normalisation."""
    if isinstance(kernel, Kernel):
        return partial(apply_kernel, widths, kernel)
    before, after = norms(exact_filter(kernel, jnp.ones((len(kernel), 1))), normalization)
    return lambda x: after * exact_filter(kernel, before * x)


def _mix(coupling: Array, q: Array) -> Array:
    """What the labels of a neighbour are worth to each label: ``-mu q``; it commutes with the kernel."""
    if coupling.ndim == 2:
        return jnp.matmul(q, coupling.T, precision="highest")
    return q * (coupling if coupling.ndim == 0 else coupling[None])


def _coupling(term: Any, compatibility: Array | None, labels: int) -> Array:
    weight = jnp.asarray(term.weight, jnp.float32)
    mu = compatibility if term.compatibility is None else term.compatibility
    if weight.ndim:
        raise JaxsegError(f"weight has shape {weight.shape}; expected a number: what differs by label is compatibility")
    if mu is None:
        return weight
    if mu.shape not in ((labels,), (labels, labels)):
        raise JaxsegError(f"compatibility has shape {mu.shape}; expected ({labels},) or ({labels}, {labels})")
    return -weight * mu.astype(jnp.float32)


def _positions(h: int, w: int) -> np.ndarray:
    """(x, y) of each pixel, [H * W, 2]."""
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return np.stack([x.ravel(), y.ravel()], axis=1)


@lru_cache(maxsize=16)
def _grid_kernel(h: int, w: int, x: float, y: float, normalization: Normalization) -> Kernel:
    """The kernel of a pixel grid: known before the program is compiled, and the same for all images of a size."""
    with jax.ensure_compile_time_eval():
        lattice = build_lattice(jnp.asarray(_positions(h, w) / np.asarray([x, y], np.float32)))
        return _make_kernel_in_place(lattice, normalization)


def _numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    if _is_traced(value):
        raise JaxsegError(
            f"{name} is a traced value, but its lattice is built before the program is compiled: pass a number, or to "
            "learn it a Pairwise term, its features the pixels' positions over the width"
        )
    numbers = np.asarray(value, np.float64)
    if numbers.shape not in ((), (count,)) or not (numbers > 0).all():
        raise JaxsegError(f"{name} is {value}; expected a number or {count} of them, each of which must be positive")
    return tuple(float(v) for v in np.broadcast_to(numbers, (count,)))


def _width(name: str, value: Width, count: int) -> Array:
    if _is_traced(value):
        return jnp.broadcast_to(jnp.stack(value) if isinstance(value, tuple) else value, (count,)).astype(jnp.float32)
    return jnp.asarray(_numbers(f"bilateral.{name}", value, count), jnp.float32)


def _is_traced(value: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def _learns_widths(term: Any) -> bool:
    return not isinstance(term, Gaussian) and _is_traced(term.features if isinstance(term, Pairwise) else term[:2])


def _tell(num_vertices: Array, num_dropped: Array) -> None:
    """Say on the host what room is needed, where some was lacking."""

    def tell(num_vertices: Any, num_dropped: Any) -> None:
        if num_dropped > 0:
            logging.getLogger("jaxseg").warning(
                "dense_crf: its lattice needs room for %d vertices, %d more than it has, so the result is NaN; pass "
                "max_vertices=%d (or call it outside of jit, where it finds enough by itself)",
                num_vertices, num_dropped, num_vertices,
            )  # fmt: skip

    if isinstance(num_dropped, Tracer):
        told = partial(jax.debug.callback, tell)
        lax.cond(num_dropped > 0, told, lambda *_: None, num_vertices, num_dropped)
    else:
        tell(int(num_vertices), int(num_dropped))


def _check(unary: Array, image: Array, iterations: int, method: str, on_overflow: str) -> None:
    for name, value, options in (
        ("method", method, get_args(Method)),
        ("on_overflow", on_overflow, get_args(Overflow)),
    ):
        if value not in options:
            raise JaxsegError(f"{name} is {value!r}; it can be one of {', '.join(options)}")
    if iterations < 0:
        raise JaxsegError(f"iterations is {iterations}; it must not be negative")
    if unary.ndim != 3 or not unary.size or not jnp.issubdtype(unary.dtype, jnp.floating):
        raise JaxsegError(f"unary is {unary.dtype} of shape {unary.shape}; expected floating point energies [H, W, L]")
    if image.ndim != 3:
        raise JaxsegError(f"image has shape {image.shape}; expected [H, W, 3]")
    if unary.shape[:2] != image.shape[:2]:
        h, w, _ = image.shape
        if unary.shape[1:] == (h, w):
            turn = ": labels come last here, jnp.moveaxis(unary, 0, -1)"
        elif image.shape[1:] == unary.shape[:2]:
            h, w = unary.shape[:2]
            turn = ": channels come last here, jnp.moveaxis(image, 0, -1)"
        else:
            turn = ": one energy a pixel; resize one to the other's size"
        raise JaxsegError(
            f"unary has shape {unary.shape} and image {image.shape}; expected ({h}, {w}, L) and ({h}, {w}, 3){turn}"
        )
    if not isinstance(image, Tracer) and jnp.issubdtype(image.dtype, jnp.floating):
        values = np.asarray(image, np.float32)
        low, high = values.min(), values.max()
        whole = high <= 1 and (values == values.round()).all()
        if low < -0.5 or high > 255.5 or (high <= 1 and not whole):
            raise JaxsegError(f"image lies in {low:g}..{high:g}; expected 0..255, what a file holds: multiply by 255")
