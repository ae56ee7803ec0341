"""The confusion matrix against a loop and scikit-learn; exact counts; any split gives the same scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion

from jaxseg.metrics import confusion_matrix, counts, segmentation_metric
from jaxseg.types import DATA_AXIS, JaxsegError

K = 5


def maps(seed, images, classes=K, ignore_index=255, dtype=np.int32):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (images, 7, 9))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape))
    truth[rng.random(truth.shape) < 0.2] = ignore_index
    return predicted.astype(dtype), truth.astype(dtype)


def by_loop(predicted, truth, classes=K, ignore_index=255):
    matrix = np.zeros((classes, classes), int)
    for p, t in zip(predicted.ravel().tolist(), truth.ravel().tolist()):
        if t != ignore_index:
            matrix[t, p] += 1
    return matrix


@pytest.mark.parametrize(
    ("ignore_index", "dtype"), [(255, np.uint8), (255, np.int32), (-1, np.int32), (-100, np.int32)]
)
def test_equals_a_loop_and_sklearn(ignore_index, dtype):
    predicted, truth = maps(0, 3, ignore_index=ignore_index, dtype=dtype)
    ours = jax.jit(lambda p, t: confusion_matrix(p, t, K, ignore_index=ignore_index))(predicted, truth)
    np.testing.assert_array_equal(ours, by_loop(predicted, truth, ignore_index=ignore_index))
    keep = truth != ignore_index
    np.testing.assert_array_equal(ours, sklearn_confusion(truth[keep], predicted[keep], labels=range(K)))


def test_scores_by_hand():
    # truth 0 0 0 0 1 1, predicted 0 0 0 1 1 2; class 3 is absent, class 2 only predicted
    metric = segmentation_metric(4, ["sky", "road", "tree", "car"])
    update = metric.update(
        metric.init(),
        {"label": jnp.array([[[0, 0, 0, 1, 1, 2]]])},
        {"label": jnp.array([[[0, 0, 0, 0, 1, 1]]])},
    )
    result = metric.compute(update)
    assert result["iou"] == pytest.approx({"sky": 3 / 4, "road": 1 / 3, "tree": 0.0})
    assert result["dice"] == pytest.approx({"sky": 6 / 7, "road": 2 / 4, "tree": 0.0})
    assert result["absent"] == ["car"]
    assert result["miou"] == pytest.approx((3 / 4 + 1 / 3) / 3)
    assert result["mean_dice"] == pytest.approx((6 / 7 + 1 / 2) / 3)
    assert result["pixel_accuracy"] == pytest.approx(4 / 6)
    assert result["mean_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result["frequency_weighted_iou"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 3) / 6)
    assert (result["pixels"], result["out_of_range"]) == (6, 0)


@pytest.mark.parametrize("seed", range(3))
def test_any_split_with_a_padded_last_batch_gives_the_same_scores(seed):
    rng = np.random.default_rng(seed)
    predicted, truth = maps(seed, 11)
    metric = segmentation_metric(K)
    whole = metric.compute(metric.update(metric.init(), {"label": predicted}, {"label": truth}))
    update, size = jax.jit(metric.update), int(rng.integers(2, 6))
    states = [metric.init(), metric.init()]
    for start in range(0, 11, size):
        rows = np.arange(start, start + size)
        valid, rows = rows < 11, np.minimum(rows, 10)  # the last batch repeats its last image
        which = int(rng.integers(2))
        states[which] = update(states[which], {"label": predicted[rows]}, {"label": truth[rows], "valid": valid})
    assert metric.compute(metric.merge(*states)) == whole
    assert update._cache_size() == 1


def test_eight_devices_by_sharding_and_by_pmap_equal_one():
    predicted, truth = maps(4, 16)
    valid = np.arange(16) < 13
    metric = segmentation_metric(K)
    batch = {"label": truth, "valid": valid}
    one = metric.compute(metric.update(metric.init(), {"label": predicted}, batch))

    mesh = jax.make_mesh((8,), (DATA_AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(DATA_AXIS))
    sharded = jax.device_put(({"label": predicted}, batch), spread)
    lowered = jax.jit(metric.update).lower(metric.init(), *sharded).compile()
    assert "all-gather" not in lowered.as_text()  # each device counts its own images
    assert metric.compute(jax.jit(metric.update)(metric.init(), *sharded)) == one

    split = jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), ({"label": predicted}, batch))
    mapped = jax.pmap(metric.update, axis_name=DATA_AXIS, in_axes=(None, 0, 0))
    copies = mapped(metric.init(), *split)
    assert metric.compute(jax.tree.map(lambda x: x[5], copies)) == one


def planted(value):
    """A state with ``value`` pixels in every cell."""
    word = lambda x: jnp.full((2, 2), x, jnp.uint32)
    confusion = {"hi": word(value >> 32), "lo": word(value & 0xFFFFFFFF)}
    return {"confusion": confusion, "out_of_range": counts.zeros(())}


@pytest.mark.parametrize("start", [2**24, 2**31 - 3, 2**32 - 3, 2**53, 2**57 + 2**32 - 1])
def test_counts_stay_exact_past_every_width(start):
    metric = segmentation_metric(2)
    predicted, truth = np.array([[[0] * 3 + [1] * 4]]), np.array([[[0] * 3 + [0] * 4]])
    state = jax.jit(metric.update)(planted(start), {"label": predicted}, {"label": truth})
    np.testing.assert_array_equal(counts.to_host(state["confusion"]), [[start + 3, start + 4], [start, start]])
    assert metric.compute(state)["pixels"] == 4 * start + 7
    merged = metric.merge(state, planted(2**32 - 1))
    assert counts.to_host(merged["confusion"])[0, 1] == start + 4 + 2**32 - 1


def test_merging_doubles_past_2_to_the_40():
    metric = segmentation_metric(2)
    state = metric.update(metric.init(), {"label": np.array([[[0, 1, 1]]])}, {"label": np.array([[[0, 0, 1]]])})
    for _ in range(40):
        state = metric.merge(state, state)
    np.testing.assert_array_equal(counts.to_host(state["confusion"]), [[2**40, 2**40], [0, 2**40]])


def test_out_of_range_is_counted_apart_and_void_predictions_do_not_matter():
    metric = segmentation_metric(2)
    truth = np.array([[[0, 1, 2, 255, 0, 1]]])
    predicted = np.array([[[0, 1, 1, 77, 9, -1]]])
    result = metric.compute(metric.update(metric.init(), {"label": predicted}, {"label": truth}))
    assert (result["pixels"], result["out_of_range"], result["miou"]) == (2, 3, 1.0)


def test_a_prediction_may_be_the_class_that_is_ignored_in_the_truth():
    matrix = confusion_matrix(np.array([[[0, 1, 0]]]), np.array([[[1, 1, 0]]]), 2, ignore_index=0)
    np.testing.assert_array_equal(matrix, [[0, 0], [1, 1]])


def test_nothing_counted_is_nan_and_all_absent():
    metric = segmentation_metric(2)
    result = metric.compute(metric.init())
    assert np.isnan(result["miou"])
    assert np.isnan(result["pixel_accuracy"])
    assert result["absent"] == ["0", "1"]


def test_what_does_not_fit_is_refused():
    metric = segmentation_metric(2)
    with pytest.raises(JaxsegError, match=r"predictions \[1, 2, 2, 3\] and labels \[1, 2, 2\]"):
        metric.update(metric.init(), {"label": jnp.zeros((1, 2, 2, 3))}, {"label": jnp.zeros((1, 2, 2), int)})
    with pytest.raises(JaxsegError, match=r"valid \[3\], expected one per image: \[1\]"):
        confusion_matrix(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int), 2, valid=np.ones(3, bool))
    with pytest.raises(JaxsegError, match="2 class names"):
        segmentation_metric(2, ["a", "a"])
