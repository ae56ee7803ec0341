"""The window network: every pixel's scores at once are those of its window alone, and PyTorch's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from jaxseg.models.sliding_window import SlidingWindow
from jaxseg.types import JaxsegError
from tests.models.test_contract import images, variables_of

SMALL = partial(SlidingWindow, 3, kernels=(4, 5, 4), top=2, features=6, fc_features=7)


def windows_of(x, side):
    """The mirrored window round every pixel: ``[B, H, W, C]`` -> ``[B, H, W, side, side, C]``."""
    m = side // 2
    padded = np.pad(x, ((0, 0), (m, m), (m, m), (0, 0)), mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2)).transpose(0, 1, 2, 4, 5, 3)


def test_all_at_once_is_window_by_window():
    model = SMALL()
    x = np.asarray(images(7, 10))
    variables = variables_of(model, x)
    dense = jax.jit(partial(model.apply, train=False))(variables, x)["logits"]
    side = model.window
    assert side == 39
    patches = windows_of(x, side).reshape(-1, side, side, 3)
    one_by_one = jax.jit(partial(model.apply, train=True))(variables, patches)["logits"]
    assert one_by_one.shape == (140, 1, 1, 3)
    np.testing.assert_allclose(dense.reshape(-1, 3), one_by_one[:, 0, 0], rtol=1e-4, atol=1e-5)


def test_the_papers_net_equals_pytorch():
    """N4 on windows of 95, with strided poolings; and the numbers of its table 1."""
    torch = pytest.importorskip("torch")
    from tests.models import torch_twins

    model = SlidingWindow(2)
    assert model.window == 95
    x = np.asarray(images(95, 95))
    variables = variables_of(model, x)
    ours = jax.jit(partial(model.apply, train=True))(variables, x)["logits"]
    y, sides = torch.tensor(((x - 0.5) / 0.25).transpose(0, 3, 1, 2)), []
    for i in range(1, 5):
        y = torch.relu(torch_twins.conv(variables["params"][f"conv{i}"], y))
        y = torch.nn.functional.max_pool2d(y, 2)
        sides.append(y.shape[-1])
    assert sides == [46, 21, 9, 3]
    y = torch.relu(torch_twins.conv(variables["params"]["fc"], y))
    theirs = torch_twins.conv(variables["params"]["score"], y).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_training_on_more_than_a_window_scores_the_pixels_that_have_one():
    model = SMALL()
    x = np.asarray(images(41, 42))
    variables = variables_of(model, x)
    apply = jax.jit(partial(model.apply, train=True))
    logits = np.asarray(apply(variables, x)["logits"])
    assert logits.shape == (2, 3, 4, 3)
    alone = apply(variables, x[:, 2:41, 1:40])["logits"]
    np.testing.assert_allclose(logits[:, 2, 1], np.asarray(alone)[:, 0, 0], rtol=1e-4, atol=1e-5)
    with pytest.raises(JaxsegError, match="a window has 39"):
        apply(variables, x[:, :20])
    with pytest.raises(JaxsegError, match="without a centre pixel"):
        jax.eval_shape(partial(SMALL(kernels=(3,)).init, train=False), jax.random.key(0), x)


def test_priors_turn_equal_odds_into_the_classes_own():
    priors = (0.7, 0.2, 0.1)
    plain, weighted = SMALL(), SMALL(priors=priors)
    x = images(6, 5)
    variables = variables_of(plain, x)
    a, b = (softmax(jax.jit(partial(m.apply, train=False))(variables, x)["logits"], -1) for m in (plain, weighted))
    bayes = a * priors
    np.testing.assert_allclose(b, bayes / bayes.sum(-1, keepdims=True), rtol=1e-4)
    patch = images(39, 39)
    a, b = (jax.jit(partial(m.apply, train=True))(variables, patch)["logits"] for m in (plain, weighted))
    np.testing.assert_array_equal(a, b)


def test_operations_are_those_that_are_compiled():
    """Against the compiler's own count (two operations a multiplication, and some for pooling and ReLU)."""
    model = SMALL(features=32)

    def flops(x, train):
        variables = jax.eval_shape(partial(model.init, train=train), jax.random.key(0), x)
        jaxpr = jax.make_jaxpr(partial(model.apply, train=train))(variables, x)
        return count(jaxpr.jaxpr)

    def count(jaxpr):
        total = 0
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "conv_general_dilated":
                kernel = eqn.invars[1].aval.shape
                dims = eqn.params["dimension_numbers"].rhs_spec
                total += np.prod(eqn.outvars[0].aval.shape) * np.prod([kernel[d] for d in dims[1:]])
            total += sum(count(j.jaxpr if hasattr(j, "jaxpr") else j) for j in inner(eqn))
        return total

    def inner(eqn):
        if "branches" in eqn.params:  # the choice of platform: the default's
            return eqn.params["branches"][-1:]
        return [v for v in eqn.params.values() if hasattr(v, "eqns") or hasattr(v, "jaxpr")]

    x = jax.ShapeDtypeStruct((1, 20, 30, 3), jnp.float32)
    assert flops(x, False) == model.operations((20, 30))
    window = jax.ShapeDtypeStruct((1, 39, 39, 3), jnp.float32)
    assert flops(window, True) * 600 == model.operations((20, 30), dense=False)
