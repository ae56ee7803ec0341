from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import losses


def test_it_is_the_sum_of_the_two():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (2, 5, 6)).astype(np.uint8)
    labels[0, 0] = 255
    both = jax.jit(partial(losses.cross_entropy_and_dice, dice_weight=0.5))(logits, labels)
    dice = [jax.jit(losses.dice)(logits[i], labels[i]) for i in range(2)]
    np.testing.assert_allclose(both, jax.jit(losses.cross_entropy)(logits, labels) + 0.5 * np.mean(dice), rtol=1e-6)
    void = np.full((2, 5, 6), 255)
    value, gradient = jax.jit(jax.value_and_grad(losses.cross_entropy_and_dice))(logits, void)
    assert value == 0.0
    assert not np.any(gradient)


def test_rows_that_only_fill_the_batch_weigh_nothing():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(size=(3, 5, 6, 3)), jnp.float32)
    labels = rng.integers(0, 3, (3, 5, 6))
    labels[2] = 255
    whole = losses.cross_entropy_and_dice(logits, labels)
    np.testing.assert_allclose(whole, losses.cross_entropy_and_dice(logits[:2], labels[:2]), rtol=1e-6)
