"""Tiles against what the function gives without them, and against a plain loop."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.infer import Tiles, tiled
from jaxseg.infer.tiles import _mirrored
from jaxseg.types import JaxsegError

MATRIX = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


@jax.jit
def pixelwise(images):
    """A network whose kernels are all 1x1."""
    return jax.nn.softmax(jnp.einsum("bhwc,ck->bhwk", jnp.sin(9 * images), MATRIX), axis=-1)


def picture(h, w, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (150, 210), (33, 200), (5, 7), (1, 1), (65, 64)])
@pytest.mark.parametrize("options", [{}, {"overlap": 0.0}, {"blend": "mean", "overlap": 0.3, "batch": 3}, {"batch": 4}])
def test_a_function_of_each_pixel_alone_is_given_exactly(size, options):
    image = picture(*size)
    whole = pixelwise(np.float32(image[None] / np.float32(255)))[0]
    bands = list(tiled(pixelwise, image, Tiles((64, 48), **options)))
    np.testing.assert_allclose(np.concatenate(bands), whole, rtol=1e-5, atol=1e-6)
    assert all(len(band) <= 64 for band in bands)


def test_one_program_for_every_size_of_picture():
    function = jax.jit(lambda images: images)
    for size in ((10, 10), (100, 30), (64, 300)):
        list(tiled(function, picture(*size), Tiles((32, 32), batch=2)))
    assert function._cache_size() == 1


@pytest.mark.parametrize("blend", ["gaussian", "mean"])
def test_blending_is_the_weighted_mean_over_tiles(blend):
    """A function that depends on the place in the tile, against a loop over whole-picture canvases."""
    ramp = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(16, 16, 1)
    image = picture(40, 30)
    done = np.concatenate(list(tiled(jax.jit(lambda x: x + ramp[None]), image, Tiles((16, 16), 0.5, blend))))

    distance = np.arange(16) - 7.5
    line = np.exp(-(distance**2) / (2 * (16 / 8) ** 2)) if blend == "gaussian" else np.ones(16)
    weight = np.outer(line, line)[..., None]
    total, norm = np.zeros((40, 30, 3)), np.zeros((40, 30, 1))
    for top in (0, 8, 16, 24):
        for left in (0, 7, 14):
            place = np.s_[top : top + 16, left : left + 16]
            total[place] += weight * (image[place] / 255 + ramp)
            norm[place] += weight
    np.testing.assert_allclose(done, total / norm, rtol=1e-5, atol=1e-6)


def test_scores_of_the_middle_alone_are_given_mirrored_context():
    """A valid 5x5 mean (U-Net's way) equals that of the mirrored picture: no seam, no border left out."""

    @jax.jit
    def valid_mean(images):
        kernel = jnp.tile(jnp.eye(3)[None, None] / 25, (5, 5, 1, 1))
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    image = picture(37, 50)
    border = np.pad(image / 255.0, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    truth = sum(border[a : a + 37, b : b + 50] for a in range(5) for b in range(5)) / 25
    for overlap in (0.0, 0.5):
        done = np.concatenate(list(tiled(valid_mean, image, Tiles((20, 24), overlap))))
        np.testing.assert_allclose(done, truth, rtol=1e-5, atol=1e-6)


def test_mirroring_is_numpys():
    for n in (1, 2, 5):
        padded = np.pad(np.arange(n), 17, mode="reflect")
        np.testing.assert_array_equal(_mirrored(np.arange(-17, n + 17), n), padded)


def test_bands_come_as_soon_as_they_are_done():
    seen = []
    function = lambda x: jax.pure_callback(lambda v: (seen.append(1), v)[1], jax.typeof(x), x)
    bands = tiled(jax.jit(function), picture(400, 16), Tiles((16, 16), overlap=0.0))
    next(bands)
    jax.effects_barrier()
    assert len(seen) <= 4  # of 25: the band's own, one that told it was done, one or two under way


def test_the_scores_of_the_whole_picture_are_never_held():
    image = picture(4000, 64)
    function = jax.jit(lambda x: jnp.tile(x, (1, 1, 1, 7)))
    tracemalloc.start()
    rows = sum(len(band) for band in tiled(function, image, Tiles((64, 64))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 4000
    assert peak < 0.2 * 4000 * 64 * 21 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 5)}, "tile of 0x5"),
        ({"overlap": 1.0}, "overlap by 1.0; give a part"),
        ({"overlap": -0.1}, "overlap by -0.1"),
        ({"blend": "max"}, "gaussian or mean"),
        ({"batch": 0}, "at least 1"),
    ],
)
def test_what_makes_no_tiles(options, message):
    with pytest.raises(JaxsegError, match=message):
        Tiles(**options)


def test_scores_larger_than_the_tile_are_refused():
    with pytest.raises(JaxsegError, match="as large at most"):
        next(tiled(lambda x: jnp.repeat(x, 2, 1), picture(9, 9), Tiles((8, 8))))
