"""The rule of void on the device, and the refusal of unreadable label maps on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import check_labels, split_void
from jaxseg.types import JaxsegError


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
def test_split_void_keeps_the_classes_and_clamps_the_rest_to_0(dtype):
    labels = np.array([0, 1, 2, 3, 255], dtype)
    safe, valid = jax.jit(split_void, static_argnums=(1, 2))(labels, 3, 2)  # jit: arrays of jax, not of numpy
    np.testing.assert_array_equal(safe, [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(valid, [True, True, False, False, False])


def test_minus_one_does_not_wrap_in_uint8():
    _, valid = split_void(jnp.array([0, 255], jnp.uint8), 256, -1)
    assert valid.all()  # 255 is the 256th class here; a comparison in uint8 would call it void


def test_negative_labels_other_than_void_count_for_nothing_either():
    safe, valid = split_void(jnp.array([-7, -1, 0, 1]), 2, -1)
    np.testing.assert_array_equal(safe, [0, 0, 0, 1])
    np.testing.assert_array_equal(valid, [False, False, True, True])


def test_good_maps_pass():
    check_labels(np.array([[0, 1], [2, 255]], np.uint8), 3)
    check_labels(np.array([[0, 1], [2, -1]]), 3, ignore_index=-1)
    check_labels(np.array([[[True, False]]]), 2)
    check_labels(np.array([[0, 255]]), 3)
    check_labels(np.array([[0, 255]]), 2, allow_0_255=True)
    check_labels(np.array([[0, 1, 255]]), 2)
    check_labels(np.full((4, 4), 255), 2)
    check_labels(np.zeros((0, 4), np.uint8), 2)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.array([[0, 255]], np.uint8), {}, r"holds the values \[0, 255\].*divide it by 255.*allow_0_255"),
        (np.array([[0, 255]]), {"ignore_index": -1}, r"expected 0..1 and -1 for void.*divide it by 255"),
        (np.array([[1, 2, 255]]), {}, r"\[1, 2, 255\].*start at 1: subtract 1"),
        (np.array([[0, 1, 2]]), {}, r"\[0, 1, 2\].*expected 0..1 and 255.*num_classes=3"),
        (np.array([[-1, 0, 1]]), {}, r"pass ignore_index=-1"),
        (np.array([[0, 1, 255]]), {"ignore_index": -1}, "pass ignore_index=255"),
        (np.array([[0, 26001]]), {}, "instance ids"),
        (np.array([[0, 7]]), {}, "look-up table"),
        (np.arange(100)[None], {}, r"100 values: \[0, 1, .*, 99\]"),
        (np.zeros((5, 5, 3), np.uint8), {}, "colour picture.*palette"),
        (np.zeros((5, 5)), {}, "float64, expected integers"),
        (np.zeros(5, np.uint8), {}, r"shape \(5,\), expected \[H, W\]"),
        (np.array([[9, 9]]), {"where": "cat.png"}, "cat.png: the label map holds"),
    ],
)
def test_bad_maps_are_refused_by_name_and_with_a_mend(labels, options, message):
    with pytest.raises(JaxsegError, match=message):
        check_labels(labels, 2, **options)
