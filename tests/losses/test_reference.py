"""Focal, OHEM and the overlap losses against their formulas, written again in float64 numpy loops."""

import jax
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.losses.overlap import _lovasz_weights
from jaxseg.losses.pixel import kth_largest
from jaxseg.types import JaxsegError

K = 4
WEIGHTS = np.array([0.2, 1.0, 3.0, 0.5], np.float32)


def known(seed=0, shape=(9, 8)):
    """Logits and labels with void, and the softmax and labels of the known pixels in float64."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, K)).astype(np.float32) * 2
    labels = rng.integers(0, K - 1, shape)  # the last class is absent
    labels[rng.random(shape) < 0.3] = 255
    x = logits[labels != 255].astype(np.float64)
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return logits, labels, p, labels[labels != 255]


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal(gamma):
    logits, labels, p, y = known()
    of_truth = p[np.arange(len(y)), y]
    each = WEIGHTS[y] * (1 - of_truth) ** gamma * -np.log(of_truth)
    ours = losses.focal(logits, labels, gamma=gamma, class_weights=WEIGHTS)
    np.testing.assert_allclose(ours, each.sum() / WEIGHTS[y].sum(), rtol=1e-5)


def tversky_terms(p, y, alpha, beta, smooth):
    terms = {}
    for c in set(y.tolist()):
        hit = sum(p[i, c] for i in range(len(y)) if y[i] == c)
        false_positive = sum(p[i, c] for i in range(len(y)) if y[i] != c)
        false_negative = sum(1 - p[i, c] for i in range(len(y)) if y[i] == c)
        terms[c] = 1 - (hit + smooth) / (hit + alpha * false_positive + beta * false_negative + smooth)
    return terms


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("include_background", [True, False])
def test_tversky_dice_jaccard(smooth, include_background):
    logits, labels, p, y = known()
    options = {"smooth": smooth, "include_background": include_background}
    cases = [
        (losses.tversky(logits, labels, alpha=0.2, beta=0.9, **options), 0.2, 0.9),
        (losses.dice(logits, labels, **options), 0.5, 0.5),
        (losses.jaccard(logits, labels, **options), 1.0, 1.0),
    ]
    for ours, alpha, beta in cases:
        terms = tversky_terms(p, y, alpha, beta, smooth)
        expected = np.mean([t for c, t in terms.items() if c or include_background])
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_dice_in_its_usual_form():
    logits, labels, p, y = known()
    onehot = np.eye(K)[y]
    each = 1 - 2 * (p * onehot).sum(0) / (p.sum(0) + onehot.sum(0))
    np.testing.assert_allclose(losses.dice(logits, labels), each[:3].mean(), rtol=1e-5)


def test_a_truth_without_foreground_costs_nothing_without_the_background():
    logits = np.random.default_rng(0).normal(size=(4, 4, 2)).astype(np.float32)
    loss = lambda x: losses.dice(x, np.zeros((4, 4), int), include_background=False)
    value, gradient = jax.value_and_grad(loss)(logits)
    assert value == 0.0
    assert (np.asarray(gradient) == 0).all()


def lovasz_by_sets(p, y):
    """The definition: errors in falling order times the steps of the Jaccard loss of growing sets of
    errors."""
    values = []
    for c in set(y.tolist()):
        truth = y == c
        errors = np.abs(truth - p[:, c])
        before, value, wrong = 0.0, 0.0, set()
        for i in np.argsort(-errors, kind="stable"):
            wrong.add(int(i))
            predicted = truth ^ np.isin(np.arange(len(y)), list(wrong))
            jaccard = 1 - (truth & predicted).sum() / (truth | predicted).sum()
            value += errors[i] * (jaccard - before)
            before = jaccard
        values.append(value)
    return np.mean(values)


@pytest.mark.parametrize("seed", range(4))
def test_lovasz_softmax_by_its_definition(seed):
    logits, labels, p, y = known(seed)
    np.testing.assert_allclose(losses.lovasz_softmax(logits, labels), lovasz_by_sets(p, y), rtol=1e-5)


def test_lovasz_of_hard_errors_is_the_jaccard_loss():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (20, 20)), rng.integers(0, 3, (20, 20))
    logits = 100 * np.eye(3, dtype=np.float32)[predicted]
    iou = [((labels == c) & (predicted == c)).sum() / ((labels == c) | (predicted == c)).sum() for c in range(3)]
    np.testing.assert_allclose(losses.lovasz_softmax(logits, labels), 1 - np.mean(iou), rtol=1e-5)


def test_lovasz_weights_keep_their_digits_on_a_large_image():
    rng = np.random.default_rng(0)
    error, truth = rng.permutation(2**18).astype(np.float32) / 2**18, rng.random(2**18) < 0.3
    order = np.argsort(-error)
    true = truth[order].astype(np.float64)
    jaccard = 1 - (true.sum() - np.cumsum(true)) / (true.sum() + np.cumsum(1 - true))
    expected = np.empty(2**18)
    expected[order] = np.diff(jaccard, prepend=0.0)
    np.testing.assert_allclose(jax.jit(_lovasz_weights)(error, truth), expected, rtol=1e-5)


def test_kth_largest_equals_sorting_with_ties_and_zeros():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.random(50), rng.choice([0.0, 0.5, 3e38, 1e-42], 50)]).astype(np.float32)
    found = jax.jit(jax.vmap(kth_largest, (None, 0)))(values, np.arange(1, 101))
    np.testing.assert_array_equal(found, np.sort(values)[::-1])


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_ohem_keeps_the_hardest_fraction(fraction):
    logits, labels, p, y = known()
    nll = -np.log(p[np.arange(len(y)), y])
    kept = np.argsort(-nll)[: max(1, round(fraction * len(y)))]
    ours = losses.ohem_cross_entropy(logits, labels, fraction=fraction, class_weights=WEIGHTS)
    np.testing.assert_allclose(ours, np.average(nll[kept], weights=WEIGHTS[y[kept]]), rtol=1e-5)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 0), (0.7, 5), (0.05, 20), (1e-9, 3), (1e-9, 0)])
def test_ohem_keeps_what_is_below_the_threshold_and_at_least_so_many(threshold, min_kept):
    logits, labels, p, y = known()
    of_truth = np.sort(p[np.arange(len(y)), y])
    kept = of_truth[: max(min_kept, (of_truth < threshold).sum())]
    expected = -np.log(kept).mean() if len(kept) else 0.0
    ours = losses.ohem_cross_entropy(logits, labels, threshold=threshold, min_kept=min_kept)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_kth_largest_of_fewer_is_0():
    assert kth_largest(np.array([3.0, 2.0], np.float32), np.int32(3)) == 0.0


def test_ohem_keeps_what_ties():
    logits = np.zeros((2, 2, K), np.float32)
    labels = np.array([[0, 1], [2, 255]])
    each = jax.grad(lambda x: losses.ohem_cross_entropy(x, labels, fraction=0.3))(logits)
    assert (np.abs(np.asarray(each)).sum(-1) > 0).tolist() == [[True, True], [True, False]]


def test_weighted_mean_ignores_what_weighs_nothing():
    values = np.array([1.0, np.nan, 4.0], np.float32)
    np.testing.assert_allclose(losses.weighted_mean(values, np.array([True, False, True])), 2.5)
    assert losses.weighted_mean(values, np.zeros(3)) == 0.0
    with pytest.raises(JaxsegError, match=r"values \[3\] and weights \[2\]"):
        losses.weighted_mean(values, np.ones(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: losses.focal(x, y, gamma=-1.0), "gamma is -1.0, expected at least 0"),
        (lambda x, y: losses.tversky(x, y, alpha=-0.1), "alpha -0.1"),
        (lambda x, y: losses.dice(x, y, reduction="sum"), "'sum', expected 'mean' or 'none'"),
        (lambda x, y: losses.lovasz_softmax(x[0, 0], y[0, 0]), r"logits \[3\], expected \[H, W, K\]"),
        (lambda x, y: losses.ohem_cross_entropy(x, y), "give either fraction or threshold"),
        (lambda x, y: losses.ohem_cross_entropy(x, y, fraction=0.5, threshold=0.5), "one of the two"),
        (lambda x, y: losses.ohem_cross_entropy(x, y, fraction=25), "fraction is 25, expected above 0"),
        (lambda x, y: losses.ohem_cross_entropy(x, y, fraction=0.5, min_kept=3), "min_kept is 3; it"),
    ],
)
def test_options_that_do_not_fit_are_refused(call, message):
    with pytest.raises(JaxsegError, match=message):
        call(np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), int))
