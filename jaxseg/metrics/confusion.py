"""The confusion matrix of a data set, and what is read off it: IoU, accuracy, Dice.

``C[t, p]`` counts the pixels of true class t that were predicted as p. Only counts are accumulated and
every ratio is taken once, at the end, so that the result is the same for any split into batches and
devices.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.metrics import counts
from jaxseg.metrics.labels import split_void
from jaxseg.types import VOID, Array, Batch, JaxsegError, Metric, Predictions


def confusion_matrix(
    predictions: Array,
    labels: Array,
    num_classes: int,
    *,
    ignore_index: int = VOID,
    valid: Array | None = None,
) -> Array:
    """``C[t, p] = number of counted pixels with label t and prediction p`` of one batch.

    Args:
        predictions: ``[B, H, W]`` integer classes.
        labels: ``[B, H, W]`` integer classes.
        num_classes: K.
        ignore_index: the label of void. Neither void nor a label or prediction outside 0..K-1 is counted.
        valid: ``[B]``, False for rows that only fill up the batch.

    Returns:
        ``[K, K]`` uint32, exact below 2^32 pixels. Memory is one int32 per pixel, whatever K is.

    Raises:
        JaxsegError: shapes or types that do not fit.
    """
    bins, _ = _pair_bins(predictions, labels, num_classes, ignore_index, valid)
    return _histogram(bins, num_classes)


def segmentation_metric(num_classes: int, class_names: Sequence[str] | None = None, ignore_index: int = VOID) -> Metric:
    """Semantic segmentation scores over a data set.

    ``update`` reads ``predictions["label"]`` and ``batch["label"]``, both ``[B, H, W]``, and
    ``batch["valid"]`` ``[B]`` if there. It may be jitted, over sharded arrays too; where ``DATA_AXIS`` is
    mapped it sums over the devices, so the state stays replicated. ``compute`` gives, as Python numbers:

    - ``miou``: mean of ``iou_k = C_kk / (row_k + column_k - C_kk)`` over the classes seen in truth or
      prediction
    - ``mean_dice``: mean of ``2 C_kk / (row_k + column_k)`` over the same classes
    - ``pixel_accuracy``: ``sum_k C_kk / sum C``
    - ``mean_accuracy``: mean of ``C_kk / row_k`` over the classes seen in the truth
    - ``frequency_weighted_iou``: ``sum_k row_k iou_k / sum C``
    - ``iou``, ``dice``: by class name, without the absent ones
    - ``absent``: names of the classes seen in neither; they take no part in a mean
    - ``pixels``: how many were counted; ``out_of_range``: how many were not because their label or
      prediction is no class and no void. If it is not 0 the data want mending (see
      :func:`jaxseg.metrics.check_labels`).

    A mean over nothing is NaN. Counts are exact below 2^63 pixels, each batch below 2^32.

    Args:
        num_classes: K.
        class_names: K names; ``"0"``, ``"1"``, ... if not given.
        ignore_index: the label of void.

    Raises:
        JaxsegError: not one distinct name per class.

    Long, Shelhamer and Darrell 2015, "Fully convolutional networks", section 5 (metrics).
    """
    names = check_class_names(num_classes, class_names)

    def init() -> dict[str, Any]:
        return {"confusion": counts.zeros((num_classes, num_classes)), "out_of_range": counts.zeros(())}

    def update(state: dict[str, Any], predictions: Predictions, batch: Batch) -> dict[str, Any]:
        predicted, labels, valid = predictions["label"], batch["label"], batch.get("valid")
        bins, strange = _pair_bins(predicted, labels, num_classes, ignore_index, valid)
        found = {"confusion": _histogram(bins, num_classes), "out_of_range": strange.sum(dtype=jnp.uint32)}
        return {key: counts.add(state[key], counts.sum_over_devices(found[key])) for key in state}

    def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
        return {key: counts.merge(a[key], b[key]) for key in a}

    def compute(state: dict[str, Any]) -> dict[str, Any]:
        result = scores(counts.to_host(state["confusion"]), names)
        return result | {"out_of_range": int(counts.to_host(state["out_of_range"]))}

    return Metric(init, update, merge, compute)


def scores(confusion: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """The scores of :func:`segmentation_metric` from a confusion matrix ``[K, K]`` on the host, in
    float64."""
    matrix = np.asarray(confusion, np.float64)
    hit, truth, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    union, total = truth + predicted - hit, matrix.sum()
    seen, true = union > 0, truth > 0
    iou = hit / np.where(seen, union, 1.0)
    dice = 2.0 * hit / np.where(seen, truth + predicted, 1.0)
    accuracy = hit / np.where(true, truth, 1.0)
    return {
        "miou": mean_or_nan(iou[seen]),
        "mean_dice": mean_or_nan(dice[seen]),
        "pixel_accuracy": float(hit.sum() / total) if total else float("nan"),
        "mean_accuracy": mean_or_nan(accuracy[true]),
        "frequency_weighted_iou": float((truth * iou).sum() / total) if total else float("nan"),
        "iou": {name: float(v) for name, v, s in zip(class_names, iou, seen) if s},
        "dice": {name: float(v) for name, v, s in zip(class_names, dice, seen) if s},
        "absent": [name for name, s in zip(class_names, seen) if not s],
        "pixels": int(np.asarray(confusion).sum()),
    }


def mean_or_nan(values: np.ndarray) -> float:
    """The mean, and NaN without numpy's warning where there is nothing to average."""
    return float(values.mean()) if values.size else float("nan")


def check_class_names(num_classes: int, class_names: Sequence[str] | None) -> list[str]:
    """One distinct name per class: those given, or the numbers."""
    names = [str(k) for k in range(num_classes)] if class_names is None else [str(n) for n in class_names]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise JaxsegError(f"{len(names)} class names {names[:8]}, expected {num_classes} distinct ones")
    return names


def check_label_maps(predictions: Array, labels: Array, valid: Array | None) -> None:
    """Raises :class:`JaxsegError` unless both are integer ``[B, H, W]`` and ``valid`` is ``[B]``."""
    if labels.ndim != 3 or predictions.shape != labels.shape:
        raise JaxsegError(
            f"predictions {list(predictions.shape)} and labels {list(labels.shape)}, expected [B, H, W] "
            "for both: take the argmax of the logits over their last axis and resize it to the labels"
        )
    if valid is not None and valid.shape != labels.shape[:1]:
        raise JaxsegError(f"valid {list(valid.shape)}, expected one per image: {list(labels.shape[:1])}")


def _pair_bins(
    predictions: Array, labels: Array, num_classes: int, ignore_index: int, valid: Array | None
) -> tuple[Array, Array]:
    """``t * K + p`` per pixel as ``[B, H * W]``, K^2 where it does not count; and which pixels are out of
    range."""
    check_label_maps(predictions, labels, valid)
    truth, known = split_void(labels, num_classes, ignore_index)
    # A prediction may be any class, the one that is ignored in the truth included, but is never void.
    predicted, possible = split_void(predictions, num_classes, ignore_index=-1)
    known_or_strange = labels.astype(jnp.int32) != ignore_index
    if valid is not None:
        rows = valid.astype(bool)[:, None, None]
        known, known_or_strange = known & rows, known_or_strange & rows
    counted = known & possible
    bins = jnp.where(counted, truth * num_classes + predicted, num_classes * num_classes)
    return bins.reshape(labels.shape[0], -1), known_or_strange & ~counted


def _histogram(bins: Array, num_classes: int) -> Array:
    """``[K, K]`` uint32 from the bins ``[B, H * W]``.

    One histogram per image, then their sum: images may lie on different devices, and on an accelerator the
    additions of one image contend only with each other.
    """
    empty = jnp.zeros(num_classes * num_classes + 1, jnp.uint32)
    per_image = jax.vmap(lambda b: empty.at[b].add(1, mode="promise_in_bounds"))(bins)
    return per_image.sum(0, dtype=jnp.uint32)[:-1].reshape(num_classes, num_classes)
