"""dense_crf against pydensecrf (recorded, and live where it is installed) and against all pairs in numpy."""

import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import (
    Bilateral,
    Gaussian,
    Pairwise,
    dense_crf,
    unary_from_labels,
    unary_from_logits,
    unary_from_probabilities,
)
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.ops.crf import oracle, record_pydensecrf
from tests.ops.crf.test_lattice import NORMALIZATIONS


def small(h=12, w=12, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 255, (h // 4, w // 4, 3)), np.ones((4, 4, 1))) + rng.integers(0, 20, (h, w, 3))
    return rng.normal(size=(h, w, labels)).astype(np.float32), np.clip(image, 0, 255).astype(np.uint8)


def weighed(unary, image, iterations, normalization, gaussian, bilateral, **options):
    """dense_crf of a recorded case: pydensecrf has a number for the weight, or energies."""

    def term(compatibility):
        if np.ndim(compatibility) == 0:
            return {"weight": compatibility}
        return {"weight": 1.0, "compatibility": jnp.asarray(compatibility)}

    return dense_crf(
        jnp.asarray(unary),
        jnp.asarray(image),
        iterations=iterations,
        normalization=normalization,
        gaussian=Gaussian(gaussian[0], **term(gaussian[1])),
        bilateral=Bilateral(*bilateral[:2], **term(bilateral[2])),
        **options,
    )


@pytest.mark.parametrize("name", [*(case for case in record_pydensecrf.CASES if case != "sharp"), *slowly("sharp")])
def test_is_pydensecrf_recorded(name):
    recorded = np.load(record_pydensecrf.FILE)
    crf = weighed(recorded["unary"], recorded["image"], *record_pydensecrf.CASES[name], method="lattice")
    assert crf.method == "lattice"
    assert np.abs(recorded[name] - oracle.softmax(-recorded["unary"])).max() > 0.1
    np.testing.assert_allclose(crf.q, recorded[name], atol=2e-4)
    np.testing.assert_allclose(jax.nn.softmax(crf.logits), crf.q, atol=1e-6)
    assert np.abs(crf.q - recorded[name]).mean() < 1e-6


def test_is_pydensecrf_live():
    pytest.importorskip("pydensecrf", reason="pydensecrf builds on few machines")
    unary, image = small(40, 52, 5)
    for name, case in record_pydensecrf.CASES.items():
        if name not in ("vector", "matrix"):
            expected = record_pydensecrf.run(image, unary, *case)
            np.testing.assert_allclose(weighed(unary, image, *case, method="lattice").q, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "iterations", "sxy", "srgb"),
    [
        ("china", 5, 80, 13),
        *slowly(("china", 5, 67, 3), ("china", 5, 30, 5)),
        *slowly(*(("chelsea", 10, *widths) for widths in ((80, 13), (67, 3), (30, 5)))),
    ],
)
def test_is_pydensecrf_on_photographs(shared, name, iterations, sxy, srgb):
    """500x375 with 21 labels; at 67, 3 the lattice of "china" has 280,000 vertices."""
    data = np.load(shared / "data" / "crf" / f"{name}.npz")
    crf = dense_crf(data["unary"], data["image"], iterations=iterations, bilateral=Bilateral(sxy, srgb))
    case = f"{sxy}_{srgb}_{iterations}"
    q = np.asarray(crf.q)
    assert np.mean(q.argmax(-1) == data[f"labels_{case}"]) > 0.9999
    assert np.abs(q.reshape(-1, 21)[data["pixels"]] - data[f"q_{case}"]).mean() < 1e-6


@pytest.mark.parametrize(
    ("form", "normalization"),
    [
        *(("potts", normalization) for normalization in NORMALIZATIONS),
        *(("vector", "symmetric"), ("matrix", "before")),
        *slowly(*(("vector", normalization) for normalization in ("before", "after", "none"))),
        *slowly(*(("matrix", normalization) for normalization in ("symmetric", "after", "none"))),
    ],
)
def test_exact_is_the_equation(form, normalization):
    unary, image = small()
    mu = {"potts": -np.eye(3), "vector": -np.diag([1, 2, 0.5]), "matrix": 1 - np.eye(3) + 0.3 * np.eye(3, k=1)}[form]
    given = {"potts": None, "vector": jnp.diag(jnp.asarray(mu, jnp.float32)), "matrix": jnp.asarray(mu, jnp.float32)}
    y, x = np.mgrid[:12, :12].reshape(2, -1)
    extra = np.random.default_rng(5).normal(size=(12, 12, 2)).astype(np.float32)
    features = [
        np.stack([x, y], 1) / 2.0,
        np.concatenate([np.stack([x / 9, y / 7], 1), image.reshape(-1, 3) / np.array([20, 30, 40])], axis=1),
        extra.reshape(-1, 2),
    ]
    weights = 0.1 * np.array([3, 5, 2]) if normalization == "none" else (3, 5, 2)
    kernels = [w * oracle.normalized(oracle.pairs(f), normalization) for w, f in zip(weights, features)]
    expected = oracle.mean_field(unary.reshape(-1, 3), kernels, [mu] * 3, 4).reshape(12, 12, 3)
    crf = dense_crf(
        jnp.asarray(unary),
        jnp.asarray(image),
        iterations=4,
        gaussian=Gaussian(2.0, weights[0]),
        bilateral=Bilateral((9.0, 7.0), (20.0, 30.0, 40.0), weights[1]),
        others=[Pairwise(jnp.asarray(extra), weights[2])],
        compatibility=given[form],
        normalization=normalization,
    )
    assert (crf.method, int(crf.num_vertices)) == ("exact", 0)
    np.testing.assert_allclose(crf.q, expected, atol=1e-5)


def test_terms_have_their_own_compatibility_and_normalization():
    unary, image = small()
    crf = dense_crf(
        jnp.asarray(unary),
        jnp.asarray(image),
        iterations=3,
        gaussian=Gaussian(2.0, 1.0, jnp.asarray([-1.0, -2.0, 0.5]), "after"),
        bilateral=None,
        others=[Gaussian(4.0, 2.0)],
    )
    y, x = np.mgrid[:12, :12].reshape(2, -1)
    kernels = [
        oracle.normalized(oracle.pairs(np.stack([x, y], 1) / s), n) for s, n in ((2.0, "after"), (4.0, "symmetric"))
    ]
    expected = oracle.mean_field(unary.reshape(-1, 3), kernels, [np.diag([-1.0, -2.0, 0.5]), -2 * np.eye(3)], 3)
    np.testing.assert_allclose(crf.q, expected.reshape(12, 12, 3), atol=1e-5)


def test_no_iterations_and_no_terms_are_softmax():
    unary, image = (jnp.asarray(x) for x in small())
    for options in ({"iterations": 0}, {"gaussian": None, "bilateral": None}):
        np.testing.assert_allclose(dense_crf(unary, image, **options).q, jax.nn.softmax(-unary), atol=1e-6)


METHODS = ("lattice", "exact")


def slopes(loss, arguments, steps):
    """(gradient along a step, finite difference) for each argument by itself."""
    run = jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(arguments)))))
    _, gradients = run(*arguments)
    for i, (gradient, step) in enumerate(zip(gradients, steps)):
        up, down = list(arguments), list(arguments)
        up[i], down[i] = arguments[i] + step, arguments[i] - step
        yield np.vdot(gradient, step), (run(*up)[0].item() - run(*down)[0].item()) / 2


@pytest.mark.parametrize(
    ("method", "normalization"),
    [
        *(("lattice", "symmetric"), ("exact", "symmetric"), ("exact", "before")),
        *slowly(*(("lattice", normalization) for normalization in ("before", "after", "none"))),
        *slowly(("exact", "after"), ("exact", "none")),
    ],
)
def test_gradient_is_the_slope(method, normalization):
    """Of unary energies, both weights and a compatibility matrix, within 0.5 %."""
    unary, image = (jnp.asarray(x) for x in small(16, 20))
    rng = np.random.default_rng(1)
    towards = jnp.asarray(rng.normal(size=unary.shape), jnp.float32)
    weight = 0.02 if normalization == "none" else 1.0

    def loss(unary, weights, mu):
        terms = {"gaussian": Gaussian(2.0, weights[0]), "bilateral": Bilateral(10.0, 30.0, weights[1])}
        crf = dense_crf(
            unary, image, iterations=5, compatibility=mu, normalization=normalization, method=method, **terms
        )
        return jnp.vdot(crf.q, towards)

    mu = jnp.asarray(1 - np.eye(3) + 0.2 * rng.normal(size=(3, 3)), jnp.float32)
    weights = weight * np.float32([1, 2])
    steps = (0.01 * rng.normal(size=unary.shape), 0.01 * weight * np.array([1, -0.7]), 0.01 * rng.normal(size=(3, 3)))
    for gradient, slope in slopes(loss, (unary, weights, mu), [s.astype(np.float32) for s in steps]):
        np.testing.assert_allclose(gradient, slope, rtol=5e-3, atol=1e-4)


def test_gradient_of_widths():
    """Of all pairs within 0.5 %; on the lattice it is that of the features, which tests/ops/crf/test_lattice.py checks:
    the lattice's vertices come and go with the widths, so that no difference quotient of dense_crf settles."""
    unary, image = (jnp.asarray(x) for x in small(16, 20))
    y, x = (jnp.asarray(a, jnp.float32) for a in np.mgrid[:16, :20])
    towards = jnp.asarray(np.random.default_rng(1).normal(size=unary.shape), jnp.float32)

    def loss(sxy, srgb, method="exact"):
        terms = {"gaussian": None, "bilateral": Bilateral(sxy, srgb, 2.0)}
        return jnp.vdot(dense_crf(unary, image, method=method, max_vertices=1920, **terms).q, towards)

    def by_features(sxy, srgb):
        features = jnp.concatenate([jnp.stack([x, y], axis=-1) / sxy, image.astype(jnp.float32) / srgb], axis=-1)
        terms = {"gaussian": None, "bilateral": None, "others": [Pairwise(features, 2.0)]}
        return jnp.vdot(dense_crf(unary, image, method="lattice", max_vertices=1920, **terms).q, towards)

    widths = np.float32(6.13), np.float32(25.71)
    for gradient, slope in slopes(loss, widths, [np.float32(0.01) * width for width in widths]):
        np.testing.assert_allclose(gradient, slope, rtol=5e-3, atol=2e-5)
    got = jax.jit(jax.grad(partial(loss, method="lattice"), argnums=(0, 1)))(*widths)
    expected = jax.jit(jax.grad(by_features, argnums=(0, 1)))(*widths)
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    assert np.abs(expected).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_vmap_equals_a_loop(method):
    unary, image = (np.stack(x) for x in zip(*(small(seed=s) for s in range(3))))

    def loss(unary, image, weight):
        crf = dense_crf(unary, image, bilateral=Bilateral(weight=weight), method=method, max_vertices=864)
        return jnp.sum(jnp.square(crf.q)), crf.q

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 2), has_aux=True))
    weights = np.float32([1, 5, 10])
    together = jax.jit(jax.vmap(run))(unary, image, weights)
    for i in range(3):
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5),
            together,
            run(unary[i], image[i], weights[i]),
        )


def test_one_program_for_all_images():
    traced = []

    @jax.jit
    def run(unary, image):
        traced.append(1)
        return dense_crf(unary, image, method="lattice", max_vertices=864).q

    for seed in range(3):
        unary, image = (jnp.asarray(x) for x in small(seed=seed))
        np.testing.assert_allclose(run(unary, image), dense_crf(unary, image, method="lattice").q, atol=1e-5)
    assert len(traced) == 1


@pytest.mark.parametrize("compiled", [False, True])
def test_overflow_is_never_silent(compiled, caplog):
    unary, image = (jnp.asarray(x) for x in small())
    needed = int(dense_crf(unary, image, method="lattice").num_vertices)
    assert 150 < needed < 864

    def run(unary, image, on_overflow="nan"):
        return dense_crf(unary, image, method="lattice", max_vertices=150, on_overflow=on_overflow)

    with caplog.at_level(logging.WARNING, logger="jaxseg"):
        crf = (jax.jit(run) if compiled else run)(unary, image)
        jax.effects_barrier()
    assert np.isnan(crf.q).all()
    assert (int(crf.num_vertices), int(crf.num_dropped)) == (needed, needed - 150)
    assert f"max_vertices={needed}" in caplog.text
    assert np.isfinite(run(unary, image, "ignore").q).all()


def test_room_that_suffices_says_nothing(caplog):
    unary, image = (jnp.asarray(x) for x in small())
    jax.jit(lambda u, i: dense_crf(u, i, method="lattice"))(unary, image)
    jax.effects_barrier()
    assert not caplog.text


TINY, FLAT = ((1, 1, 2), 0), ((4, 3, 1), 255)


@pytest.mark.parametrize(
    ("method", "shape", "value"),
    [("exact", *TINY), ("exact", *FLAT), ("lattice", *TINY), *slowly(("lattice", *FLAT))],
)
def test_flat_and_tiny_images(method, shape, value):
    unary, image = np.zeros(shape, np.float32), np.full((*shape[:2], 3), value, np.uint8)
    unary[0, 0, 0] = -2
    value, gradient = jax.value_and_grad(lambda u: jnp.sum(dense_crf(u, image, method=method).q[0]))(unary)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_energies_are_computed_in_float32(method):
    unary, image = (jnp.asarray(x) for x in small())
    low = unary.astype(jnp.bfloat16)
    q = dense_crf(low, image, method=method).q
    assert q.dtype == jnp.float32
    np.testing.assert_array_equal(q, dense_crf(low.astype(jnp.float32), image, method=method).q)


def test_unaries():
    p = np.float32([[0, 1, 0], [0.2, 0.3, 0.5]])
    probabilities = lambda p, **how: jax.jit(partial(unary_from_probabilities, **how))(p)
    np.testing.assert_allclose(probabilities(p, clip=1e-5), -np.log(np.clip(p, 1e-5, 1)), rtol=1e-6)
    np.testing.assert_allclose(probabilities(p, scale=0.9), -np.log(0.9 * p + 0.1 / 3), rtol=1e-6)
    assert np.isfinite(jax.jit(jax.grad(lambda p: jnp.sum(unary_from_probabilities(p))))(p)).all()
    labels = np.array([0, 2, 255])
    expected = -np.log([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    got = jax.jit(partial(unary_from_labels, num_labels=3, confidence=0.6))(labels)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    logits = np.array([[1e4, 0.0, -1e4]], jnp.bfloat16)
    assert np.isfinite(unary_from_logits(logits)).all()
    np.testing.assert_allclose(jax.jit(unary_from_logits)(np.log(p[1:])), -np.log(p[1:]), rtol=1e-6)


def test_impossible_labels_stay_impossible():
    """Energies of infinity: a label that is ruled out, with the others' probabilities finite."""
    unary, image = small()
    unary[:, :, 1] = np.inf
    q = dense_crf(jnp.asarray(unary), jnp.asarray(image), method="lattice").q
    assert np.isfinite(q).all()
    assert (q[..., 1] == 0).all()


def crf_of(unary_shape=(4, 6, 3), image=None, **options):
    image = np.zeros((4, 6, 3), np.uint8) if image is None else image
    return dense_crf(jnp.asarray(np.zeros(unary_shape, np.float32)), jnp.asarray(image), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crf_of((3, 4, 6)), r"expected \(4, 6, L\).*labels come last here, jnp.moveaxis\(unary, 0, -1\)"),
        (lambda: crf_of(image=np.zeros((3, 4, 6))), r"\(4, 6, 3\).*jnp.moveaxis\(image, 0, -1\)"),
        (lambda: crf_of((5, 6, 3)), r"expected \(4, 6, L\).*resize"),
        (lambda: crf_of((4, 6)), r"\[H, W, L\]"),
        (lambda: crf_of((0, 6, 3), np.zeros((0, 6, 3))), r"shape \(0, 6, 3\)"),
        (lambda: crf_of(image=np.zeros((4, 6))), r"\[H, W, 3\]"),
        (lambda: crf_of(image=np.full((4, 6, 3), 0.4)), "multiply by 255"),
        (lambda: crf_of(image=np.full((4, 6, 3), -1.0)), r"-1\.\.-1"),
        (lambda: crf_of(gaussian=Gaussian(0.0)), "must be positive"),
        (lambda: crf_of(bilateral=Bilateral(srgb=-3.0)), "must be positive"),
        (lambda: crf_of(bilateral=Bilateral(srgb=(1.0, 2.0))), "srgb"),
        (lambda: crf_of(compatibility=jnp.zeros((2, 2))), r"expected \(3,\) or \(3, 3\)"),
        (lambda: crf_of(gaussian=Gaussian(weight=jnp.zeros(3))), "expected a number"),
        (lambda: crf_of(others=[Pairwise(jnp.zeros((6, 4, 1)))]), r"expected \(4, 6, d\)"),
        (lambda: crf_of(method="grid"), "'grid'"),
        (lambda: crf_of(on_overflow="raise"), "'raise'"),
        (lambda: crf_of(normalization="l2"), "'l2'"),
        (lambda: crf_of(iterations=-1), "-1"),
        (lambda: jax.grad(lambda s: crf_of(gaussian=Gaussian(s), method="lattice").q.sum())(3.0), "Pairwise term"),
        (lambda: unary_from_probabilities(jnp.ones((2, 2)), clip=0.0), "clip is 0"),
        (lambda: unary_from_labels(jnp.zeros(3), 3, confidence=0.5), "integers"),
        (lambda: unary_from_labels(jnp.zeros(3, jnp.int32), 3, confidence=1.0), "confidence 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(JaxsegError, match=message):
        call()
