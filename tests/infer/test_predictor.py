"""The predictor against a model whose answer is known at every pixel."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg import ops
from jaxseg.data import Pad, Resize
from jaxseg.infer import Ensemble, Predictor, Tiles
from jaxseg.infer.bands import enlarged
from jaxseg.models import UNet
from jaxseg.types import JaxsegError
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


def test_what_prepare_has_no_room_for_goes_in_tiles():
    image = np.random.default_rng(0).integers(0, 256, (50, 75, 3), np.uint8)
    p = predictor(Pad((64, 64)))
    in_tiles = dataclasses.replace(p, tiles=Tiles((64, 64))).probabilities(image)
    np.testing.assert_array_equal(p.probabilities(image), in_tiles)
    np.testing.assert_allclose(p.probabilities(image[:, :64]), in_tiles[:, :64], atol=1e-6)


def test_one_program_for_every_size():
    p = predictor(Resize((64, 64)))
    for size in ((10, 10), (64, 64), (100, 30)):
        p(np.zeros((*size, 3), np.uint8))
    assert p._log_probabilities._cache_size() == 1


def constant(levels, **options):
    """A predictor that gives these logits everywhere."""

    class Constant(nn.Module):
        @nn.compact
        def __call__(self, images, *, train=False):
            return {"logits": jnp.broadcast_to(jnp.asarray(levels, jnp.float32), (*images.shape[:3], len(levels)))}

    return Predictor(dataclasses.replace(tiny_experiment(), model=Constant()), {}, **options)


def picture(h, w):
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)


def test_enlarged_like_one_resize_of_the_whole():
    """Bands and blocks against the softmax of jaxseg.ops, true sizes smaller than the padded ones included."""
    scores = np.random.default_rng(0).normal(size=(20, 31, 4)).astype(np.float32)
    for size, new in (((20, 31), (300, 1100)), ((13, 31), (7, 600)), ((1, 1), (3, 2)), ((20, 30), (513, 512))):
        whole = jax.nn.softmax(ops.resize_bilinear(jnp.asarray(scores[: size[0], : size[1]]), new))
        np.testing.assert_allclose(np.concatenate(list(enlarged(scores, size, new))), whole, rtol=1e-4, atol=1e-5)


def test_tiles_of_a_network_of_single_pixels_are_the_whole_picture():
    image = picture(50, 75)
    in_tiles = dataclasses.replace(predictor(Resize((64, 64))), tiles=Tiles((32, 32)))
    level = image.mean(-1) / 255
    p = in_tiles.probabilities(image)
    np.testing.assert_allclose(p[..., 1], 1 / (1 + np.exp(1 - 2 * level)), rtol=1e-4)
    np.testing.assert_array_equal(in_tiles(image), p.argmax(-1))


@pytest.mark.parametrize("tiles", [None, Tiles((16, 16))])
def test_an_ensemble_is_the_mean_of_probabilities(tiles):
    one, two = constant([0.0, 1.0, 0.0], tiles=tiles), constant([3.0, 0.0, -1.0], tiles=tiles)
    image = picture(20, 40)
    mean = np.concatenate(list(Ensemble((one, two)).bands(image)))
    np.testing.assert_allclose(mean, (one.probabilities(image) + two.probabilities(image)) / 2, rtol=1e-6)
    assert (Ensemble((one, one))(image) == 1).all()
    assert (Ensemble((one, two, two))(image) == 0).all()


def test_ensembles_that_do_not_fit():
    e = tiny_experiment()
    other = dataclasses.replace(e, data=dataclasses.replace(e.data, val=Renamed()))
    with pytest.raises(JaxsegError, match="same classes in the same order; one has grass.* and another a, b"):
        Ensemble((Predictor(e, {}), Predictor(other, {})))
    with pytest.raises(JaxsegError, match="can't be averaged"):
        Ensemble((constant([1.0, 0.0]), constant([1.0, 0.0], tiles=Tiles((8, 8)))))(picture(20, 20))


class Renamed:
    classes, palette = ("a", "b"), ()


def test_a_valid_unet_predicts_in_tiles_only():
    e = dataclasses.replace(tiny_experiment(), model=UNet(3, base=2, depth=1, padding="valid"))
    shapes = jax.eval_shape(e.model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    variables = jax.tree.map(lambda s: jnp.full(s.shape, 0.1), shapes)
    image = picture(50, 40)
    p = Predictor(e, variables, tiles=Tiles((32, 32), overlap=0.0))
    assert p(image).shape == (50, 40)
    with pytest.raises(JaxsegError, match="only the middle 16x16 of 32x32 pixels; predict in tiles"):
        dataclasses.replace(p, tiles=None)(image)
