"""The predictor against a model whose answer is known at every pixel."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg.data import Resize
from jaxseg.infer import Predictor
from tests.helpers import tiny_experiment


class Brightness(nn.Module):
    """Class 1 where a pixel is bright, 0 where it is dark."""

    @nn.compact
    def __call__(self, images, *, train=False):
        level = images.mean(-1)
        return {"logits": jnp.stack([0.5 - level, level - 0.5], -1)}


def predictor(prepare):
    e = tiny_experiment()
    return Predictor(dataclasses.replace(e, model=Brightness(), data=dataclasses.replace(e.data, prepare=prepare)), {})


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (50, 75), (33, 200)])
@pytest.mark.parametrize("mode", ["stretch", "pad"])
def test_classes_land_where_they_are(size, mode):
    h, w = size
    image = np.zeros((h, w, 3), np.uint8)
    image[: h // 2, w // 3 :] = 255
    label = predictor(Resize((64, 64), mode=mode))(image)
    assert label.shape == size
    truth = image[..., 0] > 0
    # Only pixels at the border, within what one pixel of the network's image covers, may differ.
    reach = int(np.ceil(max(h, w) / 64)) + 1
    sure = np.ones(size, bool)
    sure[h // 2 - reach : h // 2 + reach] = False
    sure[:, w // 3 - reach : w // 3 + reach] = False
    np.testing.assert_array_equal(label[sure], truth[sure])


def test_one_program_for_every_size():
    p = predictor(Resize((64, 64)))
    for size in ((10, 10), (64, 64), (100, 30)):
        p(np.zeros((*size, 3), np.uint8))
    assert p._apply._cache_size() == 1
