"""The train step and the evaluation step: plain functions, the same for every task and every way of spreading."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.train.state import TrainState
from jaxseg.types import Array, Batch, JaxsegError, Task, mean_over_devices

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]


def make_train_step(
    model: nn.Module,
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    factors: Any = None,
    ema_decay: float = 0.0,
    accumulate: int = 1,
) -> Step:
    """``(state, batch) -> (state, metrics)``: one step down the gradient of the task's loss.

    ``factors`` (see ``Optimizer.factors``) marks frozen parameters with 0: their gradient is never computed.
    ``accumulate`` splits the batch into as many parts, run one after another, whose gradients are averaged: memory
    of one part; a mean over valid pixels is then taken part by part. The loss finds the state's ``step`` in the batch,
    for weights that change in the course of a run. Metrics: ``loss``, each of its terms, and
    ``gradient_norm`` before clipping. Gradients and metrics are averaged over a mapped device axis, if there is one.
    """

    def loss_fn(params: Any, batch_stats: Any, batch: Batch, key: Array) -> tuple[Array, Any]:
        if factors is not None:
            params = jax.tree.map(lambda p, f: p if f else jax.lax.stop_gradient(p), params, factors)
        variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
        outputs: Any
        rngs = {"dropout": key, "sampling": jax.random.fold_in(key, 1)}
        outputs, updated = model.apply(variables, *task.inputs(batch), train=True, mutable=["batch_stats"], rngs=rngs)
        loss, terms = task.loss(outputs, batch)
        return loss, (updated.get("batch_stats", batch_stats), terms)

    def gradients(state: TrainState, batch: Batch, key: Array) -> tuple[Any, Any, dict[str, Array]]:
        def part(batch_stats: Any, part_batch: Batch, part_key: Array) -> tuple[Any, Any]:
            (loss, (batch_stats, terms)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
                state.params, batch_stats, {**part_batch, "step": state.step}, part_key
            )
            return batch_stats, (grads, {"loss": loss, **terms})

        if accumulate == 1:
            batch_stats, (grads, metrics) = part(state.batch_stats, batch, key)
            return batch_stats, grads, metrics
        parts = jax.tree.map(lambda x: _split(x, accumulate), batch)

        def add(carry: Any, xs: Any) -> tuple[Any, None]:
            batch_stats, total = carry
            batch_stats, new = part(batch_stats, *xs)
            return (batch_stats, jax.tree.map(jnp.add, total, new)), None

        keys = jax.random.split(key, accumulate)
        first = part(state.batch_stats, jax.tree.map(lambda x: x[0], parts), keys[0])
        rest = jax.tree.map(lambda x: x[1:], (parts, keys))
        (batch_stats, total), _ = jax.lax.scan(add, first, rest)
        grads, metrics = jax.tree.map(lambda x: x / accumulate, total)
        return batch_stats, grads, metrics

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        batch_stats, grads, metrics = gradients(state, batch, key)
        grads, metrics = mean_over_devices((grads, metrics))
        metrics["gradient_norm"] = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = jax.tree.map(lambda a, p: ema_decay * a + (1 - ema_decay) * p, state.ema, params) if state.ema else {}
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state, ema=ema)
        return state, metrics

    return train_step


def make_eval_step(model: nn.Module, task: Task) -> Callable[[Any, Any, Batch], tuple[Any, Any]]:
    """``(variables, metric state, batch) -> (metric state, predictions)``.

    A metric that runs on the host is not updated here: its state, say None, is given back as it came.
    """

    def eval_step(variables: Any, metric_state: Any, batch: Batch) -> tuple[Any, Any]:
        outputs: Any = model.apply(variables, *task.inputs(batch), train=False)
        predictions = task.predict(outputs, batch)
        if task.metric.on_host:
            return metric_state, predictions
        return task.metric.update(metric_state, predictions, batch), predictions

    return eval_step


def _split(x: Array, parts: int) -> Array:
    """``[B, ...]`` -> ``[parts, B / parts, ...]``, taking every parts-th example, so each part spans all devices."""
    if x.shape[0] % parts:
        raise JaxsegError(f"a batch of {x.shape[0]} (on each device) can't be split into {parts} equal parts")
    return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
