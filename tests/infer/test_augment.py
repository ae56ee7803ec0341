"""Views against a plain loop: one resize, one mirror and one softmax at a time, averaged by numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.infer import average_views
from jaxseg.types import JaxsegError

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)


def logits(images):
    """Sees neighbours, and left otherwise than right."""
    return jax.lax.conv_general_dilated(images, KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def images(h=24, w=30):
    return np.random.default_rng(1).random((2, h, w, 3), np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.5)])
@pytest.mark.parametrize("flip", [False, True])
def test_the_mean_of_softmax_over_views(scales, flip):
    x, total, count = images(), 0, 0
    for scale in scales:
        size = (round(24 * scale), round(30 * scale))
        scaled = np.stack([ops.resize_bilinear(one, size, antialias=True) for one in x])
        for mirror in (False, True)[: 1 + flip]:
            y = np.asarray(logits(scaled[:, :, ::-1] if mirror else scaled))
            y = y[:, :, ::-1] if mirror else y
            total = total + softmax(np.stack([ops.resize_bilinear(one, (24, 30)) for one in y]))
            count += 1
    done = np.exp(jax.jit(average_views(logits, scales=scales, flip=flip))(x))
    np.testing.assert_allclose(done, total / count, rtol=1e-4, atol=1e-6)


def test_flipping_makes_it_symmetric():
    x = images()
    averaged = jax.jit(average_views(logits, scales=(1.0, 1.25), flip=True))
    np.testing.assert_allclose(averaged(x[:, :, ::-1])[:, :, ::-1], averaged(x), atol=1e-5)
    assert np.abs(np.asarray(logits(x[:, :, ::-1])[:, :, ::-1] - logits(x))).max() > 0.1


def test_certainty_stays_finite():
    sure = average_views(lambda x: 1e4 * logits(x), scales=(1.0, 0.5), flip=True)
    assert np.isfinite(np.asarray(sure(images()))).all()


@pytest.mark.parametrize(
    ("scales", "message"),
    [((), "at least one"), ((1.0, 0.0), "all positive"), ((-1.0,), "all positive"), ((float("nan"),), "all positive"),
     ((0.01,), "scale 0.01 leaves nothing of an image of 24x30")],
)  # fmt: skip
def test_scales_that_make_no_image(scales, message):
    with pytest.raises(JaxsegError, match=message):
        average_views(logits, scales=scales)(images())


def test_scores_of_the_middle_alone_can_be_mirrored_but_not_scaled():
    middle = lambda x: logits(x)[:, 2:-2, 2:-2]
    assert average_views(middle, flip=True)(images()).shape == (2, 20, 26, 4)
    with pytest.raises(JaxsegError, match="scores 8x11 of 12x15 pixels"):
        average_views(middle, scales=(0.5,))(images())
    assert jnp.ndim(middle(images())) == 4
