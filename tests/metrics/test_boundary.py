"""Boundary F and boundary IoU against the published recipes, written again with numpy and OpenCV."""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import boundary_counts, boundary_metric, combine, counts, segmentation_metric
from jaxseg.metrics.boundary import FIELDS, _ceil_steps, _radius, _round_steps, boundary_scores
from jaxseg.types import DATA_AXIS, JaxsegError

K = 4


count = jax.jit(boundary_counts, static_argnames=("num_classes", "tolerance", "dilation_ratio"))


def blobs(seed, shape=(60, 81), classes=K):
    """A truth of smooth regions, and a prediction that is the truth slightly shifted and dented."""
    rng = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 6) for _ in range(classes)]
    truth = np.argmax(fields, 0)
    moved = np.roll(truth, (1, 2), (0, 1))
    noise = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 3)
    return np.where(noise > 0.12, (moved + 1) % classes, moved).astype(np.int32), truth.astype(np.int32)


def davis_contour(seg):
    """The boundary map of the DAVIS toolkit (seg2bmap at the map's own size)."""
    e, s, se = np.zeros_like(seg), np.zeros_like(seg), np.zeros_like(seg)
    e[:, :-1], s[:-1, :], se[:-1, :-1] = seg[:, 1:], seg[1:, :], seg[1:, 1:]
    b = (seg ^ e) | (seg ^ s) | (seg ^ se)
    b[-1, :] = seg[-1, :] ^ e[-1, :]
    b[:, -1] = seg[:, -1] ^ s[:, -1]
    b[-1, -1] = False
    return b


def davis_counts(predicted, true, ratio):
    radius = int(np.ceil(ratio * np.linalg.norm(predicted.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    p, t = davis_contour(predicted), davis_contour(true)
    near_p, near_t = (cv2.dilate(b.astype(np.uint8), disk) > 0 for b in (p, t))
    return [(p & near_t).sum(), p.sum(), (t & near_p).sum(), t.sum()]


def mask_to_boundary(mask, ratio):
    """As published with boundary IoU (Cheng et al. 2021)."""
    h, w = mask.shape
    dilation = max(1, round(ratio * np.sqrt(h**2 + w**2)))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)
    return (mask.astype(np.uint8) - eroded[1:-1, 1:-1]) > 0


def reference(predicted, true, tolerance=0.0075, ratio=0.02, classes=K):
    columns = []
    for c in range(classes):
        p, t = predicted == c, true == c
        bands = mask_to_boundary(p, ratio), mask_to_boundary(t, ratio)
        overlap = [(bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()]
        columns.append(davis_counts(p, t, tolerance) + overlap)
    return np.array(columns).T


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tolerance", "ratio"), [(0.0075, 0.02), (0.03, 0.05)])
def test_equals_the_published_recipes(seed, tolerance, ratio):
    predicted, true = blobs(seed)
    counted = count(predicted, true, num_classes=K, tolerance=tolerance, dilation_ratio=ratio)
    expected = reference(predicted, true, tolerance, ratio)
    assert (expected[[0, 2]] < expected[[1, 3]]).any()  # some pixels are not met, or the test would be idle
    np.testing.assert_array_equal(counted, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2)])
def test_thin_images(shape):
    rng = np.random.default_rng(0)
    predicted, true = rng.integers(0, K, (2, *shape))
    np.testing.assert_array_equal(count(predicted, true, num_classes=K), reference(predicted, true))


def test_radii_are_those_of_the_recipes_for_every_diagonal():
    shape = (700, 900)
    sizes = np.concatenate([np.random.default_rng(0).integers(1, 700, (500, 2)), [[45, 60], [75, 100], [240, 320]]])
    for steps, rule in (
        (_ceil_steps(0.0075), lambda d: math.ceil(0.0075 * d)),
        (_round_steps(0.02), lambda d: round(0.02 * d)),
    ):
        ours = jax.jit(jax.vmap(lambda s, steps=steps: _radius(s, shape, steps)[0]))(sizes.astype(np.int32))
        np.testing.assert_array_equal(ours, [rule(math.hypot(h, w)) for h, w in sizes])


def test_padding_beyond_the_true_size_changes_nothing():
    predicted, true = blobs(1)
    size, rng = np.array(true.shape), np.random.default_rng(0)
    frame = lambda x, fill: np.concatenate([np.pad(x, ((0, 9), (0, 0))), fill[:, :30]], 1)
    noise = rng.integers(0, K, (69, 30))
    padded = count(frame(predicted, noise), frame(true, np.full((69, 30), 255)), num_classes=K, size=jnp.asarray(size))
    np.testing.assert_array_equal(padded, count(predicted, true, num_classes=K))


def test_predictions_at_void_change_nothing_and_void_makes_no_boundary():
    predicted, true = blobs(2)
    true[20:35, 30:50] = 255
    other = np.where(true == 255, (predicted + 1) % K, predicted)
    np.testing.assert_array_equal(*(count(p, true, num_classes=K) for p in (predicted, other)))
    one_class = np.where(true == 255, 255, 0)
    counted = dict(zip(FIELDS, np.asarray(count(np.zeros_like(true), one_class, num_classes=K))))
    assert counted["predicted"].sum() == counted["true"].sum() == 0
    rim = mask_to_boundary(np.ones(true.shape, bool), 0.02)  # only the image's own rim is boundary
    assert counted["union"][0] == counted["intersection"][0] == (rim & (true != 255)).sum()


def test_void_rule_by_brute_force():
    predicted, true = blobs(5, (24, 30))
    true[np.random.default_rng(5).random(true.shape) < 0.01] = 255
    tolerance, ratio = 0.05, 0.06  # radii of 2 pixels
    known = true != 255
    pixels = list(np.ndindex(true.shape))
    block = lambda y, x: [(y + i, x + j) for i in (0, 1) for j in (0, 1) if y + i < 24 and x + j < 30]
    unsure = [q for q in pixels if not all(known[b] for b in block(*q))]
    judged = [q for q in pixels if all(math.dist(q, u) > 2 for u in unsure)]
    counted = np.asarray(count(predicted, true, num_classes=K, tolerance=tolerance, dilation_ratio=ratio))
    for c in range(K):
        contour, band = [], []
        for labels in (predicted, true):
            edge = [q for q in pixels if all(known[b] for b in block(*q))]
            contour.append([q for q in edge if len({labels[b] == c for b in block(*q)}) > 1])
            other = [q for q in pixels if known[q] and labels[q] != c]
            outside = [(y, x) for y in range(-1, 25) for x in range(-1, 31) if not (0 <= y < 24 and 0 <= x < 30)]
            near = {(y + i, x + j) for y, x in other + outside for i in range(-2, 3) for j in range(-2, 3)}
            band.append({q for q in pixels if known[q] and labels[q] == c and q in near})
        expected = []
        for mine, theirs in (contour, contour[::-1]):
            counts_here = [q for q in mine if q in judged]
            expected += [sum(any(math.dist(q, r) <= 2 for r in theirs) for q in counts_here), len(counts_here)]
        expected += [len(band[0] & band[1]), len(band[0] | band[1])]
        np.testing.assert_array_equal(counted[:, c], expected)


def test_scores_by_hand():
    #                        class:      a    b    c  d
    found = np.array([[6, 0, 0, 0], [8, 4, 0, 0], [5, 0, 0, 0], [10, 0, 0, 0], [3, 0, 0, 0], [12, 4, 2, 0]])
    result = boundary_scores(found, "abcd")
    assert result["boundary_f_of"] == pytest.approx({"a": 2 * 0.75 * 0.5 / 1.25, "b": 0.0})
    assert result["boundary_iou_of"] == pytest.approx({"a": 0.25, "b": 0.0, "c": 0.0})
    assert result["boundary_f"] == pytest.approx(0.3)
    assert result["boundary_iou"] == pytest.approx(0.25 / 3)
    assert result["boundary_absent"] == ["d"]


def data_set(images=16):
    pairs = [blobs(s, (24, 30)) for s in range(images)]
    predicted, true = (np.stack(x) for x in zip(*pairs))
    sizes = np.random.default_rng(0).integers(15, 24, (images, 2))
    return {"label": predicted}, {"label": true, "size": sizes, "valid": np.arange(images) < images - 3}


def test_any_split_and_any_devices_give_the_same_scores():
    predicted, batch = data_set()
    metric = combine(segmentation_metric(K), boundary_metric(K))
    update = jax.jit(metric.update)
    whole = metric.compute(update(metric.init(), predicted, batch))
    assert {"miou", "boundary_f", "boundary_iou"} <= whole.keys()

    states = [metric.init(), metric.init()]
    for start in range(0, 16, 4):
        rows = slice(start, start + 4)
        part = jax.tree.map(lambda x, r=rows: x[r], (predicted, batch))
        states[start % 8 // 4] = update(states[start % 8 // 4], *part)
    assert metric.compute(metric.merge(*states)) == whole

    mesh = jax.make_mesh((8,), (DATA_AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(DATA_AXIS))
    assert metric.compute(update(metric.init(), *jax.device_put((predicted, batch), spread))) == whole

    split = jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), (predicted, batch))
    copies = jax.pmap(metric.update, axis_name=DATA_AXIS, in_axes=(None, 0, 0))(metric.init(), *split)
    assert metric.compute(jax.tree.map(lambda x: x[3], copies)) == whole


def test_a_perfect_prediction_scores_1_and_counts_carry_past_32_bits():
    _, batch = data_set(4)
    metric = boundary_metric(K)
    state = jax.jit(metric.update)(metric.init(), {"label": batch["label"]}, batch)
    result = metric.compute(state)
    assert (result["boundary_f"], result["boundary_iou"]) == (1.0, 1.0)
    start = counts.to_host(state)
    for _ in range(35):
        state = metric.merge(state, state)
    np.testing.assert_array_equal(counts.to_host(state), start << 35)


def test_what_does_not_fit_is_refused():
    with pytest.raises(JaxsegError, match=r"predictions \[1, 2, 3\] and labels \[1, 2, 2\]"):
        boundary_counts(np.zeros((2, 3), int), np.zeros((2, 2), int), 2)
    with pytest.raises(JaxsegError, match="fractions of the diagonal"):
        boundary_counts(np.zeros((2, 2), int), np.zeros((2, 2), int), 2, tolerance=3)
    twice = combine(segmentation_metric(2), segmentation_metric(2))
    with pytest.raises(JaxsegError, match="two of the combined metrics compute absent, dice"):
        twice.compute(twice.init())
