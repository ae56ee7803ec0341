"""Faster R-CNN's training in four steps: what each step begins with, what it learns and what it leaves."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import expit

from jaxseg import config
from jaxseg.models import ProposerAndDetector
from jaxseg.types import JaxsegError

PICTURES = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype(np.float32)
SIZES = np.array([[64, 64], [64, 64]], np.int32)
TRUTH = {
    "boxes": np.tile(np.float32([[4, 8, 30, 36], [30, 20, 60, 50]]), (2, 1, 1)),
    "classes": np.ones((2, 2), np.int32),
    "valid": np.ones((2, 2), bool),
}


def fresh(model):
    """Variables of the right shapes, all different."""
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), PICTURES)
    rng = np.random.default_rng()
    return jax.tree.map(lambda s: rng.uniform(0.01, 0.1, s.shape).astype(s.dtype), shapes)


@pytest.fixture(scope="module")
def steps():
    """Step -> (experiment, what it begins with), each on what the one before began with: as if nothing were learnt."""
    done = {}
    for step in (1, 2, 3, 4):
        begin = ["--begin", str(step - 1)] if step > 1 else []
        e = config.load_config("faster_rcnn_shapes", ["--step", str(step), *begin], tiny=True)
        variables = fresh(e.model)
        if begin:  # what is found in the folder of the step before
            e.pretrained.func.__globals__["load_run"] = lambda workdir: (*done[int(workdir)], 2)
            variables = e.pretrained(variables)
        done[step] = (e, variables)
    return done


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_each_step_begins_with_the_one_before(steps):
    one, two, three, four = (variables for _, variables in steps.values())
    for kind in ("params", "batch_stats"):
        assert same(two[kind]["proposer"], one[kind])
        assert not same(two[kind]["detector"]["backbone"], one[kind]["backbone"])  # a network of its own
        assert same(three[kind], two[kind]["detector"])
        assert same(four[kind], three[kind])


@pytest.mark.parametrize(
    ("step", "parts", "terms"),
    [
        (1, {"backbone", "rpn"}, {"objectness", "rpn_box"}),
        (2, {"detector/backbone", "detector/box_head", "detector/box_predictor"}, {"class", "box"}),
        (3, {"rpn"}, {"objectness", "rpn_box"}),
        (4, {"box_head", "box_predictor"}, {"class", "box"}),
    ],
)
def test_each_step_learns_its_own_part(steps, step, parts, terms):
    e, variables = steps[step]
    learnt = jax.tree_util.tree_leaves_with_path(e.optimizer.factors(variables["params"]))
    names = {"/".join(str(key.key) for key in path[: 2 if step == 2 else 1]) for path, factor in learnt if factor}
    assert names == parts

    def loss(variables):
        rngs = {"sampling": jax.random.key(0)}
        outputs, _ = e.model.apply(variables, PICTURES, SIZES, TRUTH, train=True, rngs=rngs, mutable="batch_stats")
        return e.task.loss(outputs, {})[1]

    assert set(jax.eval_shape(loss, variables)) == terms
    if step in (3, 4):  # the statistics of the backbone that both halves share stay, too
        assert e.model.backbone.resnet.norm == "frozen"


@pytest.mark.slow
def test_the_second_step_detects_among_the_proposers_proposals(steps):
    (first, one), (second, two) = steps[1], steps[2]

    def proposals(model, variables):
        return jax.device_get(
            jax.jit(lambda v, *given: model.apply(v, *given)["proposals"])(variables, PICTURES, SIZES)
        )

    found, proposed = proposals(second.model, two), proposals(first.model, one)
    assert proposed["valid"].any()
    for name, values in proposed.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)
    predictions = first.task.predict({"proposals": proposed}, {})
    assert set(predictions) == {"boxes", "scores", "classes", "valid"}
    expected = np.where(proposed["valid"], expit(proposed["scores"]), 0)
    np.testing.assert_allclose(predictions["scores"], expected)


def test_one_backbone_for_both_is_refused(steps):
    detector = steps[1][0].model
    with pytest.raises(JaxsegError, match="share a backbone"):
        fresh(ProposerAndDetector(detector, detector.clone()))
