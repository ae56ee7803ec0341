"""What training carries from step to step, as one tree of arrays: saved whole, resumed exactly."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxseg.types import Array, Batch, Outputs, Task


class TrainState(struct.PyTreeNode):
    """``step`` counts finished steps (and so the position in the data); ``ema`` is ``{}`` without averaging.

    ``rng`` is the run's PRNG key as uint32 ``[2]``; step ``s`` draws from ``fold_in(rng, s)``.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    rng: Array

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is evaluated with: the averaged parameters where they are kept."""
        variables = {"params": self.ema or self.params}
        return variables | {"batch_stats": self.batch_stats} if self.batch_stats else variables


def init_variables(
    model: nn.Module, task: Task, batch: Batch, seed: int, *, check: Callable[[Outputs], None] = lambda outputs: None
) -> dict[str, Any]:
    """Fresh parameters and statistics, from ``seed`` alone, for a model fed with batches like ``batch``.

    ``check`` is shown what the model gives, shapes without numbers, before anything is compiled.
    """

    def init(key: Array, batch: Batch) -> Any:
        outputs, variables = model.init_with_output(key, *task.inputs(batch), train=False)
        check(outputs)
        return variables

    # XLA's own generator: threefry takes four times as long to compile, once for every parameter.
    key = jax.random.key(seed, impl="unsafe_rbg")
    one = jax.tree.map(lambda x: jnp.asarray(x[:1]), batch)
    return jax.jit(init)(key, one)


def create_state(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, seed: int, ema: bool
) -> TrainState:
    """The state before the first step, from a model's fresh or pretrained variables."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        # A copy: the step donates its input, and one buffer can't be donated twice.
        ema=jax.tree.map(jnp.copy, params) if ema else {},
        rng=jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 1)),
    )
