"""What ``jaxseg bench`` says, against what is counted by hand."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config, ops
from jaxseg.models import FullResolution
from jaxseg.train import bench
from jaxseg.types import JaxsegError
from tests.helpers import tiny_experiment


@pytest.fixture(autouse=True, scope="module")
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_a_convolution_counts_as_by_hand_whatever_its_form():
    # 128 channels of 64x64: Winograd's form here, which needs half as many.
    x, k = jnp.zeros((2, 64, 64, 128)), jnp.zeros((3, 3, 128, 128))
    found = bench.measure(lambda x, k: ops.conv(x, k, padding=1), x, k, repeat=1)
    seen = (3 * 64 - 2) ** 2  # taps that lie on the picture: 64 in the middle row of the kernel, 63 in the others
    assert found.operations == 2 * 2 * seen * 128 * 128
    assert found.arguments == x.nbytes + k.nbytes
    assert found.results == 2 * 64 * 64 * 128 * 4


def test_a_whole_network_counts_as_by_hand():
    model = FullResolution(3, features=8, depth=3, norm="none")
    e = tiny_experiment(model=model)
    found, shape, parameters = bench.bench(e, size=(24, 40), batch=2, repeat=3)
    assert shape == (2, 24, 40, 3)
    assert len(found.times) == 3
    kernels = [leaf for leaf in jax.tree.leaves(init(model)) if leaf.ndim == 4]
    taps = {1: 24 * 40, 3: (3 * 24 - 2) * (3 * 40 - 2)}
    products = sum(2 * taps[k.shape[0]] * k.shape[2] * k.shape[3] for k in kernels)
    assert 2 * products < found.operations < 1.1 * 2 * products  # and the biases, ReLUs and the argmax
    assert parameters == sum(x.size for x in jax.tree.leaves(init(model)["params"]))


def init(model):
    return model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_times_are_of_whole_runs():
    def slow(x):
        jax.pure_callback(lambda x: (time.sleep(0.02), x)[1], x, x)
        return jax.pure_callback(lambda x: (time.sleep(0.02), x)[1], x, x)

    found = bench.measure(slow, jnp.zeros(()), repeat=3)
    assert min(found.times) > 0.019


def test_a_training_step_trains_and_reads_no_data():
    e = tiny_experiment(batch_size=4)
    unreadable = dataclasses.replace(e.data, train=Unreadable(e.data.train), val=Unreadable(e.data.val))
    found, shape, _ = bench.bench(dataclasses.replace(e, data=unreadable), train=True, repeat=2)
    forward, _, _ = bench.bench(e, batch=4, repeat=1)
    assert shape == (4, 32, 32, 3)
    assert 2.5 * forward.operations < found.operations < 4 * forward.operations
    assert found.arguments > 3 * found.results / 4  # parameters, Adam's means, the batch


class Unreadable:
    def __init__(self, source):
        self.classes, self.palette = source.classes, source.palette

    def __len__(self):
        raise AssertionError

    def __getitem__(self, index):
        raise AssertionError


def test_another_dtype_reaches_every_part_and_shared_parts_stay_shared():
    model = config.load_config("all_heads_shapes", tiny=True).model
    changed = bench.with_dtype(model, jnp.bfloat16, {})
    of = lambda module: [v for name, v in _fields(module) if name == "dtype"]
    assert set(of(changed)) == {jnp.bfloat16}
    assert len(of(changed)) == len(of(model)) > 3
    alternating = config.load_config("faster_rcnn_shapes", ["--step", "2", "--begin", "x"], tiny=True).model
    one = alternating.detector
    twice = dataclasses.replace(alternating, proposer=one)
    changed = bench.with_dtype(twice, jnp.bfloat16, {})
    assert changed.proposer is changed.detector


def _fields(module):
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        yield field.name, value
        for part in value.values() if isinstance(value, dict) else [value]:
            if dataclasses.is_dataclass(part) and field.name != "parent":
                yield from _fields(part)


def test_what_can_be_mended():
    with pytest.raises(JaxsegError, match="both must be at least 1"):
        bench.bench(tiny_experiment(), repeat=0)
    with pytest.raises(JaxsegError, match="others learn from their own data"):
        bench.bench(config.load_config("mask_rcnn_shapes", tiny=True), size=(64, 64), train=True)
    np.testing.assert_array_less(1e6, bench.matrix_product(jnp.float32, repeat=1))
