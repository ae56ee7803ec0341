"""Maps are parts of the score; VGG's form beside PyTorch's layers; boxes beside scipy's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxseg.models import cam, resnet
from jaxseg.nn.resnet import ResNet
from jaxseg.types import JaxsegError
from tests.models.test_contract import images, variables_of

K = 5
BACKBONE = ResNet((1, 1, 1, 1), bottleneck=False, base=4, output_stride=8)


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("size", [(64, 64), (37, 50), (1, 1)])
def test_the_score_is_its_pooled_map_and_the_bias(pool, size):
    model = cam.CAMResNet(K, BACKBONE, pool)
    x = images(*size)
    variables = variables_of(model, x)
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    maps, bias = np.asarray(outputs["maps"]), np.asarray(variables["params"]["fc"]["bias"])
    assert maps.shape == (2, -(-size[0] // 8), -(-size[1] // 8), K)
    pooled = maps.mean((1, 2)) if pool == "average" else maps.max((1, 2))
    np.testing.assert_allclose(outputs["logits"], pooled + bias, rtol=1e-4, atol=1e-5)
    assert outputs["logits"].dtype == outputs["maps"].dtype == jnp.float32
    by_hand = np.einsum("bhwc,ck->bhwk", outputs["features"], variables["params"]["fc"]["kernel"])
    np.testing.assert_allclose(maps, by_hand, rtol=1e-4, atol=1e-5)


def test_a_resnet_classifier_is_a_cam_already():
    """The same variables, leaf by leaf, give the same scores: so torchvision's weights do."""
    classifier = resnet.ResNetClassifier(K, ResNet((1, 1, 1, 1), bottleneck=False, base=4))
    model = cam.CAMResNet(K, classifier.backbone)
    x = images(64, 64)
    variables = variables_of(classifier, x)
    assert jax.tree.structure(variables) == jax.tree.structure(variables_of(model, x))
    ours, theirs = (jax.jit(partial(m.apply, train=False))(variables, x)["logits"] for m in (model, classifier))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_vggs_form_is_the_published_one():
    """conv1_1 ... conv5_3 without pool5, then a 3x3 convolution in two groups, pooling, a linear layer."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    model = cam.CAMVGG16(K, features=8)
    x = images(32, 48)
    variables = variables_of(model, x)
    params = jax.tree.map(lambda p: torch.tensor(np.asarray(p)), variables["params"])
    outputs = jax.jit(partial(model.apply, train=False))(variables, x)
    y = torch.tensor(np.asarray(model.normalization(x)).transpose(0, 3, 1, 2))
    for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
        y = f.max_pool2d(y, 2) if stage > 1 else y
        for i in range(1, depth + 1):
            layer = params["vgg"][f"conv{stage}_{i}"]
            y = f.relu(f.conv2d(y, layer["kernel"].permute(3, 2, 0, 1), layer["bias"], padding=1))
    layer = params["cam_conv"]
    y = f.relu(f.conv2d(y, layer["kernel"].permute(3, 2, 0, 1), layer["bias"], padding=1, groups=2))
    linear = partial(f.linear, weight=params["fc"]["kernel"].T, bias=params["fc"]["bias"])
    assert outputs["maps"].shape == (2, 2, 3, K)
    np.testing.assert_allclose(outputs["logits"], linear(y.mean((2, 3))), rtol=2e-3, atol=2e-3)
    greatest, _ = cam.PooledScores(K, "max", 0.5).apply(
        {"params": variables["params"]["fc"]}, outputs["features"], False
    )
    np.testing.assert_allclose(greatest, linear(y.permute(0, 2, 3, 1)).amax((1, 2)), rtol=2e-3, atol=2e-3)


def test_dropout_takes_whole_channels_of_each_picture():
    """With one class for each channel and the identity as weights, a map is its channel: there doubled, or gone."""
    head = cam.PooledScores(16, "average", 0.5)
    features = jnp.broadcast_to(1 + images(3, 4, batch=1)[..., :1], (6, 3, 4, 16))
    variables = {"params": {"kernel": jnp.eye(16), "bias": jnp.zeros(16)}}
    _, maps = head.apply(variables, features, True, rngs={"dropout": jax.random.key(0)})
    share = np.asarray(maps / features)
    assert set(np.unique(share).tolist()) == {0.0, 2.0}
    assert (share == share[:, :1, :1]).all()
    assert len({s[0, 0].tobytes() for s in share}) == 6
    _, maps = head.apply(variables, features, False)
    np.testing.assert_array_equal(maps, features)


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_boxes_are_round_the_largest_part_above_the_threshold(threshold):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 6, 7, K)).astype(np.float32)
    maps[0, :, :, 1] = -1 - rng.random((6, 7))  # nothing speaks for it: no box
    maps[1, :, :, 2] = 0
    size = (48, 70)
    boxes, points = jax.jit(jax.vmap(partial(cam.boxes_from_maps, size=size, threshold=threshold)))(maps)
    for b in range(3):
        for k in range(K):
            m = np.asarray(jax.image.resize(maps[b, :, :, k], size, "bilinear"))
            label, count = scipy.ndimage.label(m > threshold * m.max(), np.ones((3, 3)))
            x, y = np.asarray(points[b, k] - 0.5).astype(int)  # beyond the outer centres several places are equal
            np.testing.assert_allclose(m[y, x], m.max(), rtol=1e-5)
            if not count:
                assert (boxes[b, k] == 0).all()
                continue
            rows, columns = scipy.ndimage.find_objects(label)[np.argmax(np.bincount(label.ravel())[1:])]
            np.testing.assert_array_equal(boxes[b, k], [columns.start, rows.start, columns.stop, rows.stop])
    assert (boxes[0, 1] == 0).all()
    assert (boxes[1, 2] == 0).all()


def test_a_maximum_teaches_one_place_and_a_mean_all():
    for pool, taught in (("max", 1), ("average", 12)):
        head = cam.PooledScores(1, pool, 0.0)
        features = images(3, 4, batch=1)
        variables = {"params": {"kernel": jnp.ones((3, 1)), "bias": jnp.zeros(1)}}
        gradient = jax.grad(lambda f, h=head, v=variables: h.apply(v, f, False)[0].sum())(features)
        assert np.any(np.asarray(gradient), -1).sum() == taught


def test_another_pooling_is_refused():
    with pytest.raises(JaxsegError, match="pool is 'mean'; it can be average or max"):
        jax.eval_shape(partial(cam.CAMResNet(K, BACKBONE, "mean").init, train=False), jax.random.key(0), images(32, 32))
