"""Non-maximum suppression, exact and greedy, with a fixed number of results.

The best box is kept, all that overlap it by more than the threshold are dropped, the best of those left is kept, and so
on. On a CPU that is one loop over the boxes. On a GPU or TPU, where many small steps are dear, boxes are taken in
tiles: within a tile the same rule is applied to all boxes at once until nothing changes, which ends at the greedy
answer, and then the tile's boxes drop all later ones. The answers are the same to the last index.
"""

from typing import Literal, NamedTuple, cast, get_args

import jax.numpy as jnp
from jax import lax

from jaxseg.ops.boxes import box_iou
from jaxseg.types import Array, JaxsegError

_TILE = 256

Decay = Literal["linear", "gaussian"]


class Kept(NamedTuple):
    """``indices [D]`` int32 of the boxes kept, best first, and ``valid [D]``: how many of them are (the rest are 0)."""

    indices: Array
    valid: Array


class SoftlyKept(NamedTuple):
    """As :class:`Kept`, with the ``scores [D]`` that are left."""

    indices: Array
    valid: Array
    scores: Array


def nms(boxes: Array, scores: Array, iou_threshold: float | Array, *, max_outputs: int) -> Kept:
    """The boxes that overlap no better one that is kept by an IoU above ``iou_threshold``.

    Args:
      boxes: ``[N, 4]``.
      scores: ``[N]``; a box of score -inf or NaN is none (padding). Of equal scores the first comes first.
      iou_threshold: 0 to 1.
      max_outputs: D; the best D of what greedy suppression keeps.

    Returns:
      :class:`Kept`, which has no gradient.

    Raises:
      JaxsegError: shapes that do not fit.
    """
    return batched_nms(boxes, scores, jnp.zeros(scores.shape, jnp.int32), iou_threshold, max_outputs=max_outputs)


def batched_nms(boxes: Array, scores: Array, classes: Array, iou_threshold: float | Array, *, max_outputs: int) -> Kept:
    """:func:`nms` of each class for itself, all at once: boxes drop only those of their own class.

    Args:
      classes: ``[N]`` integers of any value (classes, or levels of a pyramid); the rest as in :func:`nms`.
    """
    _check(boxes, scores, classes, max_outputs)
    boxes, scores = (lax.stop_gradient(jnp.asarray(x, jnp.float32)) for x in (boxes, scores))
    is_box = scores > -jnp.inf  # NaN is not, either
    order = jnp.argsort(jnp.where(is_box, scores, -jnp.inf), descending=True, stable=True)
    ordered, groups, is_box = boxes[order], jnp.asarray(classes)[order], is_box[order]
    threshold = jnp.asarray(iou_threshold, jnp.float32)
    keep = lax.platform_dependent(ordered, groups, is_box, threshold, cpu=_one_by_one, default=_by_tiles)
    return Kept(*_first(order, cast(Array, keep), max_outputs))


def soft_nms(
    boxes: Array,
    scores: Array,
    *,
    max_outputs: int,
    decay: Decay = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 1e-3,
) -> SoftlyKept:
    """Overlapping boxes are not dropped but lose score (Bodla et al. 2017): the best box is taken, the scores of the
    others are multiplied by ``exp(-IoU^2 / sigma)`` ("gaussian"), or by ``1 - IoU`` where that is above
    ``iou_threshold`` ("linear"), and so on while a score is above ``score_threshold``.

    Args:
      boxes, scores: as in :func:`nms`.

    Returns:
      :class:`SoftlyKept`, in the order in which they were taken.
    """
    _check(boxes, scores, scores, max_outputs)
    if decay not in get_args(Decay):
        raise JaxsegError(f"soft_nms: decay is {decay!r}; it can be linear or gaussian")

    def take(left: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
        best = jnp.argmax(left)
        score = left[best]
        iou = box_iou(boxes[best][None], boxes)
        linear = jnp.where(iou > iou_threshold, 1 - iou, 1)
        factor = jnp.exp(-jnp.square(iou) / sigma) if decay == "gaussian" else linear
        valid = score > score_threshold
        return (left * factor).at[best].set(-jnp.inf), (jnp.where(valid, best, 0), valid, jnp.where(valid, score, 0))

    boxes = jnp.asarray(boxes, jnp.float32)
    left = jnp.where(jnp.isnan(scores), -jnp.inf, scores).astype(jnp.float32)
    _, (indices, valid, scores) = lax.scan(take, left, None, length=max_outputs)
    return SoftlyKept(indices.astype(jnp.int32), valid, scores)


def _one_by_one(boxes: Array, groups: Array, is_box: Array, threshold: Array) -> Array:
    """Which of the boxes ``[N, 4]``, best first, greedy suppression keeps."""
    place = lax.iota(jnp.int32, len(boxes))

    def step(i: Array, alive: Array) -> Array:
        # No branch on alive[i]: leaving out what a dropped box would do takes longer than doing it for nothing.
        drops = (box_iou(boxes[i][None], boxes) > threshold) & (groups == groups[i]) & (place > i) & alive[i]
        return alive & ~drops

    return lax.fori_loop(0, len(boxes), step, is_box)


def _by_tiles(boxes: Array, groups: Array, is_box: Array, threshold: Array) -> Array:
    n = len(boxes)
    tile = min(_TILE, n)
    pad = -n % tile
    boxes, groups, alive = (jnp.pad(x, ((0, pad),) + ((0, 0),) * (x.ndim - 1)) for x in (boxes, groups, is_box))
    place, within = lax.iota(jnp.int32, n + pad), lax.iota(jnp.int32, tile)

    def step(t: Array, alive: Array) -> Array:
        mine, group, left = (lax.dynamic_slice_in_dim(x, t * tile, tile) for x in (boxes, groups, alive))
        overlaps = (box_iou(mine[:, None], mine[None]) > threshold) & (group[:, None] == group[None])
        overlaps &= within[:, None] < within[None]

        def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
            kept, _ = state
            now = left & ~jnp.any(overlaps & kept[:, None], axis=0)
            return now, jnp.any(now != kept)

        kept, _ = lax.while_loop(lambda state: state[1], again, (left, jnp.array(True)))
        drops = (box_iou(mine[:, None], boxes[None]) > threshold) & (group[:, None] == groups[None]) & kept[:, None]
        alive = alive & ~(jnp.any(drops, axis=0) & (place >= (t + 1) * tile))
        return lax.dynamic_update_slice_in_dim(alive, kept, t * tile, 0)

    return lax.fori_loop(0, (n + pad) // tile, step, alive)[:n]


def _first(order: Array, keep: Array, count: int) -> tuple[Array, Array]:
    """The first ``count`` of ``order`` that are to be kept, padded with 0, and which of them are."""
    place = jnp.where(keep, jnp.cumsum(keep) - 1, count)
    indices = jnp.zeros(count, jnp.int32).at[place].set(order.astype(jnp.int32), mode="drop")
    return indices, lax.iota(jnp.int32, count) < jnp.sum(keep)


def _check(boxes: Array, scores: Array, classes: Array, max_outputs: int) -> None:
    n = len(boxes)
    if boxes.shape != (n, 4) or scores.shape != (n,) or classes.shape != (n,):
        raise JaxsegError(
            f"nms: boxes have shape {boxes.shape}, scores {scores.shape} and classes {classes.shape}; expected [N, 4], "
            "[N] and [N]"
        )
    if not n or max_outputs < 1:
        raise JaxsegError(f"nms: {n} boxes and max_outputs {max_outputs}; expected at least one of each")
