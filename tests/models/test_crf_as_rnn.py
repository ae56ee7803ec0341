"""CRFasRNN is its network with a dense CRF behind it, and learns the CRF's parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.special import softmax

from jaxseg.losses import cross_entropy
from jaxseg.models import CRFasRNN
from jaxseg.ops import Bilateral, Gaussian, dense_crf
from jaxseg.types import JaxsegError

K = 3


class Scores(nn.Module):
    """A network that looks at single pixels."""

    crop: int = 0

    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.Dense(K)(images)
        return {"logits": x[:, self.crop :], "features": {"x": x}}


TERMS = {"gaussian": Gaussian(2.0, 1.5), "bilateral": Bilateral(8.0, 30.0, 4.0)}


def images(n=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((n, 14, 18, 3)), jnp.float32)


def test_begins_as_the_network_and_a_crf():
    model = CRFasRNN(Scores(), **TERMS, iterations=2, test_iterations=4)
    x = images()
    variables = jax.jit(model.init)(jax.random.key(0), x)
    assert set(variables["params"]) == {"network", "gaussian_weight", "bilateral_weight", "compatibility"}
    unary = Scores().apply({"params": variables["params"]["network"]}, x)["logits"]
    crf = jax.jit(partial(dense_crf, method="lattice", **TERMS), static_argnames="iterations")
    for train, iterations in ((True, 2), (False, 4)):
        outputs = jax.jit(partial(model.apply, train=train))(variables, x)
        np.testing.assert_allclose(outputs["aux_unary"], unary, rtol=1e-5, atol=1e-5)
        for i in range(2):
            q = np.asarray(crf(-unary[i], 255 * x[i], iterations=iterations).q)
            off = np.abs(softmax(outputs["logits"][i], -1) - q)
            # Another rounding of the colours now and then adds a vertex to the lattice, or takes one.
            assert off.max() < 2e-3
            assert off.mean() < 1e-5
            assert np.abs(softmax(unary[i], -1) - q).mean() > 0.05


def test_learns_which_labels_go_together():
    """Noise of labels 1 and 2 that lies closely mixed is the truth here: Potts' model is wrong, and is unlearnt."""
    rng = np.random.default_rng(0)
    labels = jnp.asarray(np.where(rng.random((1, 14, 18)) < 0.5, 1, 2), jnp.int32)
    colours = jnp.asarray([[0.5, 0.5, 0.5], [0.6, 0.5, 0.5], [0.5, 0.6, 0.5]])
    x = colours[labels] + 0.02 * jnp.asarray(rng.normal(size=(1, 14, 18, 3)), jnp.float32)
    model = CRFasRNN(Scores(), **TERMS)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]

    @jax.jit
    def step(params):
        value, gradient = jax.value_and_grad(
            lambda p: cross_entropy(model.apply({"params": p}, x, train=True)["logits"], labels)
        )(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient), value

    learnt, losses = params, []
    for _ in range(60):
        learnt, value = step(learnt)
        losses.append(float(value))
    assert losses[-1] < 0.5 * losses[0]
    change = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)), learnt, params)
    assert change["compatibility"][1:, 1:].min() > 0.02
    assert all(part.max() > 0 for part in jax.tree.leaves(change))


def test_a_smaller_map_is_refused():
    with pytest.raises(JaxsegError, match="must score all"):
        jax.eval_shape(CRFasRNN(Scores(crop=2)).init, jax.random.key(0), images())
