"""What holds for two-stage detectors: one compilation, no objects, bad boxes, sizes, gradients, bfloat16."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import coco_metric
from jaxseg.models import FasterRCNN, RegionHeads
from jaxseg.models.mask_rcnn import MaskHead, mask_rcnn_c4, mask_rcnn_dc5
from jaxseg.nn import DETECTRON2, FPN, TORCHVISION, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import ConvFC, TwoFC
from jaxseg.tasks import detection
from jaxseg.types import JaxsegError
from tests.helpers import slowly, variables_of

K, N = 3, 5
SMALL = {
    "anchor_sizes": ((8,), (16,), (32,), (64,), (128,)),
    "pre_nms": (60, 40),
    "post_nms": (30, 20),
    "rpn_samples": 32,
    "roi_samples": 16,
    "detections": 6,
    "score_threshold": 0.0,
}
ONE_LEVEL = {"anchor_sizes": ((8, 16, 32),)}
CONFIGS = {"torchvision": TORCHVISION._replace(**SMALL), "detectron2": DETECTRON2._replace(**SMALL)}
CONFIGS["c4"] = CONFIGS["dc5"] = CONFIGS["detectron2"]._replace(**ONE_LEVEL)


def small_model(name, norm="group", dtype=jnp.float32, convs=False):
    config = CONFIGS[name]
    if name in ("c4", "dc5"):
        build = {"c4": mask_rcnn_c4, "dc5": mask_rcnn_dc5}[name]
        model = build(K, partial(ResNet, (1, 1, 1, 1), base=4), config, norm=norm)
        return model.clone(heads={"mask": model.heads["mask"].clone(channels=8)})
    resnet = ResNet((1, 1, 1, 1), bottleneck=config.stride_in_1x1, base=4, norm=norm, dtype=dtype)
    head = ConvFC(1, 8, 16, norm=norm, dtype=dtype) if convs else TwoFC(16, dtype)
    detector = FasterRCNN(K, ResNetFPN(resnet, FPN(8, dtype=dtype)), head, config, dtype=dtype)
    return RegionHeads(detector, {"mask": MaskHead(K, convs=1, channels=8, dtype=dtype)})


def images(count=2, h=64, w=64, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, h, w, 3)).astype(np.float32)


def instances(counts, seed=0, n=N, side=64):
    """Of each image so many, with box-relative masks."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 0.6 * side, (len(counts), n, 2)), rng.uniform(6, 0.4 * side, (len(counts), n, 2))
    valid = np.arange(n)[None] < np.asarray(counts)[:, None]
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32) * valid[..., None]
    classes = rng.integers(1, K + 1, (len(counts), n)).astype(np.int32) * valid
    masks = (rng.uniform(size=(len(counts), n, 14, 14)) > 0.4).astype(np.float32)
    return {"boxes": boxes, "classes": classes, "masks": masks, "valid": valid, "crowd": np.zeros_like(valid)}


@cache
def variables_for(model):
    return variables_of(model, images(1))


@cache
def detector(name):
    """``(variables, a compiled function of these, images and sizes)``."""
    model = small_model(name)
    return variables_for(model), jax.jit(partial(model.apply, train=False))


@cache
def loss_of(name):
    config = CONFIGS[name]
    model, task = small_model(name), detection(["a", "b", "c"], coco_metric(lambda: None), config=config)

    def loss(params, x, size, truth, key):
        outputs = model.apply({"params": params}, x, size, truth, train=True, rngs={"sampling": key})
        return task.loss(outputs, {})

    return variables_for(model)["params"], loss, jax.jit(loss)


@cache
def loss_and_gradient(name):
    params, loss, _ = loss_of(name)
    return params, jax.jit(jax.value_and_grad(loss, has_aux=True))


SIZES = np.array([[64, 64], [50, 60]], np.int32)


def step(name, truth, seed=0, x=None):
    params, f = loss_and_gradient(name)
    x = images() if x is None else x
    (total, terms), grads = f(params, x, SIZES, truth, jax.random.key(seed))
    return float(total), {key: float(value) for key, value in terms.items()}, grads


def terms_among_ten(name, truth):
    """The losses alone, without a gradient, of ``truth`` with padding up to ten objects."""
    longer = {key: np.concatenate([value, np.zeros_like(value)], axis=1) for key, value in truth.items()}
    params, _, f = loss_of(name)
    return {key: float(value) for key, value in f(params, images(), SIZES, longer, jax.random.key(0))[1].items()}


@pytest.mark.parametrize("name", ["torchvision", *slowly("c4")])  # the latter with detectron2's rules
def test_every_parameter_is_learnt_and_one_program_serves_any_number_of_objects(name):
    learnt = None
    for i, counts in enumerate([(0, N), (1, 3), (4, 2), (N, N)]):
        total, terms, grads = step(name, instances(counts, seed=i), seed=i)
        assert np.isfinite(total)
        assert set(terms) == {"objectness", "rpn_box", "class", "box", "mask"}
        moved = jax.tree.map(lambda g: bool(np.any(np.asarray(g) != 0)) and bool(np.all(np.isfinite(g))), grads)
        learnt = moved if learnt is None else jax.tree.map(lambda a, b: a or b, learnt, moved)
    assert loss_and_gradient(name)[1]._cache_size() == 1
    unmoved = [jax.tree_util.keystr(p) for p, m in jax.tree_util.tree_leaves_with_path(learnt) if not m]
    assert not unmoved


@pytest.mark.parametrize("name", ["torchvision", *slowly("c4")])
def test_images_without_objects(name):
    _, terms, grads = step(name, instances([0, 0]))
    assert terms["rpn_box"] == terms["box"] == terms["mask"] == 0
    assert terms["objectness"] > 0
    assert terms["class"] > 0
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))
    mask_head = grads["heads_mask"]
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(mask_head))


def test_boxes_that_are_none_change_nothing():
    """Zero areas, inverted, NaN and infinite boxes count as padding does."""
    truth = instances([2, 3])
    expected = step("torchvision", truth)
    bad = {key: value.copy() for key, value in truth.items()}
    bad["valid"][:] = True
    for row, box in enumerate([(5, 5, 5, 20), (30, 30, 10, 40), (np.nan, 1, 20, 20)]):
        bad["boxes"][0, 2 + row] = box
    bad["boxes"][1, 3:] = [(0, 0, np.inf, 10), (7, 9, 7, 9)]
    got = step("torchvision", bad)
    assert got[1] == expected[1]
    jax.tree.map(np.testing.assert_array_equal, got[2], expected[2])


@pytest.mark.slow
def test_more_padding_changes_nothing():
    truth = instances([3, 5])
    # Proposals come first in what is drawn from, so that the draw is the same; it may differ where numbers are drawn
    # for more boxes at once.
    a, b = step("torchvision", truth)[1], terms_among_ten("torchvision", truth)
    assert a["objectness"] == pytest.approx(b["objectness"], rel=1e-6)
    assert a["rpn_box"] == pytest.approx(b["rpn_box"], rel=1e-6)


def test_a_crowd_is_neither_object_nor_background():
    """All of the image a crowd: no anchor is sampled, no region."""
    truth = instances([1, 1])
    truth["boxes"][:, 0] = (-200, -200, 300, 300)
    truth["crowd"] = truth["valid"].copy()
    assert set(step("torchvision", truth)[1].values()) == {0.0}


@pytest.mark.parametrize("name", ["torchvision", *slowly("detectron2", "c4", "dc5")])
def test_detections_lie_in_the_image_and_are_of_their_own_image_alone(name):
    variables, apply = detector(name)
    size = np.array([[64, 64], [50, 33]], np.int32)
    found = apply(variables, images(), size)
    assert found["valid"].all()
    boxes = np.asarray(found["boxes"])
    assert boxes.min() >= 0
    assert (boxes[1] <= np.array([33, 50, 33, 50])).all()
    assert (np.diff(found["scores"]) <= 0).all()
    other = images(seed=3)
    other[1] = images()[1]
    # What lies in the padding is not seen either.
    other[1, 50:], other[1, :, 33:] = 9, 9
    again = apply(variables, other, size)
    for key in ("boxes", "scores", "classes", "masks"):
        np.testing.assert_allclose(again[key][1], found[key][1], atol=2e-4, err_msg=key)


@pytest.mark.parametrize("size", [*slowly(((65, 97),)), (33, 63)])
def test_any_size(size):
    """An image of odd sides is one of larger sides of which the rest is padding."""
    variables, apply = detector("torchvision")
    h, w = size
    x = images(2, h, w)
    found = apply(variables, x)
    padded = np.pad(x, ((0, 0), (0, -h % 32), (0, -w % 32), (0, 0)), constant_values=0.3)
    expected = apply(variables, padded, np.array([[h, w]] * 2, np.int32))
    for key in ("boxes", "scores", "masks"):
        np.testing.assert_allclose(found[key], expected[key], atol=1e-4)


@pytest.mark.slow
def test_bfloat16_gives_float32_numbers():
    model = small_model("torchvision", dtype=jnp.bfloat16, convs=True)
    found = jax.jit(partial(model.apply, train=False))(variables_for(model), images())
    assert {found[key].dtype for key in ("boxes", "scores", "masks")} == {jnp.dtype("float32")}
    assert np.isfinite(found["boxes"]).all()


def test_training_needs_targets_and_a_generator():
    model = small_model("torchvision")
    with pytest.raises(JaxsegError, match="trained with targets"):
        jax.eval_shape(
            lambda v: model.apply(v, images(), train=True, rngs={"sampling": jax.random.key(0)}), variables_for(model)
        )


def test_anchors_of_as_many_levels_as_the_backbone_has():
    model = small_model("torchvision")
    model = model.clone(detector=model.detector.clone(config=CONFIGS["c4"]))
    with pytest.raises(JaxsegError, match="1 levels, the backbone 5"):
        jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images())
