"""RoIAlign and RoIPool against torchvision's Python and loops in numpy; gradients against slopes."""

from fractions import Fraction
from functools import partial
from math import ceil, floor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.torchvision_models import import_torchvision

INSIDE = np.float32([[10, 12, 60, 70], [3.3, 5.1, 40.7, 22.9], [50, 8, 90, 75]])
ODD = np.float32(
    [
        [-9, -5, 20, 30],  # over the first border
        [70, 50, 130, 111],  # over the last
        [-80, -80, -40, -50],  # outside
        [200, 10, 220, 30],
        [30, 30, 30, 30],  # without area
        [40, 40, 20, 10],  # turned inside out
        [0, 0, 96, 80],  # all of it
        [-1e6, -1e6, 1e6, 1e6],
    ]
)
BOXES = np.concatenate([INSIDE, ODD])
NEAR = np.concatenate([INSIDE, [[-3, -4, 20, 30], [70, 50, 97, 80], [30, 30, 30, 30], [0, 0, 96, 80]]]).astype(
    np.float32
)


def features(h=10, w=12, c=5, seed=0):
    return np.random.default_rng(seed).normal(size=(h, w, c)).astype(np.float32)


def uncompiled():
    """torchvision's RoIAlign in Python, without torch.compile around it. Unlike its compiled operator it takes samples
    far outside of the map from the border, so boxes here reach out by one place at most.
    """
    import_torchvision()
    from torchvision.ops.roi_align import _roi_align

    return _roi_align


def torchvisions(x, boxes, size, scale, ratio, aligned):
    torch = pytest.importorskip("torch")
    _roi_align = uncompiled()
    rois = torch.tensor(np.concatenate([np.zeros((len(boxes), 1), np.float32), boxes], 1))
    y = _roi_align(torch.tensor(x.transpose(2, 0, 1))[None], rois, scale, *size, ratio, aligned)
    return y.numpy().transpose(0, 2, 3, 1)


options = ("output_size", "spatial_scale", "sampling_ratio", "aligned", "reduction", "max_samples")
roi_align = jax.jit(ops.roi_align, static_argnames=options)


@pytest.mark.parametrize(
    ("ratio", "aligned"), [(1, True), (2, False), (3, True), *slowly((1, False), (2, True), (3, False))]
)
def test_roi_align_is_torchvisions(ratio, aligned):
    expected = torchvisions(features(), NEAR, (4, 3), 0.125, ratio, aligned)
    got = roi_align(features(), NEAR, (4, 3), spatial_scale=0.125, sampling_ratio=ratio, aligned=aligned)
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("aligned", [True, *slowly(False)])
def test_adaptive_sampling_is_torchvisions(aligned):
    """Boxes up to 8 places a bin: no cap is met."""
    x, boxes = features(30, 34), np.concatenate([INSIDE, [[0, 0, 96, 80], [10, 10, 130, 98]]]).astype(np.float32)
    expected = torchvisions(x, boxes, (3, 4), 0.25, 0, aligned)
    got = roi_align(x, boxes, (3, 4), spatial_scale=0.25, sampling_ratio=0, aligned=aligned, max_samples=8)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def samples(x, box, size, scale, ratio):
    """``[P, Q, S * S, C]``, one by one, ``aligned=True``."""
    h, w, _ = x.shape

    def at(y, xx):
        if not (-1 <= y <= h and -1 <= xx <= w):
            return 0 * x[0, 0]
        y, xx = np.clip(y, 0, h - 1), np.clip(xx, 0, w - 1)
        y0, x0 = int(y), int(xx)
        y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
        top, low = ((1 - xx + x0) * x[r, x0] + (xx - x0) * x[r, x1] for r in (y0, y1))
        return (1 - y + y0) * top + (y - y0) * low

    x1, y1, x2, y2 = np.float64(box) * scale - 0.5
    down, across = (y2 - y1) / size[0], (x2 - x1) / size[1]
    inner = (np.arange(ratio) + 0.5) / ratio
    return np.asarray(
        [
            [[at(y1 + (p + i) * down, x1 + (q + j) * across) for i in inner for j in inner] for q in range(size[1])]
            for p in range(size[0])
        ]
    )


@pytest.mark.parametrize(("reduction", "reduce"), [("mean", np.mean), ("max", np.max)])
def test_mean_and_maximum_of_samples(reduction, reduce):
    x = features()
    got = roi_align(x, BOXES[:7], (4, 3), spatial_scale=0.125, reduction=reduction)
    for box, y in zip(BOXES, got):
        np.testing.assert_allclose(y, reduce(samples(x, box, (4, 3), 0.125, 2), axis=2), atol=1e-5)


def test_bins_of_a_ramp_are_their_centres():
    y, x = np.mgrid[:20, :24].astype(np.float32) + 0.5
    got = np.asarray(roi_align(np.stack([x, y], -1), np.float32([[20, 24, 76, 52]]), 7, spatial_scale=0.25))
    np.testing.assert_allclose(got[0, :, 0, 1], 6 + 1 * np.arange(0.5, 7), atol=1e-5)
    np.testing.assert_allclose(got[0, 0, :, 0], 5 + 2 * np.arange(0.5, 7), atol=1e-5)


@pytest.mark.parametrize(
    ("aligned", "reduction"), [(True, "mean"), (False, "max"), *slowly((True, "max"), (False, "mean"))]
)
def test_gradients_of_features_and_boxes_are_slopes(aligned, reduction):
    """More boxes than are taken at once, and not a multiple of that."""
    options = {"spatial_scale": 0.125, "aligned": aligned, "reduction": reduction}
    step = np.float32(2e-4)
    rng = np.random.default_rng(0)
    boxes = np.concatenate([INSIDE, [[8, 4, 33, 41], [-9, -5, 20, 30], [70, 50, 130, 111]]])
    weights = rng.normal(size=(6, 3, 4, 5)).astype(np.float32)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def run(x, b):
        losses = jnp.sum(weights * ops.roi_align(x, b, (3, 4), **options), axis=(1, 2, 3))
        return losses.sum(), losses

    loss, losses = (lambda x, b: run(x, b)[0][0]), (lambda x, b: run(x, b)[0][1])
    x, b = features(), boxes.astype(np.float32)
    _, (toward_x, toward_b) = run(x, b)
    for _ in range(3):
        d = rng.normal(size=x.shape).astype(np.float32)
        slope = (loss(x + step * d, b) - loss(x - step * d, b)) / (2 * step)
        np.testing.assert_allclose(np.vdot(toward_x, d), slope, rtol=1e-2, atol=5e-2)
    for i in range(4):
        d = np.zeros_like(b)
        d[:, i] = 1e-3
        slope = np.asarray(losses(x, b + d) - losses(x, b)) / 1e-3  # to one side: kinks are where samples meet places
        np.testing.assert_allclose(np.asarray(toward_b)[:, i], slope, rtol=1e-2, atol=2e-2)


def test_gradients_are_those_of_torchvision():
    torch = pytest.importorskip("torch")
    _roi_align = uncompiled()
    x, g = features(), np.random.default_rng(1).normal(size=(len(NEAR), 4, 3, 5)).astype(np.float32)
    given = torch.tensor(x.transpose(2, 0, 1)[None], requires_grad=True)
    rois = torch.tensor(np.concatenate([np.zeros((len(NEAR), 1), np.float32), NEAR], 1))
    (_roi_align(given, rois, 0.125, 4, 3, 2, True) * torch.tensor(g.transpose(0, 3, 1, 2))).sum().backward()
    got = jax.jit(jax.grad(lambda x: jnp.sum(g * ops.roi_align(x, NEAR, (4, 3), spatial_scale=0.125))))(x)
    np.testing.assert_allclose(got, given.grad[0].permute(1, 2, 0), atol=1e-4)


def test_levels_are_read_each_from_its_own():
    pyramid = [features(20, 24), features(10, 12, seed=1), features(5, 6, seed=2)]
    level = np.arange(len(BOXES)) % 3
    scales = (1 / 4, 1 / 8, 1 / 16)
    got = jax.jit(partial(ops.multilevel_roi_align, output_size=3, spatial_scales=scales))(pyramid, BOXES, level)
    for i, scale in enumerate(scales):
        alone = roi_align(pyramid[i], BOXES[level == i], 3, spatial_scale=scale)
        np.testing.assert_allclose(np.asarray(got)[level == i], alone, atol=1e-5)


def pooled(x, box, size, scale):
    """Caffe's loop: rounded corners, floor and ceiling of each bin's ends."""
    h, w, c = x.shape
    x1, y1, x2, y2 = (int(np.sign(v) * np.floor(abs(v) + 0.5)) for v in np.float32(box) * np.float32(scale))
    y = np.zeros((*size, c), np.float32)
    down, across = Fraction(max(y2 - y1 + 1, 1), size[0]), Fraction(max(x2 - x1 + 1, 1), size[1])
    for p in range(size[0]):
        for q in range(size[1]):
            rows = slice(*np.clip([floor(p * down) + y1, ceil((p + 1) * down) + y1], 0, h))
            cols = slice(*np.clip([floor(q * across) + x1, ceil((q + 1) * across) + x1], 0, w))
            if x[rows, cols].size:
                y[p, q] = x[rows, cols].max((0, 1))
    return y


@pytest.mark.parametrize("size", [*slowly(((7, 7),)), (2, 3), (1, 1)])
def test_roi_pool_is_caffes_loop(size):
    x, boxes = features(17, 13), np.concatenate([BOXES[:-1], [[4, 4, 12, 12], [-300, -300, 400, 400]]])
    got = jax.jit(partial(ops.roi_pool, output_size=size, spatial_scale=0.125))(x, boxes.astype(np.float32))
    for box, y in zip(boxes, np.asarray(got)):
        np.testing.assert_array_equal(y, pooled(x, box, size, 0.125))


def test_gradient_of_roi_pool_is_the_slope_and_boxes_have_none():
    x, weights = features(17, 13), np.random.default_rng(0).normal(size=(3, 4, 4, 5)).astype(np.float32)
    pool = partial(ops.roi_pool, output_size=4, spatial_scale=0.125)
    run = jax.jit(jax.value_and_grad(lambda x, b: jnp.sum(weights * pool(x, b)), argnums=(0, 1)))
    _, (toward_x, toward_b) = run(x, INSIDE)
    assert not np.any(toward_b)
    for place in np.argwhere(np.random.default_rng(1).random(x.shape) < 0.03):
        d = np.zeros_like(x)
        d[tuple(place)] = 1e-3
        slope = (run(x + d, INSIDE)[0] - run(x - d, INSIDE)[0]) / 2e-3
        np.testing.assert_allclose(np.asarray(toward_x)[tuple(place)], slope, atol=2e-2)
    ones = jax.jit(jax.grad(lambda x: jnp.sum(pool(jnp.zeros_like(x) * x, INSIDE))))(x)
    assert np.isfinite(ones).all()


@pytest.mark.parametrize("f", [ops.roi_align, ops.roi_pool])
def test_vmap_equals_a_loop_and_no_box_gives_nan(f):
    x, boxes = np.stack([features(seed=i) for i in range(2)]), np.stack([BOXES, BOXES[::-1] + 3])

    def run(x, b):
        y, back = jax.vjp(partial(f, output_size=3, spatial_scale=0.125), x, b)
        return y, back(jnp.cos(y))  # the gradients of the sum of sines

    together, alone = jax.jit(jax.vmap(run))(x, boxes), jax.jit(run)
    for i in range(2):
        jax.tree.map(
            lambda a, e, i=i: np.testing.assert_allclose(np.asarray(a)[i], e, rtol=1e-4, atol=1e-4),
            together,
            alone(x[i], boxes[i]),
        )
    lost = np.full_like(BOXES, np.nan)
    lost[1] = np.inf
    y, gradients = alone(x[0], lost)
    assert not np.asarray(y).any() or f is ops.roi_pool
    assert np.isfinite(y).all()
    assert all(np.isfinite(g).all() for g in gradients)


def test_bfloat16_is_summed_in_float32():
    x = features().astype(jnp.bfloat16)
    y = roi_align(x, INSIDE, 3, spatial_scale=0.125)
    exact = roi_align(x.astype(np.float32), INSIDE, 3, spatial_scale=0.125)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_temporary_memory():
    """users.md's case: 512 RoIs, 7x7, on 200x304x256, gradients of features and boxes: below 200 MiB."""

    def loss(x, b):
        return jnp.sum(jnp.square(ops.roi_align(x, b, 7, spatial_scale=0.25)))

    shapes = jax.ShapeDtypeStruct((200, 304, 256), jnp.float32), jax.ShapeDtypeStruct((512, 4), jnp.float32)
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 200 * 2**20


def test_bad_arguments_are_refused():
    x, b = features(), INSIDE
    with pytest.raises(JaxsegError, match=r"expected \[H, W, C\] each, of one C: one image, without batch"):
        ops.roi_align(x[None], b, 3, spatial_scale=1.0)
    with pytest.raises(JaxsegError, match=r"boxes have shape \(3, 5\)"):
        ops.roi_align(x, np.zeros((3, 5), np.float32), 3, spatial_scale=1.0)
    with pytest.raises(JaxsegError, match="1 levels of features and 2 scales"):
        ops.multilevel_roi_align([x], b, np.zeros(3, np.int32), 3, spatial_scales=(1, 2))
    with pytest.raises(JaxsegError, match="expected 0 or more, 1 or more, and mean or max"):
        ops.roi_align(x, b, 3, spatial_scale=1.0, reduction="sum")
