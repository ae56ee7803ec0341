"""How long a model takes, and what of it: ``jaxseg bench``.

A program is compiled as a whole, run twice to warm up and then timed run by run, each waited for; medians, as in
benchmarks/. Operations are counted in the program as it is for devices without forms of our own, since Winograd's form
of a convolution, on a CPU, does the same with fewer; XLA counts additions and products, padding left out, and of a loop
its body once, whatever is repeated (the selection of boxes, which is little beside convolutions).
"""

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.train import parallel
from jaxseg.train.build import training_batches
from jaxseg.train.state import create_state, init_variables
from jaxseg.train.step import make_train_step
from jaxseg.types import Batch, JaxsegError

WARM_UP = 2  # runs that are not counted
PROBE = {"cpu": 2048}  # side of the matrices whose product is the measure of a device; others: 8192


class Measured(NamedTuple):
    """``tracing`` and ``compiling`` in seconds, ``times`` of single runs in seconds, ``operations`` of one run, and in
    bytes ``arguments``, ``results`` and what is needed meanwhile (``temporary``)."""

    tracing: float
    compiling: float
    times: tuple[float, ...]
    operations: float
    arguments: int
    results: int
    temporary: int

    def quantile(self, q: float) -> float:
        """Of the times, in seconds."""
        return float(np.quantile(self.times, q))


def bench(
    experiment: Experiment,
    variables: Any = None,
    *,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    dtype: Any = None,
    train: bool = False,
    repeat: int = 20,
    watch: Callable[[int], None] = lambda done: None,
) -> tuple[Measured, tuple[int, ...], int]:
    """Time the prediction (model, and what the task makes of its outputs) or with ``train`` a whole training step of an
    experiment, on one device.

    Args:
      variables: None: random ones. Nothing is read for them, nor a picture: one is drawn. Training steps that need
        more than labels of pixels take a batch of the experiment's own.
      size: (H, W) of pictures; None: as the experiment's own are prepared.
      batch: pictures at once; None: one, or in training the experiment's.
      dtype: what the network computes in; None: the experiment's.
      repeat: runs that are timed.
      watch: is told how many runs are done.

    Returns:
      What was measured, the shape of the pictures, and how many parameters there are.
    """
    if repeat < 1 or (batch is not None and batch < 1):
        raise JaxsegError(f"repeat is {repeat} and batch {batch}; both must be at least 1")
    e = experiment
    if dtype is not None:
        e = dataclasses.replace(e, model=with_dtype(e.model, dtype, {}))
    if train:
        e = dataclasses.replace(e, batch_size=batch or e.batch_size)
        given = _training_batch(e, size)
    else:
        given = blank_batch(e, batch or 1, size)
    if variables is None:
        variables = init_variables(e.model, e.task, given, e.seed)
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(variables["params"]))
    given = jax.device_put(given)
    measured = _step(e, variables, given, repeat, watch) if train else _prediction(e, variables, given, repeat, watch)
    return measured, given["image"].shape, count


def measure(
    program: Callable[..., Any],
    *arguments: Any,
    repeat: int,
    state: bool = False,
    watch: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Compile and time ``program(*arguments)``. ``state``: it gives first what its first argument is the next time."""
    platform = jax.devices()[0].platform
    options = {"donate_argnums": 0, "compiler_options": parallel.compiler_options(platform)} if state else {}
    begun = time.perf_counter()
    traced = jax.jit(program, **options).trace(*arguments)
    lowered, told = traced.lower(), time.perf_counter()
    compiled = lowered.compile()
    ready, times = time.perf_counter(), []
    for run in range(WARM_UP + repeat):
        start = time.perf_counter()
        result = jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
        arguments = (result[0], *arguments[1:]) if state else arguments
        watch(run + 1 - WARM_UP)
    memory: Any = compiled.memory_analysis()
    return Measured(
        told - begun,
        ready - told,
        tuple(times[WARM_UP:]),
        _operations(traced, lowered),
        memory.argument_size_in_bytes,
        memory.output_size_in_bytes,
        memory.temp_size_in_bytes,
    )


def _operations(traced: Any, lowered: Any) -> float:
    with suppress(NotImplementedError, ValueError):  # what calls back to Python can be lowered for this device alone
        lowered = traced.lower(lowering_platforms=("cuda",))
    return float(lowered.cost_analysis()["flops"])


def matrix_product(dtype: Any, repeat: int = 5) -> float:
    """Operations a second of a product of two large square matrices here: what a roofline's roof is, in practice."""
    side = PROBE.get(jax.devices()[0].platform, 8192)
    x = jnp.full((side, side), 1 / side, dtype)
    multiply = jax.jit(partial(jnp.matmul, precision="default"))
    measured = measure(multiply, x, x, repeat=repeat)
    return 2 * side**3 / min(measured.times)


def blank_batch(e: Experiment, count: int, size: tuple[int, int] | None) -> Batch:
    """``count`` pictures of noise, as the experiment prepares its own or of ``size``."""
    if size is None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        sample = [{"image": noise, "name": "noise"}] * count
        return next(pipeline.eval_batches(sample, e.data.prepare, batch_size=count, num_threads=0))
    image = np.random.default_rng(0).random((count, *size, 3), np.float32)
    return {"image": image, "size": np.full((count, 2), size, np.int32), "valid": np.ones(count, bool)}


def with_dtype(part: Any, dtype: Any, seen: dict[int, Any]) -> Any:
    """A module, and all that it is made of, computing in ``dtype``. What was one object stays one (``seen``)."""
    if isinstance(part, dict):
        return {key: with_dtype(value, dtype, seen) for key, value in part.items()}
    if not isinstance(part, nn.Module):
        return part
    if id(part) not in seen:
        fields = [f.name for f in dataclasses.fields(part) if f.name not in ("parent", "name")]
        changes = {name: with_dtype(getattr(part, name), dtype, seen) for name in fields}
        seen[id(part)] = dataclasses.replace(part, **changes | ({"dtype": dtype} if "dtype" in fields else {}))
    return seen[id(part)]


def _prediction(e: Experiment, variables: Any, batch: Batch, repeat: int, watch: Any) -> Measured:
    def predict(variables: Any, batch: Batch) -> Any:
        outputs: Any = e.model.apply(variables, *e.task.inputs(batch), train=False)
        return e.task.predict(outputs, batch)

    return measure(predict, variables, batch, repeat=repeat, watch=watch)


def _step(e: Experiment, variables: Any, batch: Batch, repeat: int, watch: Any) -> Measured:
    optimizer = e.optimizer.transformation(variables["params"], e.steps)
    factors = e.optimizer.factors(variables["params"])
    step = make_train_step(e.model, e.task, optimizer, factors=factors, ema_decay=e.ema, accumulate=e.accumulate)
    state = create_state(variables, optimizer, e.seed, e.ema > 0)
    return measure(step, state, batch, repeat=repeat, state=True, watch=watch)


def _training_batch(e: Experiment, size: tuple[int, int] | None) -> Batch:
    if e.task.about != "pixels":
        if size is not None:
            raise JaxsegError("--size with --train is for models that label pixels: others learn from their own data")
        return next(training_batches(dataclasses.replace(e, data=dataclasses.replace(e.data, num_threads=0))))
    batch = blank_batch(e, e.batch_size, size)
    labels = len(e.data.train.classes)
    label = np.random.default_rng(0).integers(0, labels, batch["image"].shape[:3]).astype(np.uint8)
    return {**batch, "label": label}
