"""How well pictures as wholes are classified: accuracy of one label, average precision of several."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxseg.metrics import counts
from jaxseg.metrics.confusion import check_class_names, mean_or_nan
from jaxseg.metrics.labels import split_void
from jaxseg.types import UNKNOWN, Array, Batch, JaxsegError, Metric, Predictions

BINS, REACH = 8192, 32  # logits are told apart in steps of 1/128 between -32 and 32


def accuracy_metric(class_names: Sequence[str], *, top: int = 5) -> Metric:
    """Scores where each picture has one label.

    ``update`` reads ``predictions["scores"]`` [B, K], ``batch["category"]`` [B] (a label outside 0..K-1 is not counted)
    and ``batch["valid"]`` [B]. ``compute`` gives ``accuracy``; ``top5_accuracy``, the share whose class is among the
    5 (``top``) highest scores, where there are more classes than that; ``mean_accuracy`` over the classes seen;
    ``accuracy_of`` by class; and ``pictures``, how many were counted. Of equal scores the first class ranks higher.
    """
    names = check_class_names(len(class_names), class_names)
    k = len(names)

    def init() -> dict[str, Any]:
        return {"right": counts.zeros((k,)), "all": counts.zeros((k,)), "top": counts.zeros(())}

    def update(state: dict[str, Any], predictions: Predictions, batch: Batch) -> dict[str, Any]:
        scores, category = predictions["scores"], known(batch, 1)
        if scores.shape != (*category.shape, k):
            raise JaxsegError(f"scores {list(scores.shape)}, expected [{category.shape[0]}, {k}]: one for each class")
        truth, valid = split_void(category, k, UNKNOWN)
        own = jnp.take_along_axis(scores, truth[:, None], 1)
        before = jnp.arange(k)[None] < truth[:, None]
        rank = jnp.sum((scores > own) | ((scores == own) & before), axis=1)
        here = valid[:, None] & (truth[:, None] == jnp.arange(k)[None])
        found = {
            "right": jnp.sum(here & (rank == 0)[:, None], axis=0),
            "all": jnp.sum(here, axis=0),
            "top": jnp.sum(valid & (rank < top)),
        }
        return {key: counts.add(state[key], counts.sum_over_devices(found[key])) for key in state}

    def compute(state: dict[str, Any]) -> dict[str, Any]:
        right, every, tops = (counts.to_host(state[key]) for key in ("right", "all", "top"))
        seen, total = every > 0, int(every.sum())
        accuracy = right / np.where(seen, every, 1)
        return {
            "accuracy": float(right.sum() / total) if total else float("nan"),
            **({f"top{top}_accuracy": float(tops / total) if total else float("nan")} if k > top else {}),
            "mean_accuracy": mean_or_nan(accuracy[seen]),
            "accuracy_of": {name: float(a) for name, a, s in zip(names, accuracy, seen) if s},
            "pictures": total,
        }

    return Metric(init, update, lambda a, b: {key: counts.merge(a[key], b[key]) for key in a}, compute)


def average_precision_metric(class_names: Sequence[str]) -> Metric:
    """Scores where each picture may show several classes.

    ``update`` reads ``predictions["scores"]``, logits [B, K], ``batch["category"]`` [B, K] (1 present, 0 absent, else
    not counted) and ``batch["valid"]`` [B]. ``compute`` gives ``mean_average_precision``, over the classes present
    somewhere, of ``AP = sum_n (R_n - R_(n-1)) P_n`` with recall and precision at each score, from the highest on
    (no interpolation: scikit-learn's ``average_precision_score``); ``average_precision`` by class; ``accuracy``, the
    share of questions answered rightly by the logit's sign (0 says present).

    Only histograms are kept, so that any split of the data gives the same numbers: logits are told apart in steps of
    1/128 between -32 and 32.
    """
    names = check_class_names(len(class_names), class_names)
    k = len(names)

    def init() -> Any:
        return counts.zeros((k, 2, BINS))

    def update(state: Any, predictions: Predictions, batch: Batch) -> Any:
        scores, category = predictions["scores"], known(batch, 2)
        if scores.shape != category.shape or scores.shape[1] != k:
            raise JaxsegError(
                f"scores {list(scores.shape)} and category {list(category.shape)}, expected [B, {k}] both"
            )
        truth, valid = split_void(category, 2, UNKNOWN)
        steps = jnp.floor((scores.astype(jnp.float32) + REACH) * (BINS / (2 * REACH)))
        bins = jnp.clip(jnp.nan_to_num(steps), 0, BINS - 1).astype(jnp.int32)
        of_class = jnp.broadcast_to(jnp.arange(k)[None], bins.shape)
        found = jnp.zeros((k, 2, BINS), jnp.uint32).at[of_class, truth, bins].add(valid.astype(jnp.uint32))
        return counts.add(state, counts.sum_over_devices(found))

    def compute(state: Any) -> dict[str, Any]:
        absent, present = np.moveaxis(counts.to_host(state).astype(np.float64), 1, 0)  # [K, BINS] each
        true, positive = (np.cumsum(h[:, ::-1], 1) for h in (present, present + absent))
        seen, total = true[:, -1] > 0, positive[:, -1].sum()
        precision = true / np.maximum(positive, 1)
        ap = (precision * present[:, ::-1]).sum(1) / np.maximum(true[:, -1], 1)
        right = present[:, BINS // 2 :].sum() + absent[:, : BINS // 2].sum()
        return {
            "mean_average_precision": mean_or_nan(ap[seen]),
            "average_precision": {name: float(a) for name, a, s in zip(names, ap, seen) if s},
            "accuracy": float(right / total) if total else float("nan"),
            "answers": int(total),
        }

    return Metric(init, update, counts.merge, compute)


def known(batch: Batch, rank: int) -> Array:
    """``batch["category"]`` of the given rank, ``UNKNOWN`` in rows that are not valid."""
    if "category" not in batch or batch["category"].ndim != rank:
        wanted = "[B]: one class a picture" if rank == 1 else "[B, K]: 1 or 0 for each class"
        raise JaxsegError(f"the batch has no category {wanted}; take jaxseg.data.MainObject or Present as the source")
    category = batch["category"].astype(jnp.int32)
    if "valid" not in batch:
        return category
    return jnp.where(batch["valid"].reshape(-1, *[1] * (rank - 1)), category, UNKNOWN)
