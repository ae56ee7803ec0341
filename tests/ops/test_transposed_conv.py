"""Transposed convolution: as PyTorch's, as a stamp, as a matrix transposed, as a convolution's gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.ops.jitted import value_and_gradients

# kernel side, stride, padding, output padding, groups, C, O
CASES = [
    (2, 2, 0, 0, 1, 4, 6),
    (3, 2, 1, 1, 1, 4, 6),
    (4, 2, 1, 0, 1, 4, 6),
    (16, 8, 4, 0, 5, 5, 5),
    (3, 1, 1, 0, 1, 4, 6),
    (2, 3, 0, 2, 1, 4, 6),
    (3, 2, 0, 0, 2, 4, 6),
    (1, 2, 0, 1, 1, 2, 3),
    ((3, 2), (2, 3), (1, 0), 0, 1, 4, 6),
]


def make(rng, case, size=(5, 7)):
    k, _, _, _, groups, c, o = case
    kh, kw = (k, k) if isinstance(k, int) else k
    x = rng.normal(size=(2, *size, c)).astype(np.float32)
    return x, rng.normal(size=(kh, kw, c, o // groups)).astype(np.float32)


@pytest.mark.parametrize("size", [(5, 7), *slowly(((1, 1),))])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_pytorchs(torch, to_torch, from_torch, rng, case, size):
    if size == (1, 1) and case[2] == 1 and case[0] == 3 and case[1] == 1:
        size = (2, 2)
    (_, stride, padding, more, groups, _, _), (x, kernel) = case, make(rng, case, size)
    tx, weight = to_torch(x), torch.tensor(kernel.transpose(2, 3, 0, 1).copy(), requires_grad=True)
    y = torch.nn.functional.conv_transpose2d(
        tx, weight, None, stride=stride, padding=padding, output_padding=more, groups=groups
    )
    g = rng.normal(size=y.shape).astype(np.float32)
    y.backward(torch.tensor(g))
    f = lambda x, k: ops.transposed_conv(x, k, stride, padding, more, groups=groups)
    got, (dx, dk) = value_and_gradients(f, (x, kernel), g.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got, from_torch(y), atol=1e-4)
    np.testing.assert_allclose(dx, from_torch(tx.grad), atol=1e-4)
    np.testing.assert_allclose(dk, weight.grad.numpy().transpose(2, 3, 0, 1), atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_is_the_backward_pass_of_a_convolution(rng, case):
    (_, stride, padding, more, groups, _c, _o), (x, kernel) = case, make(rng, case)
    y = jax.jit(lambda x, k: ops.transposed_conv(x, k, stride, padding, more, groups=groups))(x, kernel)
    # conv maps y's shape to x's, with the kernel's input and output channels exchanged in each group
    parts = np.split(kernel, groups, 2)
    swapped = np.concatenate([p.transpose(0, 1, 3, 2) for p in parts], 3)  # [kh, kw, O / groups, C]
    down = lambda y: ops.conv(y, swapped, stride=stride, padding=padding, groups=groups)
    _, (back,) = value_and_gradients(down, (np.zeros(y.shape, np.float32),), x)
    np.testing.assert_allclose(y, back, atol=1e-4)


def test_stamps_a_kernel_in_a_hand_made_table():
    x = np.float32([1, 2]).reshape(1, 1, 2, 1)
    kernel = np.float32([1, 10, 100]).reshape(1, 3, 1, 1)  # not symmetric: a turned kernel would show
    got = jax.jit(lambda x, k: ops.transposed_conv(x, k, (1, 2)))(x, kernel)
    np.testing.assert_array_equal(np.ravel(got), [1, 10, 100 + 2, 20, 200])


@pytest.mark.parametrize(("k", "n", "s", "p"), [(3, 7, 1, 0), (3, 7, 2, 1), (4, 8, 2, 1), (2, 6, 2, 0), (1, 1, 1, 0)])
def test_matrix_and_its_transpose(rng, k, n, s, p):
    kernel = rng.normal(size=k).astype(np.float32)
    x = rng.normal(size=n).astype(np.float32)
    as_image, weights = x.reshape(1, 1, n, 1), kernel.reshape(1, k, 1, 1)

    @jax.jit
    def run(kernel, image, weights):
        y = ops.conv(image, weights, stride=(1, s), padding=(0, p))
        back = ops.transposed_conv(y, weights, (1, s), (0, p), (0, (n + 2 * p - k) % s))
        return ops.conv_matrix_1d(kernel, n, s, p), y, back

    matrix, y, back = (np.asarray(a) for a in run(kernel, as_image, weights))
    np.testing.assert_allclose(matrix @ x, y.ravel(), atol=1e-5)
    np.testing.assert_allclose(matrix.T @ y.ravel(), back.ravel(), atol=1e-5)


def test_matrix_by_hand():
    got = ops.conv_matrix_1d(jnp.asarray(np.float32([1, 2, 3])), 5, 2, 1)
    np.testing.assert_array_equal(got, [[2, 3, 0, 0, 0], [0, 1, 2, 3, 0], [0, 0, 0, 1, 2]])


def test_checkerboard_of_uneven_overlap():
    ones, twice = partial(np.ones, dtype=np.float32), jax.jit(lambda x, kernel: ops.transposed_conv(x, kernel, 2))
    results = (twice(ones((1, 4, 4, 1)), ones((side, side, 1, 1))) for side in (3, 4))
    uneven, even = (np.asarray(y)[0, 2:-2, 2:-2, 0] for y in results)
    np.testing.assert_array_equal(uneven[:2, :2], [[4, 2], [2, 1]])  # 3 is no multiple of 2
    np.testing.assert_array_equal(even, np.full_like(even, 4))


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_bilinear_kernel_interpolates(rng, factor):
    """Inside the image it is bilinear resizing; for odd factors too, with kernel 2 f - 1."""
    size = 2 * factor - factor % 2
    x = rng.normal(size=(1, 5, 6, 3)).astype(np.float32)
    kernel = ops.bilinear_kernel(size, 3)
    got = np.asarray(jax.jit(lambda x, k: ops.transposed_conv(x, k, factor, factor // 2))(x, kernel))
    np.testing.assert_allclose(np.sum(kernel, (0, 1)), factor**2 * np.eye(3), rtol=1e-6)
    want = np.asarray(jax.jit(partial(ops.resize_bilinear, size=(5 * factor, 6 * factor)))(x[0]))
    assert got.shape[1:] == want.shape
    inner = slice(factor, -factor)
    np.testing.assert_allclose(got[0, inner, inner], want[inner, inner], atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16])
def test_bilinear_kernel_is_the_published_one(size):
    factor = (size + 1) // 2  # upsample_filt of the FCN authors' code
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    og = np.ogrid[:size, :size]
    want = (1 - abs(og[0] - centre) / factor) * (1 - abs(og[1] - centre) / factor)
    kernel = np.asarray(ops.bilinear_kernel(size, 2))
    np.testing.assert_allclose(kernel[..., 1, 1], want, rtol=1e-6)
    np.testing.assert_array_equal(kernel[..., 0, 1], np.zeros((size, size)))


def test_depthwise_kernel_equals_the_diagonal_one(rng):
    x = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    full = lambda x: ops.transposed_conv(x, ops.bilinear_kernel(4, 3), 2, 1)
    each = lambda x: ops.transposed_conv(x, ops.bilinear_kernel(4, 3, depthwise=True), 2, 1, groups=3)
    np.testing.assert_allclose(jax.jit(each)(x), jax.jit(full)(x), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "kernel", "how", "word"),
    [
        ((4, 4, 3), (2, 2, 3, 2), {}, "leading axes"),
        ((1, 4, 4, 3), (2, 2, 4, 2), {}, "layout"),
        ((1, 4, 4, 3), (2, 2, 3, 2), {"output_padding": 2}, "smaller than the stride"),
        ((1, 1, 1, 3), (2, 2, 3, 2), {"padding": 1}, "cuts everything"),
        ((1, 4, 4, 3), (2, 2, 3, 2), {"groups": 2}, "groups"),
    ],
)
def test_messages(x, kernel, how, word):
    with pytest.raises(JaxsegError, match=word):
        ops.transposed_conv(np.ones(x, np.float32), np.ones(kernel, np.float32), 2, **how)
