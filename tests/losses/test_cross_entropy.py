"""Cross-entropy against PyTorch, value and gradient, and over eight devices against one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import DATA_AXIS, JaxsegError


def problem(seed=0, shape=(2, 5, 6), classes=4, void=0.3, ignore_index=255):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, classes)).astype(np.float32) * 3
    labels = rng.integers(0, classes, shape).astype(np.int32)
    labels[rng.random(shape) < void] = ignore_index
    return logits, labels


def in_torch(logits, labels, **options):
    """Value and gradient of torch's cross-entropy in float64, back in our layout."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(np.moveaxis(logits, -1, 1).astype(np.float64), requires_grad=True)
    if options.get("weight") is not None:
        options["weight"] = torch.tensor(options["weight"].astype(np.float64))
    value = torch.nn.functional.cross_entropy(x, torch.tensor(labels.astype(np.int64)), **options)
    value.sum().backward()
    return value.detach().numpy(), np.moveaxis(x.grad.numpy(), 1, -1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_equals_torch_in_value_and_gradient(weighted, smoothing, reduction):
    logits, labels = problem()
    weight = np.array([0.2, 1.0, 3.0, 0.01], np.float32) if weighted else None

    def ours(x):
        value = losses.cross_entropy(x, labels, class_weights=weight, label_smoothing=smoothing, reduction=reduction)
        return value.sum(), value

    (_, value), gradient = jax.value_and_grad(ours, has_aux=True)(logits)
    options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction, "ignore_index": 255}
    expected, expected_gradient = in_torch(logits, labels, **options)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=1e-6)


def test_tiny_class_weights_are_not_swallowed_by_the_guard_of_the_normaliser():
    logits, labels = problem(shape=(1, 1, 3), void=0)
    plain = losses.cross_entropy(logits, labels)
    light = losses.cross_entropy(logits, labels, class_weights=np.full(4, 0.01, np.float32))
    np.testing.assert_allclose(light, plain, rtol=1e-6)  # max(sum, 1) would give 0.03 of it


def test_pixel_weights_are_a_weighted_mean_and_those_at_void_are_not_read():
    logits, labels = problem()
    weights = np.random.default_rng(1).random(labels.shape).astype(np.float32) * 10
    weights[labels == 255] = np.nan
    each, keep = losses.cross_entropy(logits, labels, reduction="none"), labels != 255
    expected = np.average(np.asarray(each, np.float64)[keep], weights=weights[keep])
    np.testing.assert_allclose(losses.cross_entropy(logits, labels, pixel_weights=weights), expected, rtol=1e-6)


def test_eight_devices_with_uneven_void_equal_one():
    logits, labels = problem(shape=(8, 6, 7), void=0.0)
    for device in range(8):  # from no void to all void
        labels[device].reshape(-1)[: device * 6] = 255
    weights = np.array([0.5, 1, 2, 0.25], np.float32)
    loss = lambda x, y: losses.cross_entropy(x, y, class_weights=weights, label_smoothing=0.1)
    value, gradient = jax.value_and_grad(loss)(logits, labels)

    def mapped(x, y):
        v, g = jax.value_and_grad(loss)(x, y)
        return jax.lax.pmean(v, DATA_AXIS), g / 8  # the mean over devices, as the train step takes it

    values, gradients = jax.pmap(mapped, axis_name=DATA_AXIS)(logits[:, None], labels[:, None])
    np.testing.assert_allclose(values, np.full(8, value), rtol=1e-6)
    np.testing.assert_allclose(gradients[:, 0], gradient, rtol=1e-5, atol=1e-8)


def test_huge_logits_stay_finite():
    logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [3e38, 0.0, 0.0]], jnp.float32)
    labels = jnp.array([0, 0, 0])
    value, gradient = jax.value_and_grad(losses.cross_entropy)(logits, labels)
    np.testing.assert_allclose(value, (2e4 + np.log(2)) / 3, rtol=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": jnp.zeros((4, 4, 3), jnp.int32)}, "logits are int32, expected floating point"),
        ({"labels": jnp.zeros((4, 4))}, "labels are float32, expected integers"),
        (
            {"labels": jnp.zeros((4, 4, 1), jnp.int32)},
            r"logits \[4, 4, 3\] and labels \[4, 4, 1\] do not fit",
        ),
        ({"logits": jnp.zeros((4, 4, 1))}, "logits have 1 class, expected at least 2"),
        ({"class_weights": jnp.ones(4)}, r"class_weights \[4\], expected one for each class.*\[3\]"),
        ({"pixel_weights": jnp.ones(4)}, r"pixel_weights \[4\], expected \[4, 4\]"),
        ({"label_smoothing": 1.5}, r"label_smoothing is 1.5, expected 0..1"),
        ({"reduction": "avg"}, "reduction is 'avg', expected 'mean', 'sum' or 'none'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_mend(change, message):
    arguments = {"logits": jnp.zeros((4, 4, 3)), "labels": jnp.zeros((4, 4), jnp.int32)} | change
    with pytest.raises(JaxsegError, match=message):
        losses.cross_entropy(arguments.pop("logits"), arguments.pop("labels"), **arguments)
