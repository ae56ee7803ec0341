"""Small experiments and networks for tests."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes
from jaxseg.models import UNet
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer
from jaxseg.types import Metric

TINY_CONFIG = """
from tests.helpers import tiny_experiment
def get_config(tiny=False):
    return tiny_experiment(steps=4)
"""


def slowly(*cases):
    """Cases that ``make test-all`` alone runs: ``parametrize("name", ["a", *slowly("b", "c")])``. Of several arguments
    each case is a tuple."""
    return [pytest.param(*(c if isinstance(c, tuple) else (c,)), marks=pytest.mark.slow) for c in cases]


def but_slowly(cases, slow):
    """``cases``, those of them in ``slow`` by :func:`slowly`."""
    return [one for case in cases for one in (slowly(case) if case in slow else [case])]


def tiny_experiment(**changes) -> Experiment:
    """A U-Net of a few hundred parameters on 32x32 shapes: compiles in seconds, steps in milliseconds."""
    train = Shapes("train", size=(32, 32), length=40)
    experiment = Experiment(
        model=UNet(num_classes=len(train.classes), base=4, depth=1, norm="batch", dropout=0.2),
        task=semantic(train.classes, palette=train.palette),
        data=Data(
            train=train,
            val=Shapes("val", size=(32, 32), length=10),
            augment=Augment(size=(32, 32)),
            prepare=Resize((32, 32)),
            num_threads=1,
        ),
        optimizer=Optimizer(learning_rate=0.01),
        steps=6,
        batch_size=8,
        eval_batch_size=8,
        eval_every=3,
        save_every=2,
        log_every=2,
        devices=1,
    )
    return dataclasses.replace(experiment, **changes)


def rows_experiment(**changes) -> Experiment:
    """The tiny experiment with a metric that runs on the host and gives back what it has seen."""

    def update(state, predictions, batch):
        assert all(isinstance(x, np.ndarray) for x in (*predictions.values(), *batch.values()))
        assert "image" not in batch
        rows = zip(batch["index"].tolist(), predictions["label"][:, 0, 0].tolist())
        return state + [(place, label) for place, label in rows if place >= 0]

    metric = Metric(list, update, lambda a, b: a + b, lambda state: {"miou": 0.0, "rows": sorted(state)}, on_host=True)
    experiment = tiny_experiment(**changes)
    return dataclasses.replace(experiment, task=experiment.task._replace(metric=metric))


def variables_for(experiment):
    """Variables of the experiment's model, the same on every host."""
    return variables_of(experiment.model, jnp.zeros((1, 32, 32, 3)))


def variables_of(model, x):
    """Variables drawn by numpy: no layer is zero, and nothing has to be compiled for them."""
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x)
    rng = np.random.default_rng(0)

    def draw(path, s):
        if path[-1].key in ("var", "scale"):
            return jnp.asarray(rng.uniform(0.5, 1.5, s.shape), s.dtype)
        fan_in = np.prod(s.shape[:-1]) if len(s.shape) > 1 else 100
        return jnp.asarray(rng.normal(0, (2 / fan_in) ** 0.5, s.shape), s.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)
