from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import FCN8s, FCN16s, FCN32s
from jaxseg.models.fcn import transfer
from jaxseg.types import JaxsegError

K = 3


def random_variables(model, x, scale=0.05):
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(0, scale, s.shape), jnp.float32), shapes)


def logits_of(model):
    return jax.jit(lambda variables, x: model.apply(variables, x, train=False)["logits"])


@pytest.mark.parametrize("make", [FCN32s, FCN16s, FCN8s])
def test_equals_the_authors_definition(make):
    torch = pytest.importorskip("torch")
    from tests.models import torch_twins

    model = make(K, base=4, fc_features=8)
    x = np.random.default_rng(0).random((1, 53, 40, 3)).astype(np.float32)
    variables = random_variables(model, x)
    ours = logits_of(model)(variables, x)
    caffe = x * 255 - np.array([122.67892, 116.66877, 104.00699], np.float32)
    with torch.no_grad():
        theirs = torch_twins.fcn(variables["params"], torch.tensor(caffe.transpose(0, 3, 1, 2)), model.stride)
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_a_finer_net_begins_as_the_coarser_one():
    """With its skip scoring zero and bilinear deconvolutions, 16s enlarges the very scores of 32s."""
    coarse, fine = (make(K, base=4, fc_features=8, paper_padding=False, dropout=0.0) for make in (FCN32s, FCN16s))
    x = np.random.default_rng(1).random((1, 128, 128, 3)).astype(np.float32)
    trained = random_variables(coarse, x)
    begun = transfer(trained, jax.jit(partial(fine.init, train=False))(jax.random.key(1), x))
    assert np.array_equal(begun["params"]["fc6"]["kernel"], trained["params"]["fc6"]["kernel"])
    assert not np.any(begun["params"]["score_pool4"]["kernel"])
    a, b = (logits_of(model)(variables, x) for model, variables in ((coarse, trained), (fine, begun)))
    # Two bilinear enlargements (2x, then 16x) are not quite one of 32x: near, and of the same classes nearly always.
    inside = np.s_[:, 24:-24, 24:-24]
    assert np.mean(np.argmax(a, -1)[inside] == np.argmax(b, -1)[inside]) > 0.95
    with pytest.raises(JaxsegError, match="score_fr"):
        transfer(trained, random_variables(FCN16s(K + 1, base=4, fc_features=8), x))


def test_fc6_as_a_convolution_is_the_fully_connected_layer():
    """On a map of exactly 7x7 the convolution is the dense layer; on a larger one it is that layer at every place."""
    from jaxseg import ops

    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(7, 7, 4, 5)).astype(np.float32)
    x = rng.normal(size=(1, 9, 8, 4)).astype(np.float32)
    y = ops.conv(x, kernel)
    for i in range(3):
        for j in range(2):
            dense = x[0, i : i + 7, j : j + 7].reshape(-1) @ kernel.reshape(-1, 5)
            np.testing.assert_allclose(y[0, i, j], dense, rtol=1e-3, atol=1e-3)


def test_all_at_once_scales_the_skips():
    x = np.random.default_rng(1).random((1, 64, 64, 3)).astype(np.float32)
    staged, at_once = (FCN8s(K, base=4, fc_features=8, paper_padding=False, at_once=a) for a in (False, True))
    variables = random_variables(staged, x)
    scaled = jax.tree.map(lambda p: p, variables)
    for name, factor in (("score_pool4", 0.01), ("score_pool3", 0.0001)):
        scaled["params"][name]["kernel"] = scaled["params"][name]["kernel"] * factor
    a, b = (logits_of(model)(v, x) for model, v in ((at_once, variables), (staged, scaled)))
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
