"""Which truth belongs to which anchor or proposal, and which of them a loss is computed from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.boxes import box_ioa, box_iou
from jaxseg.types import Array, JaxsegError

POSITIVE = 1
NEGATIVE = 0
NEUTRAL = -1
_BOXES_AT_ONCE = 4  # so that memory is of the anchors and not of all pairs; more take longer to compile
_TIE = 1 - 4e-7  # IoUs that differ by rounding alone are equal


class Matches(NamedTuple):
    """For each anchor: the box that it overlaps most, by how much, and POSITIVE (1), NEGATIVE (0) or NEUTRAL (-1)."""

    # [A] int32; 0 where there are no boxes. The name hides tuple's own method, which nobody needs here.
    index: Array  # pyright: ignore[reportIncompatibleMethodOverride]
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
    best, index = _best_boxes(anchors, blocks)
    label = jnp.where(best >= positive, POSITIVE, jnp.where(best < negative, NEGATIVE, NEUTRAL))
    if ignored is not None:
        inside = _largest_share(anchors, boxes, valid & ignored)
        label = jnp.where((label != POSITIVE) & (inside > 0.5), NEUTRAL, label)
    if low_quality:
        label = jnp.where(_is_best_of_a_box(anchors, blocks), POSITIVE, label)
    return Matches(index, jnp.maximum(best, 0), label)


# Every pass below is over few boxes at a time, and within that a sum of simple steps over all anchors, one box after
# another: a CPU's vector units like that, and dislike a maximum along a short axis (10 times slower).


def _overlaps(anchors: Array, boxes: Array, truth: Array) -> list[Array]:
    """For each of a few boxes its IoU with all anchors, ``[A]``; with one that is none, less than nothing."""
    # Corners for themselves, so that neighbours in memory are neighbours in the loop.
    columns = anchors.T
    return [jnp.where(truth[i], box_iou(jnp.stack(columns, axis=-1), boxes[i][None]), -1.0) for i in range(len(boxes))]


def _best_boxes(anchors: Array, blocks: Any) -> tuple[Array, Array]:
    """Each anchor's best IoU, -1 if there are no boxes, and whose it is: the first's in a tie."""

    def look(found: tuple[Array, Array], block: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
        best, index = found
        for i, iou in enumerate(_overlaps(anchors, *block[:2])):
            index = jnp.where(iou > best, block[2][i], index)
            best = jnp.maximum(best, iou)
        return (best, index), None

    nothing = jnp.full(len(anchors), -1.0), jnp.zeros(len(anchors), jnp.int32)
    return lax.scan(look, nothing, blocks)[0]


def _is_best_of_a_box(anchors: Array, blocks: Any) -> Array:
    """``[A]``: no anchor overlaps some box more than this one does."""

    def most(_: None, block: tuple[Array, ...]) -> tuple[None, Array]:
        return None, jnp.stack([jnp.max(iou) for iou in _overlaps(anchors, *block[:2])])

    def tie(is_best: Array, block: tuple[Array, ...]) -> tuple[Array, None]:
        boxes, truth, _, most = block
        for i, iou in enumerate(_overlaps(anchors, boxes, truth)):
            is_best = is_best | ((iou >= most[i] * _TIE) & (most[i] > 0))
        return is_best, None

    _, largest = lax.scan(most, None, blocks)
    return lax.scan(tie, jnp.zeros(len(anchors), bool), (*blocks, largest))[0]


def _largest_share(anchors: Array, boxes: Array, regions: Array) -> Array:
    """``[A]``: how much of an anchor lies in the region that holds most of it."""

    def look(share: Array, region: tuple[Array, Array]) -> tuple[Array, None]:
        box, counts = region
        return jnp.maximum(share, jnp.where(counts, box_ioa(anchors, box[None]), 0)), None

    return lax.scan(look, jnp.zeros(len(anchors)), (boxes, regions))[0]


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
