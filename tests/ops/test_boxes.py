"""Boxes against torchvision's, and what they do where torchvision's give NaN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.ops.jitted import value_and_gradients
from tests.torchvision_models import import_torchvision

PAIRWISE = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
DEGENERATE = np.float32([[3, 3, 3, 3], [5, 5, 2, 2], [1, 5, 4, 2], [0, 0, 0, 7], [-4, -4, -9, -2], [2, 2, 6, 6]])


def boxes(n, seed=0, extent=50.0):
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, extent, (n, 2)), rng.uniform(0.5, extent / 2, (n, 2))
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


@pytest.mark.parametrize("name", PAIRWISE)
def test_overlaps_are_torchvisions(name):
    torch = pytest.importorskip("torch")
    theirs = getattr(import_torchvision().ops, name)
    a, b = boxes(40), boxes(30, seed=1)
    expected = theirs(torch.tensor(a), torch.tensor(b)).numpy()
    np.testing.assert_allclose(jax.jit(getattr(ops, name))(a[:, None], b[None]), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["generalized_box_iou", "distance_box_iou", "complete_box_iou"])
def test_gradients_are_those_of_torchvisions_losses(name):
    torch = pytest.importorskip("torch")
    theirs = getattr(import_torchvision().ops, f"{name}_loss")
    a, b = torch.tensor(boxes(40), requires_grad=True), torch.tensor(boxes(40, seed=1))
    theirs(a, b, reduction="sum").backward()
    got = jax.jit(jax.grad(lambda x: jnp.sum(1 - getattr(ops, name)(x, b.numpy()))))(boxes(40))
    np.testing.assert_allclose(got, a.grad, atol=1e-5)


def test_by_hand():
    a, b = np.float32([0, 0, 4, 2]), np.float32([2, 0, 6, 4])
    assert ops.box_area(a) == 8
    of = lambda name, *pair: jax.jit(getattr(ops, name))(*pair)
    np.testing.assert_allclose(of("box_iou", a, b), 4 / 20)
    np.testing.assert_allclose(of("box_ioa", a, b), 4 / 8)
    np.testing.assert_allclose(of("box_ioa", b, a), 4 / 16)
    np.testing.assert_allclose(of("generalized_box_iou", a, b), 4 / 20 - 4 / 24, rtol=1e-6)
    np.testing.assert_allclose(of("distance_box_iou", a, b), 4 / 20 - 5 / 52, rtol=1e-6)


@pytest.mark.parametrize("name", [*PAIRWISE, "box_ioa"])
def test_degenerate_boxes_overlap_nothing(name):
    f = lambda a, b: getattr(ops, name)(a[:, None], b[None])
    value, gradients = value_and_gradients(f, (DEGENERATE, DEGENERATE), np.ones((6, 6), np.float32))
    assert np.isfinite(value).all()
    assert all(np.isfinite(g).all() for g in gradients)
    if name in ("box_iou", "box_ioa"):
        np.testing.assert_array_equal(value, np.eye(6) * (np.arange(6) == 5))


def test_formats_are_torchvisions():
    torch = pytest.importorskip("torch")
    convert = import_torchvision().ops.box_convert
    for a in ("xyxy", "xywh", "cxcywh"):
        for b in ("xyxy", "xywh", "cxcywh"):
            expected = convert(torch.tensor(boxes(9)), a, b)
            np.testing.assert_allclose(ops.convert_boxes(boxes(9), a, b), expected, atol=1e-5)
    with pytest.raises(JaxsegError, match="'yxyx' is no format; expected one of xyxy, xywh, cxcywh"):
        ops.convert_boxes(boxes(2), "yxyx", "xyxy")


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (10, 10, 5, 5)])
def test_transforms_are_torchvisions(weights):
    torch = pytest.importorskip("torch")
    import_torchvision()
    from torchvision.models.detection._utils import BoxCoder

    coder, a, b = BoxCoder(weights), boxes(40), boxes(40, seed=1)
    deltas = coder.encode_single(torch.tensor(b), torch.tensor(a)).numpy()
    encode, decode = (jax.jit(partial(f, weights=weights)) for f in (ops.encode_boxes, ops.decode_boxes))
    np.testing.assert_allclose(encode(b, a), deltas, rtol=1e-4, atol=1e-5)
    far = np.random.default_rng(0).normal(0, 4, (40, 4)).astype(np.float32) * np.float32(weights)  # some are clamped
    expected = coder.decode_single(torch.tensor(far), torch.tensor(a)).numpy()
    np.testing.assert_allclose(decode(far, a), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(decode(encode(b, a), a), b, atol=1e-3)


def test_transforms_of_degenerate_boxes_are_finite():
    for pair in ((DEGENERATE, boxes(6)), (boxes(6), DEGENERATE)):
        deltas, gradients = value_and_gradients(ops.encode_boxes, pair, np.ones((6, 4), np.float32))
        assert np.isfinite(deltas).all()
        assert all(np.isfinite(g).all() for g in gradients)


def test_clip():
    got = ops.clip_boxes(np.float32([[-3, -2, 9, 4], [20, 1, 30, 90]]), (10, 8))
    np.testing.assert_array_equal(got, [[0, 0, 8, 4], [8, 1, 8, 10]])
    under_jit = jax.jit(ops.clip_boxes)(np.float32([[-3, -2, 9, 4]]), np.int32([10, 8]))
    np.testing.assert_array_equal(under_jit, np.asarray(got)[:1])


@pytest.mark.parametrize("wrong", [np.zeros((3, 5), np.float32), np.zeros((3, 4), np.int32), np.float32(1)])
def test_what_is_no_box_is_refused(wrong):
    with pytest.raises(JaxsegError, match=r"expected floating point \[..., 4\]"):
        ops.box_area(wrong)
