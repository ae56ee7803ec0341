"""Convolution: values and both gradients against a numpy loop and PyTorch, every CPU form, dtypes, platforms."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxseg import ops
from jaxseg.ops import conv_cpu, winograd_cpu
from jaxseg.train.parallel import compiler_options
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.ops.jitted import value_and_gradients

# image, kernel, stride, padding, dilation, groups: each takes another way through conv_cpu
CASES = {
    "3x3": ((2, 7, 9, 4), (3, 3, 4, 6), 1, 1, 1, 1),
    "stem": ((2, 7, 9, 3), (3, 3, 3, 6), 1, 1, 1, 1),
    "strided stem": ((1, 8, 7, 3), (7, 7, 3, 40), 2, 3, 1, 1),
    "pointwise": ((2, 7, 9, 4), (1, 1, 4, 6), 1, 0, 1, 1),
    "strided pointwise": ((2, 7, 9, 4), (1, 1, 4, 6), 2, 0, 1, 1),
    "dilated": ((2, 9, 9, 4), (3, 3, 4, 6), 1, 2, 2, 1),
    "dilated far": ((2, 7, 9, 4), (3, 3, 4, 6), 1, 5, 5, 1),
    "dilated too far": ((2, 4, 5, 4), (3, 3, 4, 6), 1, 6, 6, 1),
    "dilated far, few rows": ((2, 3, 9, 4), (3, 3, 4, 6), 1, (5, 2), (5, 2), 1),
    "oblong": ((2, 8, 9, 4), (3, 2, 4, 6), (2, 1), (1, 0), 1, 1),
    "grouped": ((2, 7, 9, 4), (3, 3, 2, 8), 1, 1, 1, 2),
    "depthwise": ((2, 7, 9, 4), (3, 3, 1, 4), 2, 1, 1, 4),
    "depthwise dilated": ((2, 9, 8, 5), (3, 3, 1, 5), 1, 2, 2, 5),
    "depthwise doubled": ((2, 7, 9, 4), (3, 3, 1, 8), 1, 1, 1, 4),
    "depthwise wide": ((1, 9, 9, 3), (7, 7, 1, 3), 1, 3, 1, 3),
    "padded by more": ((2, 5, 5, 4), (2, 2, 4, 4), 1, 3, 1, 1),
    "unpadded": ((2, 7, 9, 4), (3, 3, 4, 6), 1, 0, 1, 1),
    "unpadded, strided": ((2, 8, 9, 4), (3, 3, 4, 6), 2, 0, 1, 1),
    "kernel larger than the image": ((2, 4, 9, 16), (5, 5, 16, 6), 1, 2, 1, 1),
    "one pixel": ((1, 1, 1, 3), (1, 1, 3, 2), 1, 0, 1, 1),
}


def make(rng, case):
    x_shape, k_shape, *rest = CASES[case]
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in (x_shape, k_shape))
    return x, kernel, dict(zip(("stride", "padding", "dilation", "groups"), rest))


def geometry_of(how):
    return conv_cpu.Geometry(
        ops.arguments.pair("s", how["stride"], 1),
        ops.arguments.sides("p", how["padding"]),
        ops.arguments.pair("d", how["dilation"], 1),
        how["groups"],
    )


def naive(x, kernel, stride=1, padding=0, dilation=1, groups=1):
    (s, t), (p, q), (d, e) = ((v, v) if isinstance(v, int) else v for v in (stride, padding, dilation))
    x = np.pad(x, ((0, 0), (p, p), (q, q), (0, 0))).astype(np.float64)
    kh, kw, c, o = kernel.shape
    h, w = (x.shape[1] - d * (kh - 1) - 1) // s + 1, (x.shape[2] - e * (kw - 1) - 1) // t + 1
    y = np.zeros((x.shape[0], h, w, o))
    for i, j, u, v, out in np.ndindex(h, w, kh, kw, o):
        first = out // (o // groups) * c
        y[:, i, j, out] += x[:, i * s + u * d, j * t + v * e, first : first + c] @ kernel[u, v, :, out]
    return y


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_the_definition(rng, case):
    x, kernel, how = make(rng, case)
    got = jax.jit(partial(ops.conv, **how))(x, kernel)
    np.testing.assert_allclose(got, naive(x, kernel, **how), rtol=1e-6, atol=2e-5)


def xlas(rng, geometry, x, kernel):
    """XLA's own convolution, a gradient of the result, and what follows from it for image and kernel."""
    f = partial(conv_cpu.conv_lax, geometry)
    g = rng.normal(size=jax.eval_shape(f, x, kernel).shape).astype(x.dtype)
    y, gradients = value_and_gradients(f, (x, kernel), g)
    return y, g, gradients


def forward_and_backward(geometry, x, kernel, g):
    """A new program each time: its form depends on numbers of the module, which tests change."""
    both = lambda *a: (conv_cpu.forward(geometry, *a[:2]), conv_cpu.backward(geometry, *a))
    return jax.jit(both)(x, kernel, g)


BLOCKED = ("strided stem", "dilated", "oblong")


@pytest.mark.parametrize(
    ("case", "block"),  # in many blocks, with a remainder; all rows in one
    [(case, 30) for case in BLOCKED] + slowly(*((case, 1_200_000) for case in CASES)),
)
def test_gradients_are_xlas(rng, monkeypatch, case, block):
    monkeypatch.setattr(conv_cpu, "BLOCK", block)
    monkeypatch.setattr(conv_cpu, "LEAST_POSITIONS", 1)
    x, kernel, how = make(rng, case)
    _, g, expected = xlas(rng, geometry_of(how), x, kernel)
    _, got = value_and_gradients(partial(ops.conv, **how), (x, kernel), g)
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a, b, atol=1e-4)


WINOGRAD = {  # image, kernel, padding, dilation
    "3x3": ((2, 7, 9, 4), (3, 3, 4, 6), ((1, 1), (1, 1)), (1, 1)),
    "even": ((1, 8, 6, 4), (3, 3, 4, 6), ((1, 1), (1, 1)), (1, 1)),
    "unpadded": ((1, 9, 7, 4), (3, 3, 4, 5), ((0, 0), (0, 0)), (1, 1)),
    "uneven": ((2, 8, 7, 4), (3, 3, 4, 5), ((2, 0), (1, 2)), (1, 1)),
    "dilated": ((1, 23, 12, 4), (3, 3, 4, 6), ((2, 2), (3, 3)), (2, 3)),
    "many": ((7, 4, 4, 4), (3, 3, 4, 4), ((1, 1), (1, 1)), (1, 1)),
}
WINOGRAD_BLOCKS = {"all": 10**6, "three images": 3 * 4 * 4 * 4, "a row of tiles": 1}


@pytest.mark.parametrize("case", ["dilated far", "dilated too far", "dilated far, few rows", "padded by more"])
def test_tap_by_tap_is_the_definition(rng, monkeypatch, case):
    monkeypatch.setattr(conv_cpu, "LEAST_PRODUCTS", 0)
    x, kernel, how = make(rng, case)
    geometry = geometry_of(how)
    assert geometry.form(x, kernel) == "tap by tap"
    y, g, expected = xlas(rng, geometry, x, kernel)
    value, gradients = forward_and_backward(geometry, x, kernel, g)
    np.testing.assert_allclose(value, y, rtol=1e-6, atol=2e-5)
    for got, want in zip(gradients, expected):
        np.testing.assert_allclose(got, want, atol=5e-5)


WINOGRAD_FIRST = [("uneven", "all"), ("dilated", "all"), ("3x3", "a row of tiles"), ("many", "three images")]


@pytest.mark.parametrize(
    ("case", "block"),
    [*WINOGRAD_FIRST, *slowly(*(both for both in product(WINOGRAD, WINOGRAD_BLOCKS) if both not in WINOGRAD_FIRST))],
)
def test_winograds_form_is_the_definition(rng, monkeypatch, case, block):
    x_shape, k_shape, padding, dilation = WINOGRAD[case]
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in (x_shape, k_shape))
    geometry = conv_cpu.Geometry((1, 1), padding, dilation, 1)
    y, g, expected = xlas(rng, geometry, x, kernel)
    assert geometry.form(x, kernel) != "Winograd"  # too few channels
    for name, value in {"LEAST_CHANNELS": 4, "LEAST_PRODUCTS": 0, "MOST_IN_TILES": 9}.items():
        monkeypatch.setattr(conv_cpu, name, value)
    assert geometry.form(x, kernel) == "Winograd"
    monkeypatch.setattr(winograd_cpu, "BLOCK", WINOGRAD_BLOCKS[block])
    value, gradients = forward_and_backward(geometry, x, kernel, g)
    np.testing.assert_allclose(value, y, rtol=1e-6, atol=2e-5)
    for got, want in zip(gradients, expected):
        np.testing.assert_allclose(got, want, atol=5e-5)


def test_the_form_follows_from_what_the_taps_see():
    def form(channels, size, dilation, batch=1):
        x = np.zeros((batch, size, size, channels), np.float32)
        kernel = np.zeros((3, 3, channels, channels), np.float32)
        return conv_cpu.Geometry((1, 1), ((dilation,) * 2,) * 2, (dilation,) * 2, 1).form(x, kernel)

    assert form(64, 128, 1) == "plain"  # few channels
    assert form(256, 8, 1) == "plain"  # little to do
    assert form(128, 256, 1) == form(256, 32, 1) == form(256, 32, 4) == "Winograd"
    assert form(256, 32, 12) == form(256, 32, 36) == form(16, 512, 300) == "tap by tap"


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(torch, to_torch, from_torch, rng, case):
    x, kernel, how = make(rng, case)
    tx = to_torch(x)
    weight = torch.tensor(kernel.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    y = torch.nn.functional.conv2d(tx, weight, None, **how)
    g = rng.normal(size=y.shape).astype(np.float32)
    y.backward(torch.tensor(g))
    got, (dx, dk) = value_and_gradients(partial(ops.conv, **how), (x, kernel), g.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got, from_torch(y), atol=1e-4)
    np.testing.assert_allclose(dx, from_torch(tx.grad), atol=1e-4)
    np.testing.assert_allclose(dk, weight.grad.numpy().transpose(2, 3, 1, 0), atol=1e-4)


APART = ("3x3", "strided stem", "pointwise", "grouped", "dilated too far")


@pytest.mark.parametrize("case", [*APART, *slowly(*(case for case in CASES if case not in APART))])
def test_several_arrays_are_their_concatenation(rng, case):
    x, kernel, how = make(rng, case)
    parts = (x[..., :1], x[..., 1:]) if x.shape[-1] < 4 else (x[..., :1], x[..., 1:3], x[..., 3:])
    f = partial(ops.conv, **how)
    g = rng.normal(size=jax.eval_shape(f, x, kernel).shape).astype(np.float32)
    y, (gradients, dk) = value_and_gradients(f, (parts, kernel), g)
    want, (dx, want_dk) = value_and_gradients(f, (x, kernel), g)
    for a, b in ((y, want), (np.concatenate(gradients, -1), dx), (dk, want_dk)):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_several_arrays_must_agree_in_all_but_channels():
    a, b = np.zeros((1, 4, 4, 2), np.float32), np.zeros((1, 4, 5, 2), np.float32)
    with pytest.raises(JaxsegError, match=r"float32\[1, 4, 4, 2\], float32\[1, 4, 5, 2\]; they must agree"):
        ops.conv((a, b), np.zeros((3, 3, 4, 1), np.float32))
    with pytest.raises(JaxsegError, match="x is empty"):
        ops.conv((), np.zeros((3, 3, 4, 1), np.float32))


@pytest.mark.parametrize("case", ["3x3", "depthwise dilated"])
def test_bfloat16_stays_and_sums_in_float32(rng, case):
    x, kernel, how = make(rng, case)
    f = partial(ops.conv, **how)
    narrow = [a.astype(jnp.bfloat16) for a in (x, kernel)]
    g = np.ones(jax.eval_shape(f, x, kernel).shape, np.float32)
    y, gradients = value_and_gradients(f, narrow, g.astype(jnp.bfloat16))
    assert [a.dtype for a in (y, *gradients)] == [jnp.bfloat16] * 3
    _, want = value_and_gradients(f, [a.astype(np.float32) for a in narrow], g)
    np.testing.assert_allclose(gradients[1].astype(np.float32), want[1], rtol=0.01, atol=0.05)


@pytest.mark.parametrize("case", ["3x3", "dilated far", "depthwise dilated", "strided stem"])
def test_float64_sums_in_float64(rng, monkeypatch, case):
    monkeypatch.setattr(conv_cpu, "LEAST_PRODUCTS", 0)  # the far taps one by one
    x, kernel, how = make(rng, case)
    with jax.enable_x64(True):
        x, kernel, geometry = x.astype(np.float64), kernel.astype(np.float64), geometry_of(how)
        y, g, expected = xlas(rng, geometry, x, kernel)
        value, gradients = forward_and_backward(geometry, x, kernel, g)
        for a, b in zip((value, *gradients), (y, *expected), strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_gradient_of_the_gradient(rng):
    x, kernel, how = make(rng, "3x3")

    @jax.jit
    @jax.value_and_grad
    def slope(k):
        return jnp.sum(jax.grad(lambda k: jnp.sum(ops.conv(x, k, **how) ** 3))(k) ** 2)

    d, step = rng.normal(size=kernel.shape).astype(np.float32), np.float32(1e-3)
    numeric = (slope(kernel + step * d)[0] - slope(kernel - step * d)[0]) / (2 * step)
    np.testing.assert_allclose(np.vdot(slope(kernel)[1], d), numeric, rtol=2e-2)


@pytest.mark.parametrize("form", ["plain", "Winograd"])
def test_replicated_kernel_gets_the_summed_gradient_under_shard_map(rng, monkeypatch, form):
    x, kernel, how = make(rng, "3x3")
    if form == "Winograd":
        for name, value in {"LEAST_CHANNELS": 1, "LEAST_PRODUCTS": 0, "MOST_IN_TILES": 9}.items():
            monkeypatch.setattr(conv_cpu, name, value)
        monkeypatch.setattr(winograd_cpu, "BLOCK", 1)  # several blocks, whose sum is carried along
    assert geometry_of(how).form(x, kernel) == form
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def loss(kernel, x):
        return jax.lax.psum(jnp.sum(ops.conv(x, kernel, **how) ** 2), "data")

    spread = jax.shard_map(
        jax.grad(loss), mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec()
    )
    want = jax.jit(jax.grad(lambda k: jnp.sum(ops.conv(x, k, **how) ** 2)))(kernel)
    np.testing.assert_allclose(jax.jit(spread)(kernel, x), want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_other_platforms_get_one_plain_convolution(rng, platform):
    x, kernel, how = make(rng, "pointwise")
    f = jax.jit(lambda x, k: ops.conv(x, k, **how))
    text = f.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == 1
    assert "dot_general" not in text


def test_jits_once_for_one_program_on_every_platform(rng):
    x, kernel, how = make(rng, "3x3")
    gradient = jax.jit(jax.grad(lambda k, x: jnp.sum(ops.conv(x, k, **how) ** 2)))
    exported = jax.export.export(gradient, platforms=("cpu", "cuda", "tpu"))(kernel, x)
    np.testing.assert_allclose(exported.call(kernel, x), gradient(kernel, x), rtol=1e-5, atol=1e-5)


def test_depthwise_on_a_cpu_is_no_convolution_of_xlas(rng):
    x, kernel, how = make(rng, "depthwise dilated")
    f = jax.jit(jax.grad(lambda k, x: jnp.sum(ops.conv(x, k, **how) ** 2), (0, 1)))
    assert "stablehlo.convolution" not in f.trace(kernel, x).lower(lowering_platforms=("cpu",)).as_text()


def test_weight_gradient_makes_no_whole_patch_matrix():
    x, kernel = jnp.zeros((1, 256, 256, 16)), jnp.zeros((3, 3, 16, 16))
    f = jax.jit(jax.grad(lambda k: jnp.sum(ops.conv(x, k, padding=1) ** 2)))
    temporary = f.lower(kernel).compile().memory_analysis().temp_size_in_bytes
    assert temporary < 9 * x.nbytes  # the patches alone would take nine images


@pytest.mark.parametrize(
    ("x", "kernel", "how", "word"),
    [
        ((4, 4, 3), (3, 3, 3, 2), {}, "leading axes"),
        ((1, 4, 4, 3), (3, 3, 4, 2), {}, "layout"),
        ((1, 4, 4, 3), (5, 5, 3, 2), {}, "pad more"),
        ((1, 4, 4, 3), (3, 3, 3, 2), {"stride": 0}, "stride"),
        ((1, 4, 4, 3), (3, 3, 3, 2), {"padding": -1}, "padding"),
    ],
)
def test_messages(x, kernel, how, word):
    with pytest.raises(JaxsegError, match=word):
        ops.conv(np.ones(x, np.float32), np.ones(kernel, np.float32), **how)


def test_dtypes_must_agree():
    with pytest.raises(JaxsegError, match="bfloat16"):
        ops.conv(np.ones((1, 4, 4, 3), np.float32), np.ones((1, 1, 3, 2), jnp.bfloat16))
    with pytest.raises(JaxsegError, match="astype"):
        ops.conv(np.ones((1, 4, 4, 3), np.int32), np.ones((1, 1, 3, 2), np.float32))


@pytest.mark.parametrize(("form", "dilation"), [("Winograd", 1), ("tap by tap", 6)])
def test_nothing_but_the_images_is_kept_for_the_gradient(monkeypatch, form, dilation):
    """XLA shares equal parts of the two passes, and keeps them in between: here tiles of 4 times the image's size."""
    monkeypatch.setattr(conv_cpu, "LEAST_PRODUCTS", 0)
    shape = (8, 16, 16, 128)
    x, kernel = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((3, 3, 128, 128), jnp.float32)
    assert conv_cpu.Geometry((1, 1), ((dilation,) * 2,) * 2, (dilation,) * 2, 1).form(x, kernel) == form

    def temporary(layers):
        def loss(kernels, x):
            for kernel in kernels:
                x = jnp.tanh(ops.conv(x, kernel, padding=dilation, dilation=dilation))
            return x.sum()

        program = (
            jax.jit(jax.grad(loss), compiler_options=compiler_options("cpu")).lower([kernel] * layers, x).compile()
        )
        return program.memory_analysis().temp_size_in_bytes

    assert temporary(3) - temporary(2) < 2 * 4 * np.prod(shape)
