"""Accuracies beside plain counting, average precision beside scikit-learn's."""

import jax
import numpy as np
import pytest
import sklearn.metrics

from jaxseg import metrics
from jaxseg.types import JaxsegError

NAMES = ("a", "b", "c", "d", "e", "f", "g")
K = len(NAMES)


def run(metric, scores, category, valid, batches=3):
    """The scores of the rows dealt out to batches, updated under jit and merged."""
    update, states = jax.jit(metric.update), []
    for i in range(batches):
        rows = slice(i * len(scores) // batches, (i + 1) * len(scores) // batches)
        batch = {"category": category[rows], "valid": valid[rows]}
        states.append(update(metric.init(), {"scores": scores[rows]}, batch))
    state = states[0]
    for other in states[1:]:
        state = metric.merge(state, other)
    return metric.compute(state)


def test_accuracies_are_counted():
    rng = np.random.default_rng(0)
    n = 300
    scores = rng.integers(0, 6, (n, K)).astype(np.float32)  # with ties: the first class ranks higher
    category = rng.integers(-1, K - 1, n).astype(np.int32)  # the last class never occurs
    valid = rng.random(n) < 0.9
    found = run(metrics.accuracy_metric(NAMES, top=3), scores, category, valid)
    order = np.argsort(-scores, 1, kind="stable")
    rows = np.flatnonzero(valid & (category >= 0))
    right = np.array([order[i, 0] == category[i] for i in rows])
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["top3_accuracy"] == pytest.approx(np.mean([category[i] in order[i, :3] for i in rows]))
    of = {name: right[category[rows] == k].mean() for k, name in enumerate(NAMES[:-1])}
    assert found["accuracy_of"] == pytest.approx(of)
    assert found["mean_accuracy"] == pytest.approx(np.mean(list(of.values())))
    assert found["pictures"] == len(rows)


@pytest.mark.parametrize("spread", [0.05, 1.0, 7.0])
def test_average_precision_is_scikit_learns(spread):
    """Of scores in steps of 1/128 exactly (ties included), and of others as near as the steps are fine."""
    rng = np.random.default_rng(1)
    n = 400
    category = (rng.random((n, K)) < np.linspace(0.02, 0.9, K)).astype(np.int32)
    scores = ((rng.normal(size=(n, K)) + category) * spread).astype(np.float32)
    valid = np.arange(n) % 10 > 0
    category[::7, 1] = -1

    def by_sklearn(scores):
        keep = [valid & (category[:, k] >= 0) for k in range(K)]
        ap = sklearn.metrics.average_precision_score
        return {name: ap(category[r, k], scores[r, k]) for k, (name, r) in enumerate(zip(NAMES, keep))}

    steps = np.floor(scores * 128) / 128
    found = run(metrics.average_precision_metric(NAMES), steps, category, valid)
    assert found["average_precision"] == pytest.approx(by_sklearn(steps))
    assert found["mean_average_precision"] == pytest.approx(np.mean(list(by_sklearn(steps).values())))
    counted = valid[:, None] & (category >= 0)
    assert found["accuracy"] == pytest.approx(((steps >= 0) == category)[counted].mean())
    assert found["answers"] == counted.sum()
    fine = run(metrics.average_precision_metric(NAMES), scores, category, valid)
    tolerance = 0.03 if spread < 1 else 0.01
    assert fine["average_precision"] == pytest.approx(by_sklearn(scores), abs=tolerance)


def test_nothing_and_extremes():
    metric = metrics.average_precision_metric(NAMES)
    empty = metric.compute(metric.init())
    assert np.isnan(empty["mean_average_precision"])
    scores = np.array([[np.inf, -np.inf, np.nan, 1e9, -1e9, 0, -1e-6]], np.float32)
    found = run(metric, scores, np.array([[1, 0, 0, 1, 0, 1, 0]], np.int32), np.ones(1, bool), batches=1)
    assert found["average_precision"] == {"a": 1.0, "d": 1.0, "f": 1.0}
    assert found["answers"] == 7


def test_what_is_missing_is_told():
    metric = metrics.accuracy_metric(NAMES)
    with pytest.raises(JaxsegError, match="no category \\[B\\]: one class a picture; take jaxseg.data.MainObject"):
        metric.update(metric.init(), {"scores": np.zeros((2, K))}, {"valid": np.ones(2, bool)})
    with pytest.raises(JaxsegError, match="scores \\[2, 3\\], expected \\[2, 7\\]"):
        metric.update(metric.init(), {"scores": np.zeros((2, 3))}, {"category": np.zeros(2, np.int32)})
