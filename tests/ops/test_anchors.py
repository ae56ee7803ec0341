"""Anchors against torchvision's generator, d2l's rule by hand, and the level rule of both libraries."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.torchvision_models import import_torchvision


def test_anchors_are_torchvisions():
    torch = pytest.importorskip("torch")
    import_torchvision()
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList

    sizes, ratios, grids = ((32, 64), (100, 150)), ((0.5, 1.0, 2.0),) * 2, ((10, 12), (5, 6))
    images = ImageList(torch.zeros(1, 3, 160, 190), [(160, 190)])
    expected = AnchorGenerator(sizes, ratios)(images, [torch.zeros(1, 8, *g) for g in grids])[0].numpy()
    ours = [
        ops.grid_anchors(ops.anchor_cells(s, r, rounded=True), g, (160 // g[0], 190 // g[1]))
        for s, r, g in zip(sizes, ratios, grids)
    ]
    np.testing.assert_array_equal(np.concatenate(ours), expected)


def test_unrounded_cells_have_their_areas_and_ratios():
    """detectron2's: ``w = sqrt(size^2 / ratio), h = ratio w``."""
    cells = ops.anchor_cells((32.0,), (0.5, 1.0, 2.0))
    w = np.sqrt(32.0**2 / np.asarray([0.5, 1.0, 2.0]))
    h = w * [0.5, 1.0, 2.0]
    np.testing.assert_allclose(cells, np.stack([-w, -h, w, h], 1) / 2, rtol=1e-6)
    assert ops.grid_anchors(cells, (1, 1), (8, 8), offset=0.5).mean() == 4


def test_multibox_anchors_are_d2ls():
    """Dive into deep learning's example: sizes 0.75, 0.5, 0.25, ratios 1, 2, 0.5 at each pixel of a 561x728 image,
    whose anchor [250, 250, 0] it prints as (0.06, 0.07, 0.63, 0.82), relative to the image."""
    h, w = 561, 728
    anchors = ops.multibox_anchors((h, w), (h, w), (0.75, 0.5, 0.25), (1, 2, 0.5))
    assert anchors.shape == (h * w * 5, 4)
    one = anchors.reshape(h, w, 5, 4)[250, 250] / [w, h, w, h]
    np.testing.assert_allclose(one[0], [0.06, 0.07, 0.63, 0.82], atol=5e-3)
    side = (one[:, 2:] - one[:, :2]) * [w, h] / h
    np.testing.assert_allclose(side[:3], np.float32([[0.75] * 2, [0.5] * 2, [0.25] * 2]), rtol=1e-4)
    np.testing.assert_allclose(side[3], [0.75 * 2**0.5, 0.75 / 2**0.5], rtol=1e-4)


def test_levels_are_torchvisions():
    torch = pytest.importorskip("torch")
    import_torchvision()
    from torchvision.ops.poolers import LevelMapper

    side = np.concatenate([2.0 ** np.arange(3, 11), 112 * np.float64([1, 2, 4]), np.linspace(1, 900, 300)])
    boxes = np.stack([0 * side, 0 * side, side, 0.7 * side], 1).astype(np.float32)
    square = np.stack([0 * side, 0 * side, side, side], 1).astype(np.float32)
    for given in (boxes, square):
        expected = LevelMapper(2, 5)([torch.tensor(given)]).numpy() + 2
        np.testing.assert_array_equal(ops.feature_levels(jnp.asarray(given)), expected)
    np.testing.assert_array_equal(ops.feature_levels(jnp.float32([[3, 3, 3, 3], [5, 5, 2, 9]])), [2, 2])


def test_detectron2s_levels():
    """``floor(4 + log2(sqrt(area) / 224 + 1e-8))``."""
    side = np.float32([1, 55.9, 56, 111.9, 112, 223.9, 224, 448, 5000])
    boxes = np.stack([0 * side, 0 * side, side, side], 1)
    expected = np.clip(np.floor(4 + np.log2(side / 224 + 1e-8)), 2, 5)
    np.testing.assert_array_equal(ops.feature_levels(boxes, epsilon=1e-8, epsilon_inside=True), expected)


def test_bad_sizes_are_refused():
    with pytest.raises(JaxsegError, match=r"ratios are \[1, 0\]; expected at least one, each above 0"):
        ops.anchor_cells((32,), (1, 0))
