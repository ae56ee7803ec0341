"""One device, eight by jit and eight by pmap: the same numbers."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxseg.data import pipeline
from jaxseg.train import create_state, init_variables, make_train_step, parallel
from jaxseg.types import JaxsegError
from tests.helpers import tiny_experiment


def run(kind, devices, *, model_devices=1, accumulate=1, steps=3, void_rows=True):
    """``(losses, state)`` after a few steps on batches whose void differs from row to row."""
    e = tiny_experiment(batch_size=16)
    # Group statistics and dropout are on; plain SGD, since Adam divides by gradients that are rounding alone.
    optimizer = replace(e.optimizer, kind="sgd", learning_rate=0.1)
    batches = pipeline.train_batches(e.data.train, e.data.augment, batch_size=16, seed=0, num_threads=0)
    batch = next(batches)
    variables = init_variables(e.model, e.task, batch, 0)
    tx = optimizer.transformation(variables["params"], 10)
    step = make_train_step(e.model, e.task, tx, ema_decay=0.9, accumulate=accumulate)
    how = parallel.spread(kind, devices=devices, model_devices=model_devices)
    state, compiled, losses = how.place(create_state(variables, tx, 0, True)), how.compile(step), []
    for _ in range(steps):
        if void_rows:
            batch["label"][:5, 4:] = 255  # some devices see almost no pixels that count
        state, metrics = compiled(state, how.put(batch))
        losses.append({name: float(value) for name, value in metrics.items()})
        batch = next(batches)
    return losses, jax.device_get(how.gather(state))


def assert_same(a, b, tolerance=1e-5):
    for one, other in zip(a[0], b[0]):
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=tolerance, err_msg=name)
    for x, y in zip(jax.tree.leaves(a[1].batch_stats), jax.tree.leaves(b[1].batch_stats)):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
    for x, y in zip(jax.tree.leaves(a[1].variables), jax.tree.leaves(b[1].variables)):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def one_device():
    return run("jit", 1)


def test_jit_over_eight_devices(one_device):
    assert_same(one_device, run("jit", 8))


def test_pmap_over_eight_devices(one_device):
    assert_same(one_device, run("pmap", 8))


def test_parameters_shared_over_devices(one_device):
    assert_same(one_device, run("jit", 8, model_devices=2))


@pytest.mark.slow
def test_accumulation_is_the_same_on_every_spread():
    one = run("jit", 1, accumulate=2)
    assert_same(one, run("jit", 8, accumulate=2))
    assert_same(one, run("pmap", 8, accumulate=2))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(JaxsegError, match="batch of 12 can't be shared by 8 devices; use 8 or 16"):
        parallel.check_batch_size(12, 8)
    with pytest.raises(JaxsegError, match="99 devices were asked for; there are 8"):
        parallel.spread("jit", devices=99)
    with pytest.raises(JaxsegError, match="use jit"):
        parallel.spread("pmap", model_devices=2)


def test_compiler_options_are_known_to_this_jax():
    options = parallel.compiler_options("cpu")
    assert options == {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}  # {} would be: not known
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2
    assert parallel.compiler_options("gpu") == {}
