import numpy as np
import pytest

from jaxseg import losses
from jaxseg.data import Shapes, class_frequencies
from jaxseg.types import JaxsegError


def test_rare_classes_weigh_more_and_the_mean_over_pixels_is_1():
    f = np.array([0.64, 0.32, 0.04])
    np.testing.assert_allclose(losses.frequency_weights(f, power=0), 1, rtol=1e-6)
    np.testing.assert_allclose(f * losses.frequency_weights(f, power=1), 1 / 3, rtol=1e-6)
    root = losses.frequency_weights(f)
    assert root[2] / root[0] == pytest.approx(4)
    assert (f * root).sum() == pytest.approx(1)
    np.testing.assert_allclose(losses.frequency_weights((0, 64, 32, 4))[1:], root, rtol=1e-6)
    assert losses.frequency_weights((0, 64, 32, 4))[0] == 0


@pytest.mark.parametrize("frequencies", [(-1, 2), (0, 0), 3.0, (float("nan"), 1)])
def test_frequencies_that_are_none_are_refused(frequencies):
    with pytest.raises(JaxsegError, match="one number for each class"):
        losses.frequency_weights(frequencies)


def test_class_frequencies_count_every_labelled_pixel():
    source = Shapes("train", size=(32, 32), length=5)
    labels = np.concatenate([source[i]["label"].ravel() for i in range(5)])
    known = labels[labels < len(source.classes)]
    expected = [(known == k).mean() for k in range(len(source.classes))]
    np.testing.assert_allclose(class_frequencies(source), expected)
