"""Faster R-CNN's training in four steps: what each step begins with, what it changes and what it leaves."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.config import load_config
from jaxseg.data import pipeline
from jaxseg.train import build


@pytest.fixture(scope="module")
def steps():
    """Step -> (experiment, variables) after two steps of training."""
    done = {}
    for step in (1, 2, 3, 4):
        begin = ["--begin", str(step - 1)] if step > 1 else []
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            e = load_config("faster_rcnn_shapes", ["--step", str(step), *begin, "--devices", "1"], tiny=True)
            if begin:  # what is found in the folder of the step before
                e.pretrained.func.__globals__["load_run"] = lambda workdir: (*done[int(workdir)], 2)
            run = build.build(e)
            batches = pipeline.train_batches(
                e.data.train, e.data.augment, batch_size=4, seed=0, num_threads=0, max_instances=6
            )
            state = run.spread.place(run.state)
            for _ in range(2):  # the first, of the warm-up, at rate 0
                state, _ = run.step(state, run.spread.put(next(batches)))
        done[step] = (e, jax.device_get(run.spread.gather(state).variables))
    return done


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_second_step_learns_from_the_firsts_proposals(steps):
    (first, one), (second, two) = steps[1], steps[2]
    assert same(two["params"]["proposer"], one["params"])
    assert same(two["batch_stats"]["proposer"], one["batch_stats"])
    images = np.stack([first.data.val[i]["image"] for i in range(2)]).astype(np.float32) / 255
    proposed, used = (
        jax.jit(partial(model.apply, train=False))(variables, images)["proposals"]
        for model, variables in ((first.model, one), (second.model, two))
    )
    assert proposed["valid"].any()
    for name, values in proposed.items():
        np.testing.assert_allclose(used[name], values, rtol=1e-4, atol=1e-4)
    detector = two["params"]["detector"]
    assert not same(detector["backbone"], one["params"]["backbone"])  # a network of its own


def test_the_third_step_changes_the_proposal_network_alone(steps):
    before, after = steps[2][1]["params"]["detector"], steps[3][1]["params"]
    for part in ("backbone", "box_head", "box_predictor"):
        assert same(before[part], after[part])
    assert not same(before["rpn"], after["rpn"])
    assert same(steps[2][1]["batch_stats"]["detector"], steps[3][1]["batch_stats"])


def test_the_fourth_step_changes_the_detectors_layers_alone(steps):
    before, after = steps[3][1]["params"], steps[4][1]["params"]
    for part in ("backbone", "rpn"):
        assert same(before[part], after[part])
    for part in ("box_head", "box_predictor"):
        assert not same(before[part], after[part])
    assert same(steps[3][1]["batch_stats"], steps[4][1]["batch_stats"])
