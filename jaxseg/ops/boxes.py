"""Boxes ``(x1, y1, x2, y2)`` in continuous pixels: areas, overlaps, formats, and the transforms that detectors regress.

All are defined, with finite gradients, for any finite box: one with ``x2 <= x1`` or ``y2 <= y1`` has no area and
overlaps nothing.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import lax

from jaxseg.types import Array, JaxsegError

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
_Columns = tuple[Array, Array, Array, Array]

MAX_LOG_SCALE = math.log(1000 / 16)
"""Decoded boxes are at most 62.5 times as wide or high as their anchors (Girshick's py-faster-rcnn)."""

_SMALLEST = 1e-3  # pixels; sides of boxes are at least that where they are divided by, or their logarithm is taken


def box_area(boxes: Array) -> Array:
    """``[..., 4]`` -> ``[...]``, square pixels; 0 for a box turned inside out."""
    _check("box_area", boxes)
    return _area(boxes)


def box_iou(a: Array, b: Array) -> Array:
    """Intersection over union (Jaccard), ``|a & b| / |a | b|``, 0 where both are empty.

    Args:
      a, b: ``[..., 4]``, of shapes that broadcast: ``a[:, None]`` and ``b[None]`` for all pairs.

    Returns:
      ``[...]`` in 0..1, as do :func:`box_ioa` and, in -1..1, the three others.
    """
    _check("box_iou", a, b)
    return _iou(a, b)[0]


def box_ioa(a: Array, b: Array) -> Array:
    """Intersection over the area of ``a``: how much of it lies in ``b``, such as in a region of a crowd."""
    _check("box_ioa", a, b)
    return _ratio(_intersection(a, b), _area(a))


def generalized_box_iou(a: Array, b: Array) -> Array:
    """``IoU - |hull - union| / |hull|``, the hull being the smallest box around both (Rezatofighi et al. 2019)."""
    _check("generalized_box_iou", a, b)
    iou, union = _iou(a, b)
    hull = jnp.prod(_hull(a, b), axis=-1)
    return iou - _ratio(hull - union, hull)


def distance_box_iou(a: Array, b: Array) -> Array:
    """``IoU - d^2 / c^2``, the distance of the centres over the diagonal of the hull (Zheng et al. 2020)."""
    _check("distance_box_iou", a, b)
    return _iou(a, b)[0] - _distance(a, b)


def complete_box_iou(a: Array, b: Array) -> Array:
    """``DIoU - alpha v``, ``v = (4 / pi^2) (atan(w_a / h_a) - atan(w_b / h_b))^2``, ``alpha = v / (1 - IoU + v)``,
    which counts as a constant (Zheng et al. 2020)."""
    _check("complete_box_iou", a, b)
    iou = _iou(a, b)[0]
    (wa, ha), (wb, hb) = (_sides(x) for x in (a, b))
    # A point has no shape: 45 degrees, and no gradient.
    angles = (jnp.arctan2(jnp.where(w + h > 0, w, 1), jnp.where(w + h > 0, h, 1)) for w, h in ((wa, ha), (wb, hb)))
    v = 4 / math.pi**2 * jnp.square(jnp.subtract(*angles))
    alpha = lax.stop_gradient(_ratio(v, 1 - iou + v))
    return iou - _distance(a, b) - alpha * v


def clip_boxes(boxes: Array, size: tuple[int, int] | Array) -> Array:
    """Boxes ``[..., 4]`` within an image of ``size``, height and width: each coordinate moved to the nearest in it."""
    _check("clip_boxes", boxes)
    h, w = size[0], size[1]
    high = jnp.stack([jnp.asarray(x, boxes.dtype) for x in (w, h, w, h)])
    return jnp.clip(boxes, 0, jnp.broadcast_to(high, boxes.shape))


def convert_boxes(boxes: Array, from_format: BoxFormat, to_format: BoxFormat) -> Array:
    """Between ``xyxy`` (corners), ``xywh`` (first corner and sides, as COCO) and ``cxcywh`` (centre and sides)."""
    _check("convert_boxes", boxes)
    for name in (from_format, to_format):
        if name not in _TO_CORNERS:
            raise JaxsegError(f"convert_boxes: {name!r} is no format; expected one of {', '.join(_TO_CORNERS)}")
    return _FROM_CORNERS[to_format](*_TO_CORNERS[from_format](*_columns(boxes)))


def encode_boxes(boxes: Array, anchors: Array, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Array:
    """The transforms that take anchors to boxes, what a detector regresses (Girshick et al. 2014, appendix C):

        ((x - x_a) / w_a, (y - y_a) / h_a, log(w / w_a), log(h / h_a)) * weights

    of centres x, y and sides w, h. Sides count as 1/1000 pixel at least.

    Args:
      boxes, anchors: ``[..., 4]`` of one shape.
      weights: of the four; (10, 10, 5, 5) in the second stage of Fast R-CNN and its children.

    Returns:
      ``[..., 4]``; :func:`decode_boxes` is its inverse.
    """
    _check("encode_boxes", boxes, anchors)
    x, y, w, h = _centred(boxes)
    xa, ya, wa, ha = _centred(anchors)
    w, h, wa, ha = (jnp.maximum(side, _SMALLEST) for side in (w, h, wa, ha))
    deltas = ((x - xa) / wa, (y - ya) / ha, jnp.log(w / wa), jnp.log(h / ha))
    return jnp.stack([d * weight for d, weight in zip(deltas, weights)], axis=-1)


def decode_boxes(
    deltas: Array,
    anchors: Array,
    weights: tuple[float, float, float, float] = (1, 1, 1, 1),
    *,
    max_log_scale: float = MAX_LOG_SCALE,
) -> Array:
    """Boxes ``[..., 4]`` from transforms ``[..., 4]`` of anchors ``[..., 4]``: the inverse of :func:`encode_boxes`.

    The logarithms of scales are clamped to ``max_log_scale`` (1000 / 16), so that no box is infinite.
    """
    _check("decode_boxes", deltas, anchors)
    xa, ya, wa, ha = _centred(anchors)
    dx, dy, dw, dh = (d / weight for d, weight in zip(_columns(deltas), weights))
    x, y = xa + dx * wa, ya + dy * ha
    w, h = (jnp.exp(jnp.minimum(d, max_log_scale)) * side for d, side in ((dw, wa), (dh, ha)))
    return jnp.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], axis=-1)


def _columns(boxes: Array) -> _Columns:
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def _centred(boxes: Array) -> _Columns:
    x1, y1, x2, y2 = _columns(boxes)
    return 0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1


def _stack(*columns: Array) -> Array:
    return jnp.stack(columns, axis=-1)


_TO_CORNERS: dict[str, Callable[[Array, Array, Array, Array], _Columns]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "cxcywh": lambda x, y, w, h: (x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h),
}
_FROM_CORNERS: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "xyxy": _stack,
    "xywh": lambda x1, y1, x2, y2: _stack(x1, y1, x2 - x1, y2 - y1),
    "cxcywh": lambda x1, y1, x2, y2: _stack(0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1),
}


def _sides(boxes: Array) -> tuple[Array, Array]:
    x1, y1, x2, y2 = _columns(boxes)
    return jnp.maximum(x2 - x1, 0), jnp.maximum(y2 - y1, 0)


def _area(boxes: Array) -> Array:
    w, h = _sides(boxes)
    return w * h


def _intersection(a: Array, b: Array) -> Array:
    w, h = (
        jnp.maximum(jnp.minimum(a[..., i + 2], b[..., i + 2]) - jnp.maximum(a[..., i], b[..., i]), 0) for i in (0, 1)
    )
    return w * h


def _iou(a: Array, b: Array) -> tuple[Array, Array]:
    shared = _intersection(a, b)
    union = _area(a) + _area(b) - shared
    return _ratio(shared, union), union


def _hull(a: Array, b: Array) -> Array:
    """Sides ``[..., 2]`` of the smallest box around both."""
    ends = jnp.maximum(jnp.maximum(a, b)[..., 2:], jnp.maximum(a, b)[..., :2])
    return ends - jnp.minimum(jnp.minimum(a, b)[..., :2], jnp.minimum(a, b)[..., 2:])


def _distance(a: Array, b: Array) -> Array:
    """Squared distance of the centres over the squared diagonal of the hull."""
    between = jnp.square(a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).sum(-1) / 4
    return _ratio(between, jnp.square(_hull(a, b)).sum(-1))


def _ratio(a: Array, b: Array) -> Array:
    """``a / b``, 0 where b is, in value and gradient."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def _check(name: str, *boxes: Array) -> None:
    for given in boxes:
        if given.ndim < 1 or given.shape[-1] != 4 or not jnp.issubdtype(given.dtype, jnp.floating):
            raise JaxsegError(f"{name}: boxes are {given.dtype} {list(given.shape)}; expected floating point [..., 4]")
