"""Operations in programs that are exported for pictures of any number and size give what they give for numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.helpers import slowly


def any_size(f, letters, *more):
    """``f`` exported for arrays whose sizes are ``letters``, to be called with any."""
    scope = export.SymbolicScope([f"{letter} >= 4" for letter in ("h", "w") if letter in letters])
    shape = export.symbolic_shape(letters, scope=scope)
    return export.export(jax.jit(f))(jax.ShapeDtypeStruct(shape, jnp.float32), *more).call


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


OPERATIONS = {
    "bilinear to a size": partial(ops.resize_bilinear, size=(13, 7)),
    "corners to a size": partial(ops.resize_bilinear, size=(1, 9), align_corners=True),
    "bilinear by a factor": lambda x: ops.resize_bilinear(x, (3 * x.shape[0] + 1, 2 * x.shape[1])),
    "corners by a factor": lambda x: ops.resize_bilinear(x, (8 * x.shape[0] - 7, x.shape[1]), align_corners=True),
    "nearest": lambda x: ops.resize_nearest(x, (2 * x.shape[0] + 3, x.shape[1] - 1)),
    "adaptive average": lambda x: ops.adaptive_avg_pool(x, (3, 6)),
    "largest of 3x3": lambda x: ops.max_pool(x, 3, 2, 1),
    "largest of 8x8": lambda x: ops.max_pool(jnp.pad(x, ((8, 8), (8, 8), (0, 0))), 8, 1, 4),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_of_any_size(name):
    f = OPERATIONS[name]
    call = any_size(f, "h, w, 3")
    for size in ((5, 8), (17, 4)):
        x = pixels(*size, 3)
        np.testing.assert_allclose(call(x), jax.jit(f)(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "out", "kernel", "settings"),
    [
        (3, 24, 3, {"padding": 1}),
        (3, 64, 7, {"stride": 2, "padding": 3}),
        (16, 8, 1, {"stride": 2}),
        (16, 8, 1, {}),
        (16, 8, 3, {}),
        (6, 6, 3, {"padding": 2, "dilation": 2, "groups": 6}),
        (96, 96, 3, {"padding": 24, "dilation": 24}),
    ],
)
def test_convolutions_of_any_size(channels, out, kernel, settings):
    k = pixels(kernel, kernel, channels // settings.get("groups", 1), out, seed=1)
    f = lambda x: ops.conv(x, k, **settings)
    call = any_size(f, "b, h, w, " + str(channels))
    for shape in ((1, 9, 12), (3, 16, 7)):
        x = pixels(*shape, channels)
        np.testing.assert_allclose(call(x), jax.jit(f)(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dilation", [1, *slowly(2)])
def test_winograds_form_of_any_number_of_pictures(dilation):
    k = np.float32(0.1) * pixels(3, 3, 96, 96, seed=1)
    f = lambda x: ops.conv(x, k, padding=dilation, dilation=dilation)
    call = any_size(f, "b, 80, 84, 96")
    plain = lambda x: jax.lax.conv_general_dilated(
        x,
        k,
        (1, 1),
        [(dilation, dilation)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    in_blocks = ["scan" in str(jax.jit(f).trace(pixels(count, 80, 84, 96)).jaxpr) for count in (1, 3)]
    assert in_blocks == [False, True]
    for count in (1, 3):
        x = pixels(count, 80, 84, 96)
        np.testing.assert_allclose(call(x), plain(x), rtol=1e-3, atol=1e-4)


def test_what_needs_numbers_says_so():
    with pytest.raises(JaxsegError, match="bicubic resizing can't be exported for any size, only bilinear: give a"):
        any_size(partial(ops.resize_bicubic, size=(8, 8)), "h, w, 3")
