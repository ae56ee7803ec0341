"""Boxes cut out and put back: against PyTorch, OpenCV and a loop over cells and pixels."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError

RNG = np.random.default_rng(0)
IMAGE = RNG.random((9, 12, 2)).astype(np.float32)
BOXES = np.float32(
    [[0, 0, 12, 9], [2.3, 1.7, 8.1, 4.2], [-4.5, -3, 5, 20], [11, 8, 30, 30], [-9, -9, -2, -1], [5, 5, 5, 5]]
)


def weights(start, end, cells, pixels):
    """Cell by cell and pixel by pixel: the part of the cell that the pixel covers."""
    w = np.zeros((cells, pixels))
    step = (float(end) - float(start)) / cells
    for o in range(cells):
        centre, half = start + (o + 0.5) * step, max(step, 1) / 2
        for i in range(pixels):
            w[o, i] = max(0, min(centre + half, i + 1) - max(centre - half, i)) / (2 * half)
    return w


crop = jax.jit(ops.crop_resize, static_argnums=2)
paste = jax.jit(ops.paste_resize, static_argnums=2)


@pytest.mark.parametrize("box", BOXES)
def test_crop_equals_a_loop(box):
    x1, y1, x2, y2 = box
    fill = np.float32([0.3, 0.6])
    rows, columns = weights(y1, y2, 4, 9), weights(x1, x2, 7, 12)
    wanted = np.einsum("oh,hwc,pw->opc", rows, IMAGE, columns)
    wanted += (1 - rows.sum(1)[:, None, None] * columns.sum(1)[None, :, None]) * fill
    ours = crop(IMAGE, box, (4, 7), fill)
    np.testing.assert_allclose(ours, wanted, atol=1e-5)


@pytest.mark.parametrize("box", [BOXES[1], np.float32([-2, 3, 4, 11])])
def test_enlarging_is_pytorchs_bilinear_sampling(box):
    torch = pytest.importorskip("torch")
    x1, y1, x2, y2 = box
    ys, xs = (a + (np.arange(16) + 0.5) / 16 * (b - a) for a, b in ((y1, y2), (x1, x2)))
    grid = np.stack(np.meshgrid(xs / 12 * 2 - 1, ys / 9 * 2 - 1), -1)[None].astype(np.float32)
    theirs = torch.nn.functional.grid_sample(
        torch.tensor(IMAGE.transpose(2, 0, 1)[None]), torch.tensor(grid), padding_mode="zeros", align_corners=False
    )
    ours = crop(IMAGE, box, 16)
    np.testing.assert_allclose(ours, theirs.numpy()[0].transpose(1, 2, 0), atol=1e-5)


def test_shrinking_is_opencvs_area_average():
    wide = RNG.random((30, 42, 3)).astype(np.float32)
    theirs = cv2.resize(wide[3:28, 5:40], (8, 6), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(crop(wide, np.float32([5, 3, 40, 28]), (6, 8)), theirs, atol=1e-5)


def test_pasting_enlarges_bilinearly_and_leaves_zeros_outside():
    torch = pytest.importorskip("torch")
    patch = RNG.random((4, 5, 2)).astype(np.float32)
    ours = paste(patch, np.float32([3, 2, 13, 10]), (12, 16))
    theirs = torch.nn.functional.interpolate(
        torch.tensor(patch.transpose(2, 0, 1)[None]), (8, 10), mode="bilinear", align_corners=False
    )
    wanted = np.zeros((12, 16, 2), np.float32)
    wanted[2:10, 3:13] = theirs[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_pasting_shrinks_by_area_and_cuts_at_the_image():
    patch = RNG.random((20, 30, 2)).astype(np.float32)
    ours = paste(patch, np.float32([-2, 3, 4, 8]), (6, 9))
    small = patch.reshape(5, 4, 6, 5, 2).mean((1, 3))
    wanted = np.zeros((6, 9, 2), np.float32)
    wanted[3:6, :4] = small[:3, 2:]
    np.testing.assert_allclose(ours, wanted, atol=1e-5)


@pytest.mark.parametrize("box", BOXES[[3, 4, 5]])
def test_boxes_off_the_image_or_without_area_paste_what_is_in_them(box):
    pasted = np.asarray(paste(np.ones((4, 4, 1), np.float32), box, (9, 12)))
    ys, xs = np.mgrid[:9, :12] + 0.5
    inside = (xs >= box[0]) & (xs < box[2]) & (ys >= box[1]) & (ys < box[3])
    np.testing.assert_allclose(pasted[..., 0], inside, atol=1e-6)


def test_boxes_may_be_mapped_and_have_gradients():
    crops = jax.jit(jax.vmap(lambda b: ops.crop_resize(IMAGE, b, 4)))(BOXES)
    for mapped, box in zip(np.asarray(crops), BOXES):
        np.testing.assert_allclose(mapped, crop(IMAGE, box, 4), atol=1e-6)
    gradient = jax.jit(jax.grad(lambda b: jnp.sum(ops.crop_resize(IMAGE, b, 4) ** 2)))(BOXES[1])
    assert np.isfinite(gradient).all()
    assert np.any(gradient)


def test_the_grid_covers_the_image_evenly():
    boxes = ops.grid_boxes((60, 100), (1.0, 0.5), overlap=0.5)
    np.testing.assert_array_equal(boxes[:3], [[0, 0, 60, 60], [20, 0, 80, 60], [40, 0, 100, 60]])
    small = boxes[3:]
    assert (small[:, 2] - small[:, 0] == 30).all()
    xs = np.unique(small[:, 0])
    assert xs[0] == 0
    assert xs[-1] == 70
    assert np.diff(xs).max() <= 15
    assert len(small) == len(xs) * len(np.unique(small[:, 1]))
    np.testing.assert_array_equal(ops.grid_boxes((8, 8), (1.0,)), [[0, 0, 8, 8]])


def test_wrong_arguments_are_refused():
    with pytest.raises(JaxsegError, match="box is"):
        ops.crop_resize(jnp.asarray(IMAGE), jnp.zeros((2, 4)), 4)
    with pytest.raises(JaxsegError, match="sides"):
        ops.grid_boxes((8, 8), (1.5,))
