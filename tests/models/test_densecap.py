"""DenseCap: its LSTM against PyTorch's, what it says against its own likelihoods, and where its gradients go."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg import config
from jaxseg.data import Shapes, Vocabulary, eval_batches
from jaxseg.losses import caption_loss
from jaxseg.models import CaptionHead, DenseCapVGG16, FasterRCNN, RegionHeads
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.language import LanguageModel
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN
from jaxseg.types import END, START
from tests.helpers import slowly, variables_of

N, F, V, T, H = 5, 12, 9, 6, 16


@pytest.fixture(params=[False, True], ids=["inject", "merge"])
def language(request):
    model = LanguageModel(V, H, merge=request.param)
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(N, F)).astype(np.float32)
    tokens = rng.integers(2, V, (N, T)).astype(np.int32)
    variables = jax.jit(model.init)(jax.random.key(0), codes, tokens)
    # Far from zero, so that what it says varies.
    return (
        model,
        jax.tree.map(lambda x: np.asarray(x) + 0.3 * rng.normal(size=x.shape).astype(np.float32), variables),
        codes,
        tokens,
    )


def test_logits_are_those_of_pytorchs_lstm(language):
    torch = pytest.importorskip("torch")
    model, variables, codes, tokens = language
    p = jax.tree.map(lambda x: torch.from_numpy(np.array(x)), variables["params"])
    lstm = torch.nn.LSTM(H, H, batch_first=True)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(p["kernel"][:H].T)
        lstm.weight_hh_l0.copy_(p["kernel"][H:].T)
        lstm.bias_ih_l0.copy_(p["bias"])
        lstm.bias_hh_l0.zero_()
        code = torch.relu(torch.from_numpy(codes) @ p["encode"]["kernel"] + p["encode"]["bias"])
        before = np.concatenate([np.full((N, 1), START), tokens[:, :-1]], axis=1)
        words = p["embedding"][torch.from_numpy(before)]
        hidden, _ = lstm(torch.cat([code[:, None], words], dim=1))
        expected = hidden[:, 1:] @ p["score_kernel"] + p["score_bias"]
        if model.merge:
            expected += (torch.from_numpy(codes) @ p["evidence"]["kernel"] + p["evidence"]["bias"])[:, None]
    np.testing.assert_allclose(jax.jit(model.apply)(variables, codes, tokens), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("width", [1, 4])
def test_what_is_said_is_as_likely_as_the_teacher_finds_it(language, width):
    model, variables, codes, _ = language
    said = jax.jit(partial(model.apply, method="decode", length=T, width=width))(variables, codes)
    tokens = np.asarray(said.tokens)
    logits = np.asarray(jax.jit(model.apply)(variables, codes, said.tokens), np.float64)
    logits[..., :2] = -np.inf  # neither nothing nor START is ever said
    likely = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for n in range(N):
        count = T if END not in tokens[n] else int(np.argmax(tokens[n] == END)) + 1
        assert not tokens[n, count:].any()
        assert np.all(tokens[n, :count] >= 2)
        expected = likely[n, np.arange(count), tokens[n, :count]].sum()
        np.testing.assert_allclose(said.scores[n], expected, atol=1e-4)
        if width == 1:
            np.testing.assert_array_equal(tokens[n, :count], likely[n, :count].argmax(-1))


def test_a_wider_beam_says_nothing_less_likely(language):
    model, variables, codes, _ = language
    decode = partial(model.apply, method="decode", length=T)
    narrow, wide = (jax.jit(partial(decode, width=w))(variables, codes) for w in (1, V**3))
    assert np.all(np.asarray(wide.scores) >= np.asarray(narrow.scores) - 1e-5)


WORDS = Vocabulary(Shapes().words)


def small(differentiable):
    settings = SHAPES_RCNN._replace(differentiable_proposals=differentiable, roi_positive=0.1, roi_negative=0.1)
    backbone = ResNetFPN(ResNet((1, 1, 1, 1), bottleneck=False, base=4), FPN(8))
    detector = FasterRCNN(1, backbone, TwoFC(16), settings)
    return RegionHeads(detector, {"caption": CaptionHead(len(WORDS), 8, 16)})


@pytest.fixture(scope="module")
def batch():
    e = config.load_config("densecap_shapes", tiny=True)
    return next(iter(eval_batches(e.data.val, e.data.prepare, batch_size=4, max_instances=6)))


@pytest.mark.parametrize("differentiable", [True, *slowly(False)])
def test_what_is_said_moves_where_is_looked(batch, differentiable):
    """The caption's loss alone has a gradient toward the proposals' transforms, if these are differentiable."""
    model = small(differentiable)
    given = (batch["image"], batch["size"])
    variables = variables_of(model, batch["image"])

    def loss(params):
        outputs, _ = model.apply(
            {**variables, "params": params}, *given, batch["instances"], train=True, mutable=["batch_stats"],
            rngs={"sampling": jax.random.key(1), "dropout": jax.random.key(2)},
        )  # fmt: skip
        return caption_loss(**outputs["caption"])

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    moved = np.abs(gradient["detector"]["rpn"]["bbox_pred"]["kernel"]).max()
    assert (moved > 0) == differentiable
    assert np.abs(gradient["detector"]["box_head"]["fc6"]["kernel"]).max() > 0
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_the_papers_network():
    model = DenseCapVGG16(10_497 + 4)
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), np.zeros((1, 96, 128, 3), np.float32))
    sizes = jax.tree.map(lambda s: s.shape, shapes["params"])
    assert sizes["detector"]["rpn"]["cls_logits"]["kernel"] == (1, 1, 256, 12)
    assert sizes["detector"]["box_head"]["fc6"]["kernel"] == (7, 7, 512, 4096)
    assert sizes["heads_caption"]["language"]["encode"]["kernel"] == (4096, 512)
    assert sizes["heads_caption"]["language"]["embedding"] == (10_501, 512)
    count = sum(np.prod(s.shape) for s in jax.tree.leaves(shapes["params"]["detector"]["backbone"]))
    assert count == 14_714_688  # VGG-16's convolutions
