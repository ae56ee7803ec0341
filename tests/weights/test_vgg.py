import jax
import numpy as np
import pytest

from jaxseg.models import FCN8s, UNet
from jaxseg.nn import VGG16
from jaxseg.types import JaxsegError
from jaxseg.weights import read_vgg16, with_vgg16
from jaxseg.weights.vgg import VGG16_LAYERS


def state_dict(rng, skip=()):
    arrays, channels = {}, 3
    for layer, n in VGG16_LAYERS.items():
        features = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}[layer[4]]
        if n not in skip:
            arrays[f"features.{n}.weight"] = rng.normal(0, 0.05, (features, channels, 3, 3)).astype(np.float16)
            arrays[f"features.{n}.bias"] = rng.normal(0, 0.05, features).astype(np.float16)
        channels = features
    return arrays


def test_features_equal_pytorchs_at_odd_sizes(tmp_path):
    """Every pooling of torchvision's `features` (with ceil_mode), from the same arrays."""
    torch = pytest.importorskip("torch")
    import torch.nn.functional as F

    arrays = state_dict(np.random.default_rng(0))
    np.savez(tmp_path / "vgg.npz", **arrays)
    layers = read_vgg16(tmp_path / "vgg.npz")
    x = np.random.default_rng(1).normal(size=(1, 37, 50, 3)).astype(np.float32)
    ours = jax.jit(VGG16().apply)({"params": layers}, x)
    y = torch.tensor(x.transpose(0, 3, 1, 2))
    for stage in range(1, 6):
        for layer, n in VGG16_LAYERS.items():
            if layer[4] == str(stage):
                w, b = (torch.tensor(arrays[f"features.{n}.{k}"].astype(np.float32)) for k in ("weight", "bias"))
                y = F.relu(F.conv2d(y, w, b, padding=1))
        y = F.max_pool2d(y, 2, ceil_mode=True)
        expected = y.numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ours[f"pool{stage}"], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_bgr_weights_see_rgb_images(tmp_path):
    arrays = state_dict(np.random.default_rng(0))
    np.savez(tmp_path / "vgg.npz", **arrays)
    rgb, bgr = (read_vgg16(tmp_path / "vgg.npz", bgr=b)["conv1_1"]["kernel"] for b in (False, True))
    np.testing.assert_array_equal(rgb[:, :, 0], bgr[:, :, 2])
    np.testing.assert_array_equal(rgb[:, :, 1], bgr[:, :, 1])


def test_every_fault_is_named(tmp_path):
    arrays = state_dict(np.random.default_rng(0), skip=(5,))
    arrays["features.7.weight"] = arrays["features.7.weight"][..., :1]
    arrays["odd.weight"] = np.zeros(1)
    np.savez(tmp_path / "vgg.npz", **arrays)
    with pytest.raises(JaxsegError) as error:
        read_vgg16(tmp_path / "vgg.npz")
    for part in ("features.5 is missing", r"features.7 has shapes", "odd.weight is not of VGG-16"):
        assert part in str(error.value)
    with pytest.raises(JaxsegError, match="no weights at"):
        read_vgg16(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(JaxsegError, match="no readable .npz"):
        read_vgg16(tmp_path / "text.npz")


def test_loading_into_models(tmp_path):
    np.savez(tmp_path / "vgg.npz", **state_dict(np.random.default_rng(0)))
    layers = read_vgg16(tmp_path / "vgg.npz")
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(FCN8s(3, fc_features=4).init, jax.random.key(0), images)
    fresh = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    loaded = with_vgg16(fresh, layers)["params"]
    np.testing.assert_array_equal(loaded["vgg"]["conv5_3"]["kernel"], layers["conv5_3"]["kernel"])
    assert not loaded["score_fr"]["kernel"].any()
    unet = jax.eval_shape(UNet(3, base=4, depth=1).init, jax.random.key(0), images)
    with pytest.raises(JaxsegError, match="no part named vgg"):
        with_vgg16(unet, layers)


def test_the_real_weights(shared):
    """Trained filters, not noise: the first layer is smooth, and a picture's edges excite the deep ones."""
    layers = read_vgg16(shared / "weights" / "vgg16_hed.npz", bgr=True)
    kernel = layers["conv1_1"]["kernel"]
    neighbours = np.corrcoef(kernel[:, :-1].ravel(), kernel[:, 1:].ravel())[0, 1]
    assert neighbours > 0.2
    from jaxseg.data import camvid
    from jaxseg.nn import CAFFE

    image = camvid(shared / "data" / "camvid", "val")[0]["image"][:128, :128].astype(np.float32) / 255
    features = jax.jit(VGG16().apply)({"params": layers}, CAFFE(image[None]))
    assert 0.05 < (np.asarray(features["pool5"]) > 0).mean() < 0.6


def test_loading_where_normalisation_stands_for_the_biases(tmp_path):
    np.savez(tmp_path / "vgg.npz", **state_dict(np.random.default_rng(0)))
    layers = read_vgg16(tmp_path / "vgg.npz")
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(VGG16(norm="batch").init, jax.random.key(0), images)
    fresh = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes)
    loaded = with_vgg16({"params": {"vgg": fresh["params"]}}, layers)["params"]["vgg"]
    assert jax.tree.map(np.shape, loaded) == jax.tree.map(np.shape, fresh["params"])
    np.testing.assert_array_equal(loaded["conv3_2"]["kernel"], layers["conv3_2"]["kernel"])
    assert loaded["bn3_2"]["scale"].all()
