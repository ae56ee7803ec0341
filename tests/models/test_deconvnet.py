"""DeconvNet against PyTorch, its proposals against a loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.deconvnet import DeconvNet, ProposalWise, aggregate_proposals, ensemble
from jaxseg.nn import Conv, Normalization
from jaxseg.types import JaxsegError
from tests.helpers import slowly
from tests.models.test_contract import images, variables_of


@pytest.fixture(scope="module")
def net():
    model = DeconvNet(3, base=4, fc_features=8, crop=32)
    x = np.asarray(images(64, 64))
    return model, x, variables_of(model, x)


def caffe(x):
    """A tensor ``[B, H, W, 3]`` as the authors feed it."""
    return (x * 255 - x.new_tensor([122.67892, 116.66877, 104.00699])).permute(0, 3, 1, 2)


def test_scores_and_gradient_equal_pytorchs(net):
    """In double precision: where two values of a window all but tie, rounding would decide which one is unpooled."""
    torch = pytest.importorskip("torch")
    from tests.models import torch_twins

    _, x, variables = net
    x = x[:, :32, :32]
    model = DeconvNet(3, base=4, fc_features=8, crop=32, dtype=jnp.float64)
    g = np.random.default_rng(3).normal(size=(2, 32, 32, 3))

    def score(x, variables):
        logits = model.apply(variables, x, train=False)["logits"]
        return jnp.sum(logits * jnp.asarray(g, jnp.float32)), logits

    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        (_, ours), gradient = jax.jit(jax.value_and_grad(score, has_aux=True))(x.astype(np.float64), variables)
        ours, gradient = np.asarray(ours), np.asarray(gradient)
    pixels = torch.tensor(x.astype(np.float64), requires_grad=True)
    theirs = torch_twins.deconvnet(variables["params"], variables["batch_stats"], caffe(pixels))
    theirs.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    wanted = theirs.detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    wanted = pixels.grad.numpy()
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_training_by_the_batchs_statistics_equals_pytorch(net):
    torch = pytest.importorskip("torch")
    from tests.models import torch_twins

    model, x, variables = net
    ours, _ = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(variables, x)
    with torch.no_grad():
        theirs = torch_twins.deconvnet(variables["params"], variables["batch_stats"], caffe(torch.tensor(x)), True)
    error = np.abs(ours["logits"] - theirs.numpy().transpose(0, 2, 3, 1))
    assert error.mean() < 1e-3 * np.abs(theirs.numpy()).mean()


@pytest.mark.parametrize("size", [*slowly(((1, 1),)), (65, 33)])
def test_any_size(net, size):
    model, x, variables = net
    f = jax.jit(partial(model.apply, train=False))
    logits = f(variables, x[:, : size[0], : size[1]] if size[0] < 64 else np.asarray(images(*size)))["logits"]
    assert logits.shape == (2, *size, 3)
    assert np.isfinite(logits).all()


def test_bfloat16_inside_float32_outside(net):
    """Rounding changes switches, so scores jump here and there: alike in most places, not equal."""
    _, x, variables = net
    exact, rounded = (
        jax.jit(partial(model.apply, train=False))(variables, x[:, :32, :32])["logits"]
        for model in (DeconvNet(3, base=4, fc_features=8, crop=32, dtype=d) for d in (jnp.float32, jnp.bfloat16))
    )
    assert rounded.dtype == jnp.float32
    assert np.corrcoef(np.ravel(exact), np.ravel(rounded))[0, 1] > 0.9


def test_the_papers_size():
    """252 million parameters; 7x7 down to 1x1 and back (table 2 of the paper)."""
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    outputs, variables = jax.eval_shape(partial(DeconvNet(21).init_with_output, train=False), jax.random.key(0), x)
    assert sum(np.prod(p.shape) for p in jax.tree.leaves(variables["params"])) == 251_788_949
    shapes = {name: f.shape[1:] for name, f in outputs["features"].items()}
    assert shapes["pool5"] == (7, 7, 512)
    assert shapes["fc7"] == (1, 1, 4096)
    assert [shapes[f"unpool{s}"][0] for s in (5, 4, 3, 2, 1)] == [14, 28, 56, 112, 224]
    with pytest.raises(JaxsegError, match="multiple of 32"):
        jax.eval_shape(partial(DeconvNet(21, crop=100).init, train=False), jax.random.key(0), x)


def test_unpooling_puts_values_where_the_encoder_found_them(net):
    model, x, variables = net
    features = jax.jit(partial(model.apply, train=False))(variables, x)["features"]
    for stage in (1, 3, 5):
        u = np.asarray(features[f"unpool{stage}"])
        b, h, w, c = u.shape
        windows = u.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
        assert ((windows != 0).sum(1) <= 1).all()
    assert len(np.unique(np.argmax(windows[windows.any(1)], 1))) == 4  # not always the same corner


def paint(scores):
    """A network that scores by colour alone: its answer does not depend on the crop."""
    weights = np.array([[1.0, -2.0], [0.5, 1.0], [-1.5, 0.25]], np.float32)
    return lambda crops: crops @ weights + scores


BOXES = np.float32([[0, 0, 16, 12], [4, 2, 10, 8], [-3, -2, 7, 9], [10, 5, 22, 15], [6, 6, 6, 9]])


@partial(jax.jit, static_argnames="side")
def cropped(image, box, side, fill):
    return ops.crop_resize(image, box, side, jnp.asarray(fill))


@partial(jax.jit, static_argnames="size")
def pasted(scores, box, size):
    return ops.paste_resize(scores, box, size)


@pytest.mark.parametrize(("how", "batch"), [("max", 2), ("mean", 1), *slowly(("max", 1), ("mean", 2))])
def test_aggregation_equals_a_loop(how, batch):
    rng = np.random.default_rng(0)
    image = rng.random((12, 16, 3)).astype(np.float32)
    bias = rng.normal(size=(1, 8, 8, 2)).astype(np.float32)
    predict, valid = paint(bias), np.array([True, True, False, True, True])
    maps = []
    for box, real in zip(BOXES, valid):
        crop = np.asarray(cropped(image, box, 8, np.float32(0.25)))
        scores = np.asarray(pasted(predict(crop[None])[0], box, (12, 16)))
        x1, y1, x2, y2 = (int(np.clip(v, 0, n)) for v, n in zip(box, (16, 12, 16, 12)))
        whole = np.zeros((12, 16, 2), np.float32)
        whole[y1:y2, x1:x2] = scores[y1:y2, x1:x2]
        maps += [whole] if real else []
    wanted = np.maximum(np.max(maps, 0), 0) if how == "max" else np.mean(maps, 0)
    f = jax.jit(partial(aggregate_proposals, predict, side=8, fill=0.25, how=how, batch=batch))
    np.testing.assert_allclose(f(image, BOXES, valid), wanted, atol=1e-5)
    assert not np.any(f(image, BOXES, np.zeros(5, bool)))


def test_one_box_round_the_image_is_the_network_itself():
    image = np.random.default_rng(1).random((8, 8, 3)).astype(np.float32)
    predict = paint(np.zeros((1, 1, 1, 2), np.float32))
    whole = np.float32([[0, 0, 8, 8]])
    scores = aggregate_proposals(predict, jnp.asarray(image), jnp.asarray(whole), side=8, how="mean")
    np.testing.assert_allclose(scores, predict(image[None])[0], atol=1e-6)
    with pytest.raises(JaxsegError, match="'max' or 'mean'"):
        aggregate_proposals(predict, image, whole, side=8, how="median")


class Paint(nn.Module):
    """A network of one layer, in place of a large one."""

    crop: int = 8
    normalization: Normalization = Normalization((0.1, 0.2, 0.3))

    @nn.compact
    def __call__(self, images, *, train=False):
        return {"logits": Conv(2, 3, padding=1, name="score")(images) + float(train)}


def test_proposal_wise_is_its_network_over_the_grid():
    network = Paint()
    model = ProposalWise(network, sides=(0.8,), batch=2)
    x = images(10, 14)
    variables = variables_of(model, x)
    assert set(variables["params"]) == {"score"}  # its parameters are the network's own
    logits = jax.jit(partial(model.apply, train=False))(variables, x)["logits"]
    wanted = np.zeros((10, 14, 2), np.float32)
    alone = jax.jit(partial(network.apply, train=False))
    for box in ops.grid_boxes((10, 14), (0.8,)):
        crop = cropped(x[1], box, 8, np.float32([0.1, 0.2, 0.3]))
        scores = alone(variables, crop[None])["logits"][0]
        wanted = np.maximum(wanted, pasted(scores, box, (10, 14)))
    np.testing.assert_allclose(logits[1], wanted, rtol=1e-4, atol=1e-5)
    trained, direct = (jax.jit(partial(m.apply, train=True))(variables, x)["logits"] for m in (model, network))
    np.testing.assert_array_equal(trained, direct)


def test_proposal_wise_takes_and_gives_deconvnets_variables(net):
    network, _, variables = net
    model = ProposalWise(network)
    x = images(40, 56)
    fresh = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, variables)
    logits = jax.eval_shape(partial(model.apply, train=False), variables, x)["logits"]
    assert logits.shape == (2, 40, 56, 3)


def test_ensemble_is_the_mean_of_probabilities():
    a, b = (np.random.default_rng(s).normal(size=(4, 5, 3)).astype(np.float32) * 3 for s in (0, 1))
    p, q = (np.exp(s) / np.exp(s).sum(-1, keepdims=True) for s in (a, b))
    np.testing.assert_allclose(ensemble(jnp.asarray(a), jnp.asarray(b)), (p + q) / 2, rtol=1e-5)
