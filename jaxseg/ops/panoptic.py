"""Panoptic segmentation: things and stuff put together, so that every pixel is of one segment at most."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.arguments import vary_alike
from jaxseg.ops.masks import PasteRule, paste_masks
from jaxseg.types import Array, JaxsegError


class Segments(NamedTuple):
    """``ids [H, W]`` int32: 0 nothing, s + 1 the segment s; of each segment ``classes [S]`` int32, stuff first (class s
    of stuff is s, class k of things, from 1, is K - 1 + k, of K of stuff), ``scores [S]`` (1 of stuff) and
    ``valid [S]``. Segments are the D detections in their order, then the K classes of stuff: S = D + K."""

    ids: Array
    classes: Array
    scores: Array
    valid: Array


def merge_segments(
    masks: Array,
    boxes: Array | None,
    scores: Array,
    classes: Array,
    valid: Array,
    semantic: Array,
    *,
    num_stuff: int,
    size: Array | None = None,
    overlap: float = 0.5,
    stuff_area: int = 4096,
    score: float = 0.5,
    rule: PasteRule = "detectron2",
) -> Segments:
    """Instances and a map of stuff as one panoptic segmentation (Kirillov et al. 2019, "Panoptic segmentation", section
    7; detectron2's ``combine_semantic_and_instance_outputs``).

    Instances of ``score`` or more, best first, each take what of their mask no better one has; one that has lost more
    than the share ``overlap`` of its mask is left out. Each class of stuff takes what remains of its pixels if these
    are ``stuff_area`` or more. Pixels that nothing takes are 0.

    Args:
      masks: ``[D, M, M]`` probabilities within ``boxes [D, 4]``, of which 0.5 or more is mask; or, ``boxes`` None,
        ``[D, H, W]`` of the whole image.
      scores, classes, valid: ``[D]``; classes from 1.
      semantic: ``[H, W]`` int: 0 where there is a thing, s + 1 where there is stuff of class s.
      num_stuff: K.
      size: height and width of what of the map is image; the rest stays 0. By default all.
      overlap: of an instance's mask.
      stuff_area: in pixels.
      rule: see :func:`jaxseg.ops.paste_masks`.

    Raises:
      JaxsegError: shapes that do not belong together.
    """
    d, (h, w) = len(scores), semantic.shape
    shape = (d, h, w) if boxes is None else (d, *masks.shape[1:2] * 2)
    if masks.shape != shape or classes.shape != (d,) or valid.shape != (d,) or (boxes is not None and len(boxes) != d):
        raise JaxsegError(
            f"merge_segments: masks have shape {masks.shape}, scores {scores.shape}, classes {classes.shape} and valid "
            f"{valid.shape}; expected [D, M, M] with boxes [D, 4], or [D, {h}, {w}] without, and [D] each"
        )
    masks, scores, valid, semantic = (jnp.asarray(x) for x in (masks, scores, valid, semantic))
    boxes = None if boxes is None else jnp.asarray(boxes)
    rows, columns = (lax.broadcasted_iota(jnp.int32, (h, w), axis) for axis in (0, 1))
    inside = jnp.ones((h, w), bool) if size is None else (rows < size[0]) & (columns < size[1])
    wanted = valid & (scores >= score)

    def place(ids: Array, index: Array) -> tuple[Array, Array]:
        mask = masks[index].astype(jnp.float32)
        if boxes is not None:
            mask = paste_masks(mask[None], boxes[index][None], (h, w), rule=rule)[0]
        mask = (mask >= 0.5) & inside
        free = mask & (ids == 0)
        area, left = (jnp.sum(part.astype(jnp.float32)) for part in (mask, free))
        kept = wanted[index] & (left > 0) & (area - left <= overlap * area)
        return jnp.where(free & kept, index + 1, ids), kept

    order = jnp.argsort(jnp.where(wanted, -scores, jnp.inf), stable=True).astype(jnp.int32)
    empty, *_ = vary_alike(jnp.zeros((h, w), jnp.int32), masks, scores, semantic)
    ids, kept = lax.scan(place, empty, order)
    things = jnp.zeros(d, bool).at[order].set(kept)

    semantic = jnp.where((ids == 0) & inside, semantic.astype(jnp.int32), 0)
    areas = jnp.sum(jax.nn.one_hot(semantic.reshape(-1), num_stuff + 1, dtype=jnp.int32), axis=0)
    stuff = (areas >= max(stuff_area, 1)) & (jnp.arange(num_stuff + 1) > 0)
    ids = jnp.where(stuff[semantic], d + semantic, ids)
    return Segments(
        ids,
        jnp.concatenate([num_stuff - 1 + jnp.asarray(classes, jnp.int32), jnp.arange(num_stuff, dtype=jnp.int32)]),
        jnp.concatenate([scores.astype(jnp.float32), jnp.ones(num_stuff)]),
        jnp.concatenate([things, stuff[1:]]),
    )
