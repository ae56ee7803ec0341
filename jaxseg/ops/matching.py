"""Which truth belongs to which anchor or proposal, and which of them a loss is computed from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.boxes import box_ioa, box_iou
from jaxseg.types import Array, JaxsegError

POSITIVE, NEGATIVE, NEUTRAL = 1, 0, -1
_BOXES_AT_ONCE = 16  # so that memory is of the anchors and not of all pairs
_TIE = 1 - 4e-7  # IoUs that differ by rounding alone are equal


class Matches(NamedTuple):
    """For each anchor: the box that it overlaps most, by how much, and POSITIVE (1), NEGATIVE (0) or NEUTRAL (-1)."""

    index: Array  # [A] int32; 0 where there are no boxes
    iou: Array  # [A]
    label: Array  # [A] int32


class Sample(NamedTuple):
    """What a loss is computed from: ``indices [S]``, the positive ones first; ``valid [S]``; ``positive [S]``."""

    indices: Array
    valid: Array
    positive: Array


def match(
    anchors: Array,
    boxes: Array,
    valid: Array,
    *,
    positive: float,
    negative: float,
    low_quality: bool = False,
    ignored: Array | None = None,
) -> Matches:
    """Match anchors (or proposals) to true boxes by IoU.

    An anchor is positive if its best IoU is at least ``positive``, negative below ``negative``, else neutral: it would
    confuse. With ``low_quality`` the anchors that overlap a box most, all of them in a tie, are positive however little
    that is (each with the box that it itself overlaps most), so that no box is without an anchor; one that touches no
    anchor still is. Where more than half of a negative or neutral anchor lies within an ``ignored`` region (a crowd) it
    is neutral.

    R-CNN: 0.5 and 0.3 (Girshick et al. 2014, appendix B; the ground truth itself alone in fine-tuning its SVMs). RPN:
    0.7, 0.3 and low quality (Ren et al. 2015, section 3.1.2). Second stages: 0.5 and 0.5.

    Args:
      anchors: ``[A, 4]``.
      boxes: ``[N, 4]``, of which ``valid [N]`` are.
      ignored: ``[N]``, those of the boxes that are regions to be ignored; they are matched to nothing.

    Returns:
      :class:`Matches`, without gradient. Takes time A x N, and memory 16 A.

    Raises:
      JaxsegError: shapes that do not fit, or thresholds that do not.
    """
    a, n = len(anchors), len(boxes)
    if anchors.shape != (a, 4) or boxes.shape != (n, 4) or valid.shape != (n,) or not n:
        raise JaxsegError(
            f"match: anchors have shape {anchors.shape}, boxes {boxes.shape} and valid {valid.shape}; expected [A, 4], "
            "[N, 4] and [N]"
        )
    if not 0 <= negative <= positive <= 1:
        raise JaxsegError(
            f"match: negative is {negative} and positive {positive}; expected 0 <= negative <= positive <= 1"
        )
    anchors, boxes = (lax.stop_gradient(jnp.asarray(x, jnp.float32)) for x in (anchors, boxes))
    truth = valid if ignored is None else valid & ~ignored
    pad = -n % _BOXES_AT_ONCE
    blocks: Any = tuple(
        jnp.pad(x, ((0, pad),) + ((0, 0),) * (x.ndim - 1)).reshape(-1, _BOXES_AT_ONCE, *x.shape[1:])
        for x in (boxes, truth, lax.iota(jnp.int32, n))
    )

    def overlaps(boxes: Array, truth: Array) -> Array:
        """[A, boxes]; with one that is none, less than nothing."""
        return jnp.where(truth[None], box_iou(anchors[:, None], boxes[None]), -1.0)

    def look(found: tuple[Array, Array], block: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        best, index = found
        iou = overlaps(*block[:2])
        better = jnp.max(iou, axis=1) > best
        index = jnp.where(better, block[2][jnp.argmax(iou, axis=1)], index)
        return (jnp.maximum(best, jnp.max(iou, axis=1)), index), jnp.max(iou, axis=0)

    nothing = jnp.full(a, -1.0), jnp.zeros(a, jnp.int32)
    (best, index), most = lax.scan(look, nothing, blocks)
    label = jnp.where(best >= positive, POSITIVE, jnp.where(best < negative, NEGATIVE, NEUTRAL))
    if ignored is not None:
        inside = jnp.where((valid & ignored)[None], box_ioa(anchors[:, None], boxes[None]), 0)
        label = jnp.where((label != POSITIVE) & (jnp.max(inside, axis=1) > 0.5), NEUTRAL, label)
    if low_quality:

        def tie(is_best: Array, block: tuple[Array, ...]) -> tuple[Array, None]:
            boxes, truth, _, most = block
            return is_best | jnp.any((overlaps(boxes, truth) >= most[None] * _TIE) & (most > 0)[None], axis=1), None

        is_best, _ = lax.scan(tie, jnp.zeros(a, bool), (*blocks, most))
        label = jnp.where(is_best, POSITIVE, label)
    return Matches(index, jnp.maximum(best, 0), label)


def sample(key: Array, label: Array, *, count: int, positive_fraction: float) -> Sample:
    """Draw ``count`` anchors: at most ``positive_fraction`` of them positive, the rest negative; neutral ones never.

    Where there are fewer positives, more negatives take their places; where these do not suffice either, fewer are
    valid. (Fast R-CNN, Girshick 2015, section 2.3: 64 RoIs of an image, a quarter positive; RPN: 256 anchors, half.)

    Args:
      key: of jax.random; every choice is as likely.
      label: ``[A]``, of :func:`match`.

    Returns:
      :class:`Sample` with S = ``count``.
    """
    if count < 1 or not 0 <= positive_fraction <= 1:
        raise JaxsegError(
            f"sample: count is {count} and positive_fraction {positive_fraction}; expected 1 up, and 0 to 1"
        )
    most = min(int(count * positive_fraction), len(label))
    draw = jax.random.uniform(key, label.shape)
    (drawn, positives), (other, negatives) = (
        lax.top_k(jnp.where(label == kind, draw, -1.0), k)
        for kind, k in ((POSITIVE, most), (NEGATIVE, min(count, len(label))))
    )
    taken = jnp.sum(drawn >= 0)
    is_negative = (other >= 0) & (lax.iota(jnp.int32, len(other)) < count - taken)
    valid = jnp.concatenate([drawn >= 0, is_negative])
    indices = jnp.concatenate([positives, negatives])
    first = jnp.argsort(~valid, stable=True)[:count]
    short = count - len(first)
    indices, valid = (jnp.pad(x[first], (0, short)) for x in (indices, valid))
    return Sample(jnp.where(valid, indices, 0), valid, valid & (lax.iota(jnp.int32, count) < taken))
