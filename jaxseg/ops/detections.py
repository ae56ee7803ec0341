"""From the scores and transforms of a detector's stages to boxes: proposals, and detections."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxseg.ops.boxes import clip_boxes, decode_boxes
from jaxseg.ops.nms import batched_nms, nms
from jaxseg.types import Array, JaxsegError


class Proposals(NamedTuple):
    """``boxes [R, 4]``, best first, their ``scores [R]`` and ``valid [R]``: how many of them there are (the rest 0)."""

    boxes: Array
    scores: Array
    valid: Array


class Detections(NamedTuple):
    """``boxes [D, 4]``, best first, ``scores [D]``, ``classes [D]`` int32 from 1, ``valid [D]`` (the rest 0)."""

    boxes: Array
    scores: Array
    classes: Array
    valid: Array


def propose(
    scores: Sequence[Array],
    deltas: Sequence[Array],
    anchors: Sequence[Array],
    size: tuple[int, int] | Array,
    *,
    pre_nms: int,
    post_nms: int,
    iou_threshold: float = 0.7,
    min_size: float = 1e-3,
    differentiable: bool = False,
) -> Proposals:
    """A region proposal network's best boxes (Ren et al. 2015, section 3.1; one level after another, Lin et al. 2017,
    section 4.1): of each level the best ``pre_nms`` are decoded and clipped to the image, those left without size are
    dropped, and the rest thinned by suppression; the best ``post_nms`` of all levels remain.

    Args:
      scores, deltas, anchors: of L levels, ``[A_l]``, ``[A_l, 4]`` and ``[A_l, 4]``.
      size: height and width of the image.
      min_size: in pixels, of either side; 0 for any above 0.
      differentiable: the boxes of those chosen have a gradient toward ``deltas``.

    Returns:
      :class:`Proposals` with R = ``post_nms``, or fewer where the levels together give fewer. No gradient,
      unless ``differentiable``.
    """
    if not len(scores) == len(deltas) == len(anchors) > 0 or min(pre_nms, post_nms) < 1:
        raise JaxsegError(
            f"propose: {len(scores)} levels of scores, {len(deltas)} of deltas, {len(anchors)} of anchors, pre_nms "
            f"{pre_nms} and post_nms {post_nms}; expected equally many levels, at least 1, and 1 up"
        )
    found: list[tuple[Array, Array]] = []
    for score, delta, anchor in zip(scores, deltas, anchors):
        if score.shape != (len(anchor),) or delta.shape != anchor.shape:
            raise JaxsegError(
                f"propose: scores {score.shape}, deltas {delta.shape}, anchors {anchor.shape}; expected [A] and [A, 4]"
            )
        best, index = lax.top_k(lax.stop_gradient(score).astype(jnp.float32), min(pre_nms, len(score)))
        delta = (delta if differentiable else lax.stop_gradient(delta))[index].astype(jnp.float32)
        boxes = clip_boxes(decode_boxes(delta, jnp.asarray(anchor)[index]), size)
        best = jnp.where(_has_size(boxes, min_size), best, -jnp.inf)
        kept = nms(boxes, best, iou_threshold, max_outputs=min(post_nms, len(index)))
        found.append((boxes[kept.indices], jnp.where(kept.valid, best[kept.indices], -jnp.inf)))
    boxes, best = (jnp.concatenate(parts) for parts in zip(*found))
    best, index = lax.top_k(best, min(post_nms, len(best)))
    valid = best > -jnp.inf
    return Proposals(jnp.where(valid[:, None], boxes[index], 0), jnp.where(valid, best, 0), valid)


def detect(
    probabilities: Array,
    deltas: Array,
    proposals: Array,
    valid: Array,
    size: tuple[int, int] | Array,
    *,
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
    score_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    max_outputs: int = 100,
    min_size: float = 0.0,
    candidates: int = 4000,
) -> Detections:
    """A second stage's detections (Girshick 2015, "Fast R-CNN", section 3.2): each pair of a proposal and a class is a
    candidate where its probability is above ``score_threshold``; its box is decoded and clipped to the image, and
    suppression thins each class for itself.

    Args:
      probabilities: ``[R, K]``, without background.
      deltas: ``[R, K, 4]``, a transform for each class, or ``[R, 1, 4]``, one for all.
      proposals, valid: ``[R, 4]``, of which ``valid [R]`` are.
      size: height and width of the image.
      candidates: at most so many, the best, take part, so that shapes are known; exact where no more are above the
        threshold. (At 0.05 a proposal has 19 at most, and a trained network's 1000 proposals 2000 or so.)

    Returns:
      :class:`Detections` with D = ``max_outputs``. No gradient.
    """
    r, k = probabilities.shape
    if deltas.shape not in ((r, k, 4), (r, 1, 4)) or proposals.shape != (r, 4) or valid.shape != (r,):
        raise JaxsegError(
            f"detect: probabilities have shape {probabilities.shape}, deltas {deltas.shape}, proposals "
            f"{proposals.shape} and valid {valid.shape}; expected [R, K], [R, K, 4] or [R, 1, 4], [R, 4] and [R]"
        )
    scores = lax.stop_gradient(probabilities).astype(jnp.float32)
    scores = jnp.where(valid[:, None] & (scores > score_threshold), scores, -jnp.inf)
    best, index = lax.top_k(scores.reshape(-1), min(candidates, r * k))
    row, column = index // k, index % k
    delta = lax.stop_gradient(deltas)[row, column if deltas.shape[1] == k else jnp.zeros_like(column)]
    boxes = clip_boxes(decode_boxes(delta.astype(jnp.float32), lax.stop_gradient(proposals)[row], weights), size)
    best = jnp.where(_has_size(boxes, min_size), best, -jnp.inf)
    kept = batched_nms(boxes, best, column, iou_threshold, max_outputs=max_outputs)
    boxes, best, classes = (x[kept.indices] for x in (boxes, best, column.astype(jnp.int32) + 1))
    return Detections(
        jnp.where(kept.valid[:, None], boxes, 0),
        jnp.where(kept.valid, best, 0),
        jnp.where(kept.valid, classes, 0),
        kept.valid,
    )


def _has_size(boxes: Array, least: float) -> Array:
    """Both sides at least ``least`` and above 0; NaN has none."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return jnp.all((sides >= least) & (sides > 0), axis=-1)
