"""The loss of keypoints: PyTorch's cross-entropy over places, and nothing where nothing counts."""

import jax
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import JaxsegError


def test_is_the_cross_entropy_over_places():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 5, 5, 4)).astype(np.float32)
    targets, valid = rng.integers(0, 25, (2, 3, 4)), rng.uniform(size=(2, 3, 4)) < 0.6
    flat = torch.tensor(logits.reshape(2, 3, 25, 4).transpose(0, 1, 3, 2)[valid])
    want = torch.nn.functional.cross_entropy(flat, torch.tensor(targets[valid]))
    np.testing.assert_allclose(losses.keypoint_loss(logits, targets.astype(np.int32), valid), want, rtol=1e-5)


def test_what_is_not_valid_changes_nothing():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 3, 5, 5, 4)).astype(np.float32)
    targets, valid = np.zeros((1, 3, 4), np.int32), np.zeros((1, 3, 4), bool)
    logits[0, 0] = np.nan
    value, gradient = jax.value_and_grad(losses.keypoint_loss)(logits, targets - 7, valid)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_what_is_refused():
    with pytest.raises(JaxsegError, match=r"\[B, R, M, M, P\]"):
        losses.keypoint_loss(np.zeros((1, 2, 5, 5, 4)), np.zeros((1, 2, 3), np.int32), np.ones((1, 2, 3), bool))
