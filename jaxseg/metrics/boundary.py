"""How well contours are met: boundary F and boundary IoU per class, from counts over the whole data set.

The true extent of an image may be less than its array (``size``): what lies beyond is no part of it and
behaves as if it were not there, so padding changes no count. Void is different: it is image whose class is
unknown. The class of a void pixel takes no part in anything, neither the true nor the predicted one:

- boundary F counts a contour pixel only if no void lies within the tolerance, as whether it is met there is
  unknown. Data sets that paint every contour void (Pascal VOC) thus leave nothing to count: use boundary
  IoU for them;
- boundary IoU counts no void pixel, and the distance to the boundary is that to the nearest known pixel of
  another class, across void if need be.

Radii follow from the diagonal of the true extent, in exact integer arithmetic, so that a traced ``size``
gives what a static shape gives.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.metrics import counts
from jaxseg.metrics.confusion import check_class_names, check_label_maps, mean_or_nan
from jaxseg.metrics.labels import split_void
from jaxseg.types import VOID, Array, Batch, JaxsegError, Metric, Predictions

FIELDS = ("predicted_met", "predicted", "true_met", "true", "intersection", "union")


def boundary_counts(
    prediction: Array,
    label: Array,
    num_classes: int,
    *,
    ignore_index: int = VOID,
    size: Array | None = None,
    tolerance: float = 0.0075,
    dilation_ratio: float = 0.02,
) -> Array:
    """Counts of one image from which boundary F and boundary IoU are computed.

    A contour pixel of class c is one whose right, lower or lower right neighbour lies on the other side of
    the mask of c. It is met if a contour pixel of the other map lies within ``ceil(tolerance * diagonal)``
    pixels (Euclidean). The band of c is the part of its mask within ``max(1, round(dilation_ratio *
    diagonal))`` pixels (chessboard distance) of a pixel outside the mask, or outside the image.

    Args:
        prediction: ``[H, W]`` integer classes.
        label: ``[H, W]`` integer classes.
        num_classes: K.
        ignore_index: the label of void.
        size: ``[2]`` integers, the true height and width; all of it if not given.
        tolerance: of boundary F, as a fraction of the diagonal.
        dilation_ratio: of boundary IoU, as a fraction of the diagonal.

    Returns:
        ``[6, K]`` int32, the rows as in ``FIELDS``: contour pixels predicted and met, predicted, true and
        met, true; pixels of the bands' intersection, of their union.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Boundary F: Csurka, Larlus and Perronnin 2013, "What is a good evaluation measure for semantic
    segmentation?", section 2.2, with the contours and disk of Perazzi et al. 2016, "A benchmark dataset and
    evaluation methodology for video object segmentation" (DAVIS). Boundary IoU: Cheng et al. 2021,
    "Boundary IoU", section 4. Both papers average over images or objects; here the counts of all images are
    added up first.
    """
    check_label_maps(prediction[None], label[None], None)
    if not (0 < tolerance < 1 and 0 < dilation_ratio < 1):
        raise JaxsegError(
            f"tolerance {tolerance} and dilation_ratio {dilation_ratio} are fractions of the diagonal in (0, 1)"
        )
    shape = label.shape
    size = jnp.array(shape) if size is None else size.astype(jnp.int32)
    inside = (jnp.arange(shape[0]) < size[0])[:, None] & (jnp.arange(shape[1]) < size[1])[None, :]
    _, known = split_void(label, num_classes, ignore_index)
    known = known & inside
    near, reach = _radius(size, shape, _ceil_steps(tolerance))
    thick, thickest = _radius(size, shape, _round_steps(dilation_ratio))
    thick, thickest = jnp.maximum(thick, 1), max(thickest, 1)
    judged = ~_within(_block_any(inside & ~known), near, reach)

    def of_class(c: Array) -> Array:
        masks = [(values.astype(jnp.int32) == c) & known for values in (prediction, label)]
        edges = [_contour(mask, inside) & judged for mask in masks]
        met = [edges[0] & _within(_contour(masks[1], inside), near, reach)]
        met += [edges[1] & _within(_contour(masks[0], inside), near, reach)]
        bands = [mask & _within_square((known & ~mask) | ~inside, thick, thickest) for mask in masks]
        found = (met[0], edges[0], met[1], edges[1], bands[0] & bands[1], bands[0] | bands[1])
        return jnp.stack([x.sum(dtype=jnp.int32) for x in found])

    return lax.map(of_class, jnp.arange(num_classes)).T  # one class after the other: memory is that of one mask


def boundary_metric(
    num_classes: int,
    class_names: Sequence[str] | None = None,
    ignore_index: int = VOID,
    *,
    tolerance: float = 0.0075,
    dilation_ratio: float = 0.02,
) -> Metric:
    """Boundary F and boundary IoU over a data set; for what is counted see :func:`boundary_counts`.

    ``update`` reads ``predictions["label"]`` and ``batch["label"]``, ``[B, H, W]``, and if there
    ``batch["size"]`` ``[B, 2]`` and ``batch["valid"]`` ``[B]``. It may be jitted, and sums over the devices
    where ``DATA_AXIS`` is mapped. ``compute`` gives, as Python numbers:

    - ``boundary_f``: mean over classes of ``2 P R / (P + R)``, with the met fraction P of the predicted
      contour pixels and R of the true ones; 0 for a class with a contour on one side only
    - ``boundary_iou``: mean over classes of ``intersection / union`` of the bands
    - ``boundary_f_of``, ``boundary_iou_of``: the same by class name
    - ``boundary_absent``: names of the classes with no boundary pixel in truth or prediction for either
      score; each mean is over the classes that have some

    Raises:
        JaxsegError: not one distinct name per class; shapes, types or options that do not fit.
    """
    names = check_class_names(num_classes, class_names)
    options = {"ignore_index": ignore_index, "tolerance": tolerance, "dilation_ratio": dilation_ratio}

    def update(state: counts.Counter, predictions: Predictions, batch: Batch) -> counts.Counter:
        predicted, labels, valid = predictions["label"], batch["label"], batch.get("valid")
        check_label_maps(predicted, labels, valid)
        sizes = batch.get("size")
        if sizes is None:
            sizes = jnp.broadcast_to(jnp.array(labels.shape[1:]), (labels.shape[0], 2))
        one = lambda p, y, s: boundary_counts(p, y, num_classes, size=s, **options)
        found = jax.vmap(one)(predicted, labels, sizes)  # [B, 6, K]
        if valid is not None:
            found = jnp.where(valid.astype(bool)[:, None, None], found, 0)
        return counts.add(state, counts.sum_over_devices(found.astype(jnp.uint32).sum(0, dtype=jnp.uint32)))

    def compute(state: counts.Counter) -> dict[str, Any]:
        return boundary_scores(counts.to_host(state), names)

    return Metric(lambda: counts.zeros((len(FIELDS), num_classes)), update, counts.merge, compute)


def boundary_scores(found: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """The scores of :func:`boundary_metric` from counts ``[6, K]`` on the host, in float64."""
    predicted_met, predicted, true_met, true, intersection, union = np.asarray(found, np.float64)
    precision, recall = predicted_met / np.maximum(predicted, 1), true_met / np.maximum(true, 1)
    both = precision + recall
    f = 2.0 * precision * recall / np.where(both > 0, both, 1.0)
    iou = intersection / np.maximum(union, 1)
    has_f, has_iou = predicted + true > 0, union > 0
    return {
        "boundary_f": mean_or_nan(f[has_f]),
        "boundary_iou": mean_or_nan(iou[has_iou]),
        "boundary_f_of": {name: float(v) for name, v, s in zip(class_names, f, has_f) if s},
        "boundary_iou_of": {name: float(v) for name, v, s in zip(class_names, iou, has_iou) if s},
        "boundary_absent": [name for name, s in zip(class_names, has_f | has_iou) if not s],
    }


def _contour(mask: Array, inside: Array) -> Array:
    """Pixels whose right, lower or lower right neighbour in the image is on the other side of the mask."""
    padded = [jnp.pad(x, ((0, 1), (0, 1))) for x in (mask, inside)]
    edge = jnp.zeros_like(mask)
    for down, right in ((0, 1), (1, 0), (1, 1)):
        other, there = (x[down : down + mask.shape[0], right : right + mask.shape[1]] for x in padded)
        edge |= (mask ^ other) & there
    return edge & inside


def _block_any(mask: Array) -> Array:
    """Whether any of a pixel and its right, lower and lower right neighbours is set: those its contour
    asks."""
    padded = jnp.pad(mask, ((0, 1), (0, 1)))
    return padded[:-1, :-1] | padded[1:, :-1] | padded[:-1, 1:] | padded[1:, 1:]


def _within(mask: Array, radius: Array, reach: int) -> Array:
    """Pixels with a pixel of the mask at most ``radius`` (itself at most ``reach``) away, Euclidean and exact.

    In the column ``dx`` aside, such a pixel may be up to ``sqrt(radius^2 - dx^2)`` rows away.
    """
    distance = _distance_along(mask, 0, reach)
    padded = jnp.pad(distance, ((0, 0), (reach, reach)), constant_values=reach + 1)
    dx, dy = jnp.arange(-reach, reach + 1)[:, None], jnp.arange(reach + 1)[None, :]
    rows = (dx * dx + dy * dy <= radius * radius).sum(1).astype(distance.dtype)  # how many dy from 0 on are in reach
    near = jnp.zeros_like(mask)
    for i in range(2 * reach + 1):  # unrolled: XLA makes one pass of it (six times quicker on a CPU)
        near |= padded[:, i : i + mask.shape[1]] < rows[i]
    return near


def _within_square(mask: Array, radius: Array, reach: int) -> Array:
    """Pixels with a pixel of the mask at most ``radius`` (itself at most ``reach``) away in chessboard distance.

    What surrounds the array belongs to the mask.
    """
    mask = jnp.pad(mask, 1, constant_values=True)
    for axis in (0, 1):
        distance = _distance_along(mask, axis, reach)
        mask = distance <= radius.astype(distance.dtype)
    return mask[1:-1, 1:-1]


def _distance_along(mask: Array, axis: int, reach: int) -> Array:
    """The distance along one axis to the nearest pixel of the mask, ``reach + 1`` where it is more than ``reach``.

    By doubling: after the steps 1, 2, 4, ..., s every offset up to 2 s - 1 has been asked.
    """
    far = reach + 1
    distance = jnp.where(mask, 0, far).astype(jnp.uint8 if far + reach < 256 else jnp.uint16)
    length, step = mask.shape[axis], 1
    while step <= reach:
        margin = [(step, step) if a == axis else (0, 0) for a in (0, 1)]
        padded = jnp.pad(distance, margin, constant_values=far)
        before, after = (lax.slice_in_dim(padded, i, i + length, axis=axis) for i in (0, 2 * step))
        distance = jnp.minimum(distance, jnp.minimum(before, after) + step)
        step *= 2
    return distance


def _ceil_steps(ratio: float) -> Any:
    """``k -> s`` such that ``ceil(ratio * diagonal) > k`` exactly where ``diagonal^2 > s``."""
    return lambda k: math.floor((k / Fraction(str(ratio))) ** 2)


def _round_steps(ratio: float) -> Any:
    """The same for Python's ``round``, where a half goes to the even neighbour: up from odd k, down from
    even k."""

    def step(k: int) -> int:
        square = ((k + Fraction(1, 2)) / Fraction(str(ratio))) ** 2
        return math.ceil(square) - 1 if k % 2 else math.floor(square)

    return step


def _radius(size: Array, shape: tuple[int, ...], step: Any) -> tuple[Array, int]:
    """The radius of an image of ``size``, and the greatest that the array's ``shape`` allows."""
    greatest = shape[0] ** 2 + shape[1] ** 2
    steps = []
    while step(len(steps)) < greatest:
        steps.append(step(len(steps)))
    squared = (size * size).sum()
    return (squared > jnp.array(steps, jnp.int32)).sum(dtype=jnp.int32), len(steps)
