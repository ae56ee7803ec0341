"""U-Net's weight map against brute force over all pairs of pixels."""

import numpy as np
import pytest

from jaxseg import losses
from jaxseg.losses.border import _two_nearest
from jaxseg.types import JaxsegError


def cells():
    instances = np.zeros((17, 23), np.int32)
    instances[2:7, 3:8] = 1
    instances[3:8, 10:14] = 7  # two columns of background between it and the first
    instances[12:16, 5:20] = 300
    return instances


def brute_force(instances, w0, sigma, weights):
    result = np.zeros(instances.shape)
    for y, x in np.ndindex(instances.shape):
        distances = sorted(np.hypot(*(np.argwhere(instances == i) - (y, x)).T).min() for i in np.unique(instances) if i)
        border = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2)) if len(distances) > 1 else 0
        result[y, x] = weights[int(instances[y, x] > 0)] + border
    return result


def test_equals_brute_force():
    instances = cells()
    ours = losses.unet_weight_map(instances, class_weights=(1.0, 2.0))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, brute_force(instances, 10, 5, (1, 2)), rtol=1e-5)
    ours = losses.unet_weight_map(instances, w0=3.0, sigma=1.5, class_weights=(0.5, 0.25))
    np.testing.assert_allclose(ours, brute_force(instances, 3, 1.5, (0.5, 0.25)), rtol=1e-5)


def test_masks_may_be_stacked_and_empty_ones_do_not_count():
    instances = cells()
    stack = np.stack([instances == i for i in (1, 7, 300, 5)])
    np.testing.assert_array_equal(losses.unet_weight_map(stack), losses.unet_weight_map(instances))


def test_classes_are_balanced_over_the_valid_pixels():
    instances, valid = cells(), np.ones((17, 23), bool)
    valid[:, 15:] = False
    weights = losses.unet_weight_map(instances, w0=0.0, valid=valid)
    foreground = instances > 0
    assert (weights[~valid] == 0).all()
    np.testing.assert_allclose(weights[valid].mean(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights[valid & foreground].sum(), weights[valid & ~foreground].sum(), rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_cells_there_is_no_border(count):
    weights = losses.unet_weight_map(np.minimum(cells() == 1, count).astype(int), class_weights=(1.0, 2.0))
    assert set(np.unique(weights)) == {1.0, 2.0} if count else {1.0}


def test_distances_stay_exact_far_away():
    mask = np.zeros((900, 1300), bool)
    mask[3, 5] = True
    nearest, second = _two_nearest([mask], mask.shape)
    rows, columns = np.indices(mask.shape)
    np.testing.assert_allclose(nearest, np.hypot(rows - 3, columns - 5), rtol=1e-6)
    assert np.isinf(second).all()


def test_the_gap_weighs_most_and_the_loss_takes_the_map():
    instances = cells()
    weights = losses.unet_weight_map(instances)
    assert weights[5, 9] > 8 > weights[10, 0]
    logits = np.zeros((17, 23, 2), np.float32)
    loss = losses.cross_entropy(logits, (instances > 0).astype(np.uint8), pixel_weights=weights)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(JaxsegError, match="connectedComponents"):
        losses.unet_weight_map(np.zeros((4, 4)))
    with pytest.raises(JaxsegError, match="sigma is 0"):
        losses.unet_weight_map(cells(), sigma=0)
    with pytest.raises(JaxsegError, match=r"valid \(2, 2\), expected \(17, 23\)"):
        losses.unet_weight_map(cells(), valid=np.ones((2, 2)))
