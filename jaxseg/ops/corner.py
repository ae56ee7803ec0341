"""Corners of boxes (Law & Deng 2018, "CornerNet"): pooling toward them, heat maps of them, and boxes out of pairs."""

from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.arguments import check_image, vary_alike
from jaxseg.ops.detections import Detections
from jaxseg.types import Array, JaxsegError

Side = Literal["top", "left", "bottom", "right"]


def corner_pool(x: Array, side: Side) -> Array:
    """The maximum over all places from here on away from ``side``: a top-left corner lies on no object, but below it is
    the object's left edge and to the right of it its top edge.

    ``t[i, j] = max(x[i, j], t[i + 1, j])`` for "top", ``l[i, j] = max(x[i, j], l[i, j + 1])`` for "left", and the other
    way round for "bottom" and "right" (section 3.4). The gradient goes to the place that has the maximum; of equal ones
    to the one met first.

    Args:
      x: ``[H, W, C]``, floating point.

    Returns:
      The same shape and dtype. On a GPU or TPU in ``log2`` steps, on a CPU, whose time is memory's, in one walk.
    """
    check_image("x", x, 3)
    if side not in get_args(Side):
        raise JaxsegError(f"corner_pool: side is {side!r}; it can be top, left, bottom or right")
    axis, from_start = (0 if side in ("top", "bottom") else 1), side in ("bottom", "right")
    pooled = jnp.asarray(_running_maximum(from_start, x.swapaxes(0, axis)))
    return pooled.swapaxes(0, axis)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _running_maximum(from_start: bool, x: Array) -> Array:
    """``y[i] = max(x[i], x[i + 1], ...)``; ``from_start``: ``max(..., x[i - 1], x[i])``."""
    return _maximum_forward(from_start, x)[0]


def _maximum_forward(from_start: bool, x: Array) -> tuple[Array, Array]:
    return lax.platform_dependent(x, cpu=partial(_walk, from_start), default=partial(_double, from_start))


def _walk(from_start: bool, x: Array) -> tuple[Array, Array]:
    """``y``, and where ``x[i]`` is larger than all before it on the way."""

    def step(largest: Array, here: Array) -> tuple[Array, tuple[Array, Array]]:
        new = here > largest
        largest = jnp.where(new, here, largest)
        return largest, (largest, new)

    lowest, _ = vary_alike(jnp.full(x.shape[1:], -jnp.inf, x.dtype), x)
    return lax.scan(step, lowest, x, reverse=not from_start)[1]


def _double(from_start: bool, x: Array) -> tuple[Array, Array]:
    y, shift = x, 1
    while shift < len(x):
        y = jnp.maximum(y, _shifted(y, shift, -jnp.inf, from_start))
        shift *= 2
    return y, x > _shifted(y, 1, -jnp.inf, from_start)


def _shifted(x: Array, shift: int, fill: float | bool, from_start: bool) -> Array:
    """``x[i - shift]`` (``from_start``) or ``x[i + shift]``, and ``fill`` where there is none."""
    edge = jnp.full_like(x[:shift], fill)
    return jnp.concatenate([edge, x[:-shift]] if from_start else [x[shift:], edge])


def _maximum_backward(from_start: bool, new: Array, g: Array) -> tuple[Array]:
    """The gradients of all places that have one maximum, a run after it on the way and itself, are added up there."""
    walk, double = partial(_walk_back, from_start), partial(_double_back, from_start)
    return (lax.platform_dependent(new, g, cpu=walk, default=double),)


def _walk_back(from_start: bool, new: Array, g: Array) -> Array:
    def step(total: Array, here: tuple[Array, Array]) -> tuple[Array, Array]:
        g, new = here
        total = total + g
        return jnp.where(new, 0, total), jnp.where(new, total, 0)

    nothing, _ = vary_alike(jnp.zeros(g.shape[1:], g.dtype), g)
    return lax.scan(step, nothing, (g, new), reverse=from_start)[1]


def _double_back(from_start: bool, new: Array, g: Array) -> Array:
    """A sum by segments, each of which ends where ``new``."""
    before = partial(_shifted, from_start=not from_start)
    total, ended, shift = g, before(new, 1, True), 1
    while shift < len(g):
        total = total + jnp.where(ended, 0, before(total, shift, 0))
        ended = ended | before(ended, shift, True)
        shift *= 2
    return jnp.where(new, total, 0)


_running_maximum.defvjp(_maximum_forward, _maximum_backward)


class CornerTargets(NamedTuple):
    """Of one kind of corner: ``heat [h, w, K]``, 1 at the corners and less around them; of each of N instances its
    ``place [N]`` int32, row times w plus column, and ``offset [N, 2]``, what (x, y) lost by rounding down, in places.
    """

    heat: Array
    place: Array
    offset: Array


def corner_targets(
    boxes: Array,
    classes: Array,
    valid: Array,
    size: tuple[int, int],
    *,
    stride: float,
    num_classes: int,
    min_overlap: float = 0.3,
) -> tuple[CornerTargets, CornerTargets]:
    """Heat maps of the top-left and of the bottom-right corners, and what is regressed at them (section 3.2).

    Around a corner heat is ``exp(-d^2 / (2 sigma^2))``, sigma a third of the radius within which both corners may be
    off and the boxes still overlap by ``min_overlap`` (:func:`corner_radius`); beyond the radius, along either axis, 0.
    Where several overlap the largest counts.

    Args:
      boxes: ``[N, 4]`` in pixels, of which ``valid [N]`` are.
      classes: ``[N]`` int from 1.
      size: (h, w) of the maps, whose places are ``stride`` pixels apart.
    """
    n = len(boxes)
    if boxes.shape != (n, 4) or classes.shape != (n,) or valid.shape != (n,):
        raise JaxsegError(
            f"corner_targets: boxes {boxes.shape}, classes {classes.shape} and valid {valid.shape}; expected [N, 4], "
            "[N] and [N]"
        )
    sides = boxes[:, 2:] - boxes[:, :2]
    valid = valid & jnp.all(jnp.isfinite(boxes), axis=1) & jnp.all(sides > 0, axis=1)
    at = jnp.where(valid[:, None], boxes, 0).astype(jnp.float32) / stride
    radius = jnp.floor(corner_radius(jnp.ceil(at[:, 2:] - at[:, :2]), min_overlap))
    make = partial(_targets_of, classes=classes, valid=valid, size=size, count=num_classes, radius=radius)
    return make(at[:, :2]), make(at[:, 2:])


def corner_radius(sides: Array, min_overlap: float) -> Array:
    """By how much both corners of boxes ``[N, 2]`` (width, height) may be off, each along both axes, for an IoU of
    ``min_overlap``: ``[N]``, the least of three cases.

    Both moved alike: ``(w - r)(h - r) / (2 w h - (w - r)(h - r)) = t``; both inward: ``(w - 2 r)(h - 2 r) / (w h) =
    t``; both outward: ``w h / ((w + 2 r)(h + 2 r)) = t``. (The authors' code divides two of the roots by 2 where it
    should by 2 a; these are the equations' own.)
    """
    w, h = sides[:, 0], sides[:, 1]
    total, area, t = w + h, w * h, min_overlap

    def smaller(a: int, b: Array, c: Array) -> Array:
        return (b - jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0))) / (2 * a)

    alike = smaller(1, total, area * (1 - t) / (1 + t))
    inward = smaller(4, 2 * total, (1 - t) * area)
    outward = (-2 * t * total + jnp.sqrt((2 * t * total) ** 2 + 16 * t * (1 - t) * area)) / (8 * t)
    return jnp.minimum(jnp.minimum(alike, inward), outward)


def _targets_of(
    at: Array, *, classes: Array, valid: Array, size: tuple[int, int], count: int, radius: Array
) -> CornerTargets:
    h, w = size
    place = jnp.clip(jnp.floor(at), 0, jnp.array([w - 1, h - 1], jnp.float32)[None])
    sigma = (2 * radius + 1) / 6

    def bell(middle: Array, length: int) -> Array:
        d = jnp.arange(length, dtype=jnp.float32)[None] - middle[:, None]
        value = jnp.exp(-(d**2) / (2 * sigma[:, None] ** 2))
        return jnp.where(jnp.abs(d) <= radius[:, None], value, 0)

    each = bell(place[:, 1], h)[:, :, None] * bell(place[:, 0], w)[:, None, :]  # [N, h, w]
    each = jnp.where(valid[:, None, None], each, 0)
    kind = jnp.where(valid, classes - 1, count)
    heat = jnp.zeros((count, h, w)).at[kind].max(each, mode="drop").transpose(1, 2, 0)
    index = (place[:, 1] * w + place[:, 0]).astype(jnp.int32)
    return CornerTargets(heat, jnp.where(valid, index, 0), jnp.where(valid[:, None], at - place, 0))


class Corners(NamedTuple):
    """What a network says of one kind of corner: ``logits [h, w, K]``, ``embedding [h, w]``, ``offset [h, w, 2]``."""

    logits: Array
    embedding: Array
    offset: Array


def pair_corners(
    top_left: Corners,
    bottom_right: Corners,
    *,
    stride: float,
    corners: int = 100,
    max_outputs: int = 1000,
    max_distance: float = 0.5,
) -> Detections:
    """Boxes of the likeliest corners (sections 3.3 and 4.2): of each kind the best ``corners`` that are the largest of
    the 3x3 places around them; every pair of one class whose embeddings differ by ``max_distance`` at most and whose
    second corner lies below and to the right of the first is a box, its score the mean of the two.

    Args:
      stride: pixels between two places of the maps.

    Returns:
      The best ``max_outputs`` boxes, not yet suppressed, in pixels, as :class:`jaxseg.ops.Detections`. No gradient.
    """
    first, second = (_best(lax.stop_gradient(kind), corners) for kind in (top_left, bottom_right))

    def pair(x: Array, y: Array) -> tuple[Array, Array]:
        return x[:, None], y[None]

    a, b = pair(first["class"], second["class"])
    score = (first["score"][:, None] + second["score"][None]) / 2
    near = jnp.abs(first["embedding"][:, None] - second["embedding"][None]) <= max_distance
    begin, end = pair(first["at"], second["at"])
    fits = (a == b) & near & jnp.all(end > begin, axis=-1)
    best, index = lax.top_k(jnp.where(fits, score, -1).reshape(-1), min(max_outputs, score.size))
    row, column = index // score.shape[1], index % score.shape[1]
    valid = best > 0
    boxes = jnp.concatenate([first["at"][row], second["at"][column]], axis=-1) * stride
    return Detections(
        jnp.where(valid[:, None], boxes, 0),
        jnp.where(valid, best, 0),
        jnp.where(valid, first["class"][row] + 1, 0).astype(jnp.int32),
        valid,
    )


def _best(kind: Corners, count: int) -> dict[str, Array]:
    h, w, k = kind.logits.shape
    heat = jax.nn.sigmoid(kind.logits.astype(jnp.float32))
    around = lax.reduce_window(heat, -jnp.inf, lax.max, (3, 3, 1), (1, 1, 1), "SAME")
    score, index = lax.top_k(jnp.where(heat == around, heat, 0).reshape(-1), min(count, h * w * k))
    place = index // k
    offset = kind.offset.astype(jnp.float32).reshape(-1, 2)[place]
    at = jnp.stack([place % w, place // w], axis=-1).astype(jnp.float32)
    embedding = kind.embedding.astype(jnp.float32).reshape(-1)[place]
    return {"score": score, "class": index % k, "at": at + offset, "embedding": embedding}
