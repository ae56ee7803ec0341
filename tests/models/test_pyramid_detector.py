"""The window over a pyramid: the same as each window cut out and asked by itself."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import softmax

from jaxseg import losses, ops
from jaxseg.metrics.precision import box_iou
from jaxseg.models.pyramid_detector import WINDOWS, PyramidDetector, WindowNetwork
from jaxseg.types import JaxsegError
from tests.helpers import variables_of

K = 3
RULES = WINDOWS._replace(roi_samples=16, detections=10)
NETWORK = WindowNetwork(K, features=(4, 4, 6), hidden=8)
MODEL = PyramidDetector(NETWORK, (1.3, 0.8), 6, RULES)


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(0)
    images = rng.random((2, 46, 57, 3)).astype(np.float32)
    variables = variables_of(MODEL, images[:1])
    return images, np.array([[46, 57], [40, 44]], np.int32), variables


DETECT = jax.jit(partial(MODEL.apply, train=False))


def test_each_window_is_answered_as_if_alone(setting):
    images, sizes, variables = setting
    outputs = jax.device_get(DETECT(variables, images, sizes))
    apply = jax.jit(partial(NETWORK.apply, train=False))
    inner = {kind: tree["network"] for kind, tree in variables.items()}
    normalised, n = np.asarray(RULES.normalization(images))[0], 0
    for h, w in MODEL.copies((46, 57)):
        copy = jax.jit(partial(ops.resize_bilinear, size=(h, w)))(normalised)
        copy = np.pad(copy, ((6, 6), (6, 6), (0, 0)))
        for y in range(0, h + 12 - 31, 4):
            for x in range(0, w + 12 - 31, 4):
                corners = np.array([x - 6, y - 6, x + 26, y + 26]) * [57 / w, 46 / h, 57 / w, 46 / h]
                np.testing.assert_allclose(outputs["windows"][n], corners, rtol=1e-5)
                if n % 17 == 0:
                    alone, moved = apply(inner, copy[None, y : y + 32, x : x + 32])
                    assert alone.shape == (1, 1, 1, K + 1)
                    logits, deltas = outputs["logits_of"][0, n], outputs["deltas_of"][0, n]
                    np.testing.assert_allclose(logits, np.asarray(alone)[0, 0, 0], rtol=1e-3, atol=1e-4)
                    np.testing.assert_allclose(deltas, np.asarray(moved)[0, 0, 0], rtol=1e-3, atol=1e-4)
                n += 1
    assert n == len(outputs["windows"]) > 100


def test_detections_are_of_windows_whose_middle_the_image_holds(setting):
    images, sizes, variables = setting
    found = jax.device_get(DETECT(variables, images, sizes))
    noise = images.copy()
    noise[1, 40:], noise[1, :, 44:] = 5, 5  # beyond the true size
    again = jax.device_get(DETECT(variables, noise, sizes))
    detect = jax.jit(partial(ops.detect, iou_threshold=0.3, max_outputs=10))
    for i in range(2):
        windows = found["windows"]
        middle = (windows[:, :2] + windows[:, 2:]) / 2
        inside = ((middle >= 0) & (middle <= sizes[i][::-1])).all(1)
        assert inside.any()
        assert inside.all() == (i == 0)
        probabilities = softmax(found["logits_of"][i], -1)[:, 1:]
        wanted = detect(probabilities, found["deltas_of"][i], windows, inside, sizes[i])
        assert found["valid"][i].sum() > 2
        for key in ("boxes", "scores", "classes", "valid"):
            np.testing.assert_allclose(found[key][i], getattr(wanted, key), atol=1e-4)
            np.testing.assert_array_equal(found[key][i], again[key][i])


def test_training_windows_and_gradients(setting):
    images, sizes, variables = setting
    truth = {"boxes": np.float32([[[5, 5, 31, 29], [22, 14, 56, 44]], [[10, 9, 40, 38], [0, 0, 0, 0]]])}
    truth |= {"classes": np.int32([[1, 3], [2, 0]]), "valid": np.array([[True, True], [True, False]])}

    def run(params):
        outputs, _ = MODEL.apply(
            {**variables, "params": params}, images, sizes, truth, train=True, mutable=["batch_stats"],
            rngs={"sampling": jax.random.key(0)},
        )  # fmt: skip
        roi = outputs["roi"]
        return sum(losses.roi_losses(*(roi[k] for k in ("logits", "deltas", "classes", "targets", "valid")))), outputs

    gradients, outputs = jax.jit(jax.grad(run, has_aux=True))(variables["params"])
    dead = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.any(g)]
    assert [name for name in dead if "conv" not in name or "kernel" in name] == []  # a bias before a normalisation
    roi = jax.device_get(outputs["roi"])
    for i in range(2):
        boxes = roi["boxes"][i]
        np.testing.assert_allclose(boxes, outputs["windows"][roi["index"][i]])  # windows, never a true box
        iou = box_iou(boxes, truth["boxes"][i][truth["valid"][i]])
        np.testing.assert_array_equal(roi["classes"][i] > 0, iou.max(1) >= 0.5)
        assert not ((iou.max(1) >= 0.4) & (iou.max(1) < 0.5)).any()
        rows = roi["classes"][i] > 0
        assert rows.sum() >= 1
        np.testing.assert_array_equal(roi["classes"][i][rows], truth["classes"][i][iou.argmax(1)][rows])
        np.testing.assert_allclose(roi["logits"][i], outputs["logits_of"][i][roi["index"][i]])
        np.testing.assert_allclose(roi["deltas"][i], outputs["deltas_of"][i][roi["index"][i]])


def test_sharing_spares_what_is_counted():
    """Multiplications of one window, and of a copy as large as a window, are the same; of many they are not."""
    one = PyramidDetector(NETWORK, (1.0,))
    assert NETWORK.window == 32
    alone = one.operations((32, 32), shared=False)
    assert alone == one.operations((32, 32))
    by_hand = 28 * 28 * 25 * 3 * 4 + 12 * 12 * 9 * 4 * 4 + 4 * 4 * 9 * 4 * 6 + 16 * 6 * 8 + 8 * (K + 1 + 4 * K)
    assert alone == by_hand
    assert one.operations((64, 64), shared=False) == 81 * alone > 4 * one.operations((64, 64))


def test_an_image_too_small_for_a_window_is_refused(setting):
    with pytest.raises(JaxsegError, match="leave the smallest scale out"):
        MODEL.windows((20, 30))
    images, sizes, variables = setting
    with pytest.raises(JaxsegError, match="trained with targets"):
        jax.eval_shape(partial(MODEL.apply, train=True, mutable=["batch_stats"]), variables, images, sizes)
