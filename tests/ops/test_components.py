"""Connected regions beside scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxseg import ops
from jaxseg.data import tight_boxes
from jaxseg.types import JaxsegError

SIZE = (13, 17)


def masks():
    rng = np.random.default_rng(0)
    drawn = [rng.random(SIZE) < share for share in (0.05, 0.2, 0.3, 0.4, 0.5, 0.9)]
    snake = np.ones(SIZE, bool)  # one region with a long way through it
    snake[1::4, :-1] = snake[3::4, 1:] = False
    tie = np.zeros(SIZE, bool)
    tie[2:4, 8:12] = tie[8:10, 1:5] = True
    corners = np.eye(*SIZE, dtype=bool)
    return np.stack([*drawn, snake, tie, corners, np.zeros(SIZE, bool), np.ones(SIZE, bool)])


def by_scipy(mask):
    label, count = scipy.ndimage.label(mask, np.ones((3, 3)))
    return label == 1 + np.argmax(np.bincount(label.ravel())[1:]) if count else np.zeros_like(mask)


def test_largest_component_is_scipys():
    found = jax.jit(jax.vmap(ops.largest_component))(masks())
    np.testing.assert_array_equal(found, np.stack([by_scipy(m) for m in masks()]))
    np.testing.assert_array_equal(ops.largest_component(jnp.asarray(masks()[2])), by_scipy(masks()[2]))


def test_boxes_of_masks_are_those_of_the_host():
    boxes = jax.jit(jax.vmap(ops.mask_box))(masks())
    assert boxes.dtype == jnp.float32
    np.testing.assert_array_equal(boxes, tight_boxes(masks()))
    one = np.zeros(SIZE, bool)
    one[4, 6] = True
    np.testing.assert_array_equal(ops.mask_box(jnp.asarray(one)), [6, 4, 7, 5])


def test_what_is_no_mask_is_refused():
    with pytest.raises(JaxsegError, match="expected bool \\[H, W\\]; vmap over more"):
        ops.largest_component(jnp.zeros((2, 3, 4), bool))
    with pytest.raises(JaxsegError, match="int32"):
        ops.largest_component(jnp.zeros((3, 4), jnp.int32))
