"""What every loss promises: void counts for nothing, jit and vmap change nothing, the gradient is the
gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses

K = 4
WEIGHTS = np.array([0.2, 1.0, 3.0, 0.5], np.float32)
LOSSES = {
    "cross_entropy": losses.cross_entropy,
    "cross_entropy weighted": partial(losses.cross_entropy, class_weights=WEIGHTS, label_smoothing=0.1),
    "focal": losses.focal,
    "focal gamma 0.5": partial(losses.focal, gamma=0.5, class_weights=WEIGHTS),
    "ohem fraction": partial(losses.ohem_cross_entropy, fraction=0.4),
    "ohem threshold": partial(losses.ohem_cross_entropy, threshold=0.05, min_kept=7, class_weights=WEIGHTS),
    "tversky": losses.tversky,
    "dice": losses.dice,
    "dice of the foreground": partial(losses.dice, include_background=False, smooth=1.0),
    "jaccard": losses.jaccard,
    "lovasz_softmax": losses.lovasz_softmax,
}
REGION = ("tversky", "dice", "dice of the foreground", "jaccard", "lovasz_softmax")
VOIDS = [(np.uint8, 255), (np.int32, 255), (np.int32, -1), (np.int32, -100)]

every_loss = pytest.mark.parametrize("name", LOSSES)
every_void = pytest.mark.parametrize(("dtype", "void"), VOIDS, ids=lambda x: getattr(x, "__name__", str(x)))


def example(dtype=np.int32, void=255, seed=0, shape=(6, 7)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, K)).astype(np.float32) * 2
    labels = rng.integers(0, K, shape)
    labels[rng.random(shape) < 0.3] = void
    return logits, labels.astype(dtype)


_jitted = {}


def value_and_grad(name, void=255):
    """Jitted once per loss: ``ignore_index`` is traced here, so that its values share a compilation."""
    if name not in _jitted:
        _jitted[name] = jax.jit(jax.value_and_grad(lambda x, y, v: LOSSES[name](x, y, ignore_index=v)))
    return lambda logits, labels: _jitted[name](logits, labels, jnp.int32(void))


def test_every_exported_loss_is_under_the_contract():
    tested = {getattr(f, "func", f).__name__ for f in LOSSES.values()}
    helpers = {"check_labels", "frequency_weights", "split_void", "unet_weight_map", "weighted_mean"}
    sums_of_these = {"cross_entropy_and_dice"}  # of a batch; tested beside it
    # tests/losses/test_binary.py, test_box.py, test_detection.py, test_keypoint.py, test_corner.py, test_caption.py,
    # test_mesh.py
    no_softmax = {
        *("binary_cross_entropy", "l1", "l2", "mask_loss", "roi_losses", "rpn_losses", "smooth_l1", "keypoint_loss"),
        *("corner_focal_loss", "pull_push_loss", "caption_loss", "chamfer_loss", "edge_loss", "mesh_losses"),
    }
    assert tested == set(losses.__all__) - helpers - sums_of_these - no_softmax


@every_loss
@every_void
def test_all_void_is_exactly_0_with_a_gradient_of_exactly_0(name, dtype, void):
    logits, labels = example(dtype, void)
    value, gradient = value_and_grad(name, void)(logits, np.full_like(labels, void))
    assert value == 0.0
    assert (np.asarray(gradient) == 0.0).all()


@every_loss
@every_void
def test_logits_at_void_change_nothing_and_get_no_gradient(name, dtype, void):
    logits, labels = example(dtype, void)
    hidden = labels == np.asarray(void, dtype)
    value, gradient = value_and_grad(name, void)(logits, labels)
    assert value > 0
    assert (np.asarray(gradient)[hidden] == 0.0).all()
    assert np.abs(np.asarray(gradient)[~hidden]).max() > 0
    changed = logits.copy()
    changed[hidden] = np.random.default_rng(9).choice([np.nan, np.inf, -1e4, 7.0], (hidden.sum(), K))
    other_value, other_gradient = value_and_grad(name, void)(changed, labels)
    assert other_value == value
    np.testing.assert_array_equal(other_gradient, gradient)


@every_loss
@every_void
def test_equals_the_loss_on_the_known_pixels_alone(name, dtype, void):
    logits, labels = example(dtype, void)
    known = labels != np.asarray(void, dtype)
    value, gradient = value_and_grad(name, void)(logits, labels)
    alone, alone_gradient = value_and_grad(name)(logits[known], labels[known].astype(np.int32))
    np.testing.assert_allclose(value, alone, rtol=2e-6)
    np.testing.assert_allclose(np.asarray(gradient)[known], alone_gradient, rtol=1e-5, atol=1e-7)


@every_loss
def test_uint8_labels_do_not_wrap_onto_minus_1(name):
    logits, labels = example()
    labels = np.where(labels == 255, 3, labels)
    narrow, _ = value_and_grad(name, -1)(logits, labels.astype(np.uint8))
    wide, _ = value_and_grad(name, 255)(logits, labels)
    np.testing.assert_allclose(narrow, wide, rtol=1e-6)
    labels[0, :3] = 255  # neither a class nor void: weighs nothing, rather than poison or an invented class
    _, gradient = value_and_grad(name, -1)(logits, labels.astype(np.uint8))
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[0, :3] == 0).all()


@every_loss
def test_jit_equals_eager_and_vmap_equals_a_loop(name):
    pairs = [example(seed=s) for s in range(3)]
    pairs[1][1][:] = 255  # one image of the batch is all void
    logits, labels = (np.stack(x) for x in zip(*pairs))
    loop = np.array([value_and_grad(name)(x, y)[0] for x, y in pairs])
    np.testing.assert_allclose(LOSSES[name](logits[0], labels[0]), loop[0], rtol=2e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(LOSSES[name]))(logits, labels), loop, rtol=2e-6)


@every_loss
def test_bfloat16_logits_are_computed_in_float32(name):
    logits, labels = example()
    rough = jnp.asarray(logits, jnp.bfloat16)
    value, gradient = value_and_grad(name)(rough, labels)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16  # the gradient has the type of what it is a gradient of
    np.testing.assert_allclose(value, value_and_grad(name)(rough.astype(jnp.float32), labels)[0], rtol=1e-6)


@every_loss
def test_gradient_equals_finite_differences(name):
    logits, labels = example()
    f = value_and_grad(name)
    _, gradient = f(logits, labels)
    for seed in range(4):
        direction = np.random.default_rng(seed).normal(size=logits.shape).astype(np.float32)
        step = np.float32(2e-3)
        rise = float(f(logits + step * direction, labels)[0]) - float(f(logits - step * direction, labels)[0])
        np.testing.assert_allclose((gradient * direction).sum(), rise / (2 * step), rtol=0.02, atol=1e-3)


@every_loss
def test_huge_logits_give_finite_values_and_gradients(name):
    logits, labels = example()
    for scale in (1e4, 1e30):
        value, gradient = value_and_grad(name)(logits * np.float32(scale), labels)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    value, gradient = value_and_grad(name)(np.zeros_like(logits), labels)  # all classes tie
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@every_loss
def test_a_perfect_prediction_costs_nothing(name):
    _, labels = example()
    sure = 50.0 * np.eye(K, dtype=np.float32)[np.where(labels == 255, 0, labels)]
    if name == "cross_entropy weighted":
        pytest.skip("label smoothing charges certainty")
    value, gradient = value_and_grad(name)(sure, labels)
    assert abs(value) < 1e-6
    assert np.abs(gradient).max() < 1e-6


@pytest.mark.parametrize("name", REGION)
def test_a_class_absent_from_the_truth_has_no_term_and_others_keep_theirs(name):
    logits, labels = example()
    terms = jax.jit(partial(LOSSES[name], reduction="none"))
    full = terms(logits, labels)
    # the same pixels twice over scale every area by two: no term changes (smoothing aside)
    if "foreground" not in name:
        twice = terms(np.concatenate([logits] * 2), np.concatenate([labels] * 2))
        np.testing.assert_allclose(full, twice, rtol=1e-5)
    without = np.where(labels == 2, 255, labels)
    part = terms(logits, without)
    assert part[2] == 0.0
    counted = [k for k in range(K) if k != 2 and not ("foreground" in name and k == 0)]
    mean, _ = value_and_grad(name)(logits, without)
    np.testing.assert_allclose(mean, np.mean(np.asarray(part)[counted]), rtol=1e-6)


def test_focal_at_gamma_0_is_cross_entropy():
    logits, labels = example()
    for options in ({}, {"class_weights": WEIGHTS}, {"reduction": "sum"}, {"reduction": "none"}):
        ours, expected = (
            jax.value_and_grad(lambda x, f=f, o=options: f(x, labels, **o).sum())(logits)
            for f in (partial(losses.focal, gamma=0.0), losses.cross_entropy)
        )
        np.testing.assert_allclose(ours[0], expected[0], rtol=1e-6)
        np.testing.assert_allclose(ours[1], expected[1], rtol=1e-5, atol=1e-7)


def test_tversky_has_dice_and_jaccard_as_its_cases():
    logits, labels = example()
    for smooth in (0.0, 1.0):
        half = losses.tversky(logits, labels, alpha=0.5, beta=0.5, smooth=smooth)
        np.testing.assert_allclose(half, losses.dice(logits, labels, smooth=smooth), rtol=1e-6)
        one = losses.tversky(logits, labels, alpha=1.0, beta=1.0, smooth=smooth)
        np.testing.assert_allclose(one, losses.jaccard(logits, labels, smooth=smooth), rtol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_ohem_of_everything_is_cross_entropy(weights):
    logits, labels = example()
    expected = losses.cross_entropy(logits, labels, class_weights=weights)
    for options in ({"fraction": 1.0}, {"threshold": 1.0}, {"threshold": 0.01, "min_kept": 10**6}):
        ours = losses.ohem_cross_entropy(logits, labels, class_weights=weights, **options)
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
