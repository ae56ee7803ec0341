"""How a step is spread over devices: ``jit`` over a mesh (default), or ``pmap``. Both give the same numbers.

This is the only file that knows of meshes and of pmap. A step is a plain function of global arrays; where an axis is
mapped it averages by :func:`jaxseg.types.mean_over_devices`.
"""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.types import DATA_AXIS, Batch, JaxsegError

MODEL_AXIS = "model"
Kind = Literal["jit", "pmap"]


class Spread(NamedTuple):
    """``place(tree)`` puts host arrays where states live; ``put(batch)`` cuts a process's part of a batch over its
    devices; ``compile(step)`` makes ``(state, batch) -> (state, metrics)`` that donates its state; ``gather(tree)``
    gives back ordinary arrays, as they are saved."""

    place: Callable[[Any], Any]
    put: Callable[[Batch], Batch]
    compile: Callable[[Callable[..., Any]], Callable[..., Any]]
    gather: Callable[[Any], Any]


def spread(kind: Kind = "jit", *, devices: int | None = None, model_devices: int = 1) -> Spread:
    """Spread over ``devices`` (all, unless told), ``model_devices`` of which share each parameter (jit only)."""
    if kind == "jit":
        return _jit(make_mesh(devices, model_devices))
    if kind != "pmap":
        raise JaxsegError(f"spread is {kind!r}; it can be jit or pmap")
    if model_devices != 1:
        raise JaxsegError("pmap keeps every parameter on every device; use jit to share parameters over devices")
    return _pmap(_first_devices(devices))


def make_mesh(devices: int | None = None, model_devices: int = 1) -> Mesh:
    """A mesh ``(data, model)`` over the first ``devices`` devices."""
    chosen = _first_devices(devices)
    if len(chosen) % model_devices:
        raise JaxsegError(f"{len(chosen)} devices can't be divided into groups of {model_devices} (model_devices)")
    shape = (len(chosen) // model_devices, model_devices)
    return jax.make_mesh(shape, (DATA_AXIS, MODEL_AXIS), axis_types=(AxisType.Auto,) * 2, devices=chosen)


def connect_hosts(find: bool = False) -> None:
    """Join the other processes of this run, where the environment says that there are any.

    Set ``JAX_COORDINATOR_ADDRESS`` (host:port of process 0), ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` on each; or
    ``find`` them, as JAX can by itself on a Cloud TPU slice, under SLURM, Open MPI and Kubernetes. Call it before any
    other use of jax. Raises JaxsegError where a part is missing, or there is nothing to be found.
    """
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if jax.distributed.is_initialized():
        return
    if find and not address:
        try:
            jax.distributed.initialize()
        except ValueError as error:  # an address, a number of processes or a place among them that nothing tells
            raise JaxsegError(
                f"--hosts: no other hosts were found ({error}); JAX knows those of a Cloud TPU slice, SLURM, Open MPI "
                "and Kubernetes: elsewhere set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
            ) from error
    elif address:
        missing = [name for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID") if name not in os.environ]
        if missing:
            raise JaxsegError(f"JAX_COORDINATOR_ADDRESS is set but not {' and '.join(missing)}; set all three")
        jax.distributed.initialize(address, int(os.environ["JAX_NUM_PROCESSES"]), int(os.environ["JAX_PROCESS_ID"]))


def rows_of_all(tree: Any) -> Any:
    """Numpy arrays of what is cut over the devices by its first axis: with several processes, the rows of all."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


@cache
def compiler_options(platform: str) -> dict[str, str]:
    """XLA's options for a training step: on a CPU, operations in the order that needs least memory.

    Its default there looks for operations to run side by side, each of which uses all cores by itself. (FCN on
    ResNet-50, 4x256x256, batch normalisation: 0.88 GB beside the arguments, not 1.81.)
    """
    options = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
    if platform != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib without it
        return {}
    return options


def check_batch_size(batch_size: int, devices: int, accumulate: int = 1) -> None:
    """Refuse a batch that the devices can't share equally, naming the nearest sizes that they can."""
    unit = devices * accumulate
    if batch_size % unit:
        lower, upper = batch_size // unit * unit, -(-batch_size // unit) * unit
        nearest = " or ".join(str(n) for n in (lower, upper) if n)
        parts = f" times {accumulate} parts" if accumulate > 1 else ""
        raise JaxsegError(f"a batch of {batch_size} can't be shared by {devices} devices{parts}; use {nearest}")


def _jit(mesh: Mesh) -> Spread:
    by_example = NamedSharding(mesh, P(DATA_AXIS))

    def sharding(x: Any) -> NamedSharding:
        shared = mesh.shape[MODEL_AXIS]
        if shared > 1 and np.ndim(x) > 1 and np.shape(x)[-1] % shared == 0:
            return NamedSharding(mesh, P(*(None,) * (np.ndim(x) - 1), MODEL_AXIS))
        return NamedSharding(mesh, P())

    def place(tree: Any) -> Any:
        return jax.tree.map(lambda x: _put_global(x, sharding(x)), tree)

    def put(batch: Batch) -> Batch:
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(by_example, np.asarray(x)), batch)

    platform = mesh.devices.flat[0].platform

    def compile(step: Callable[..., Any]) -> Callable[..., Any]:
        compiled = jax.jit(step, donate_argnums=0, compiler_options=compiler_options(platform))
        return _lean(compiled) if platform == "cpu" and mesh.size == 1 else compiled

    return Spread(place, put, compile, lambda tree: tree)


def _lean(compiled: Any) -> Callable[..., Any]:
    """A jitted step, compiled as a whole for batches of one shape before it first runs on such, so that what compiling
    took is free by then.
    """
    programs: dict[Any, Any] = {}

    def run(state: Any, batch: Batch) -> tuple[Any, Any]:
        shapes = tuple(x.shape for x in jax.tree.leaves(batch))
        if shapes not in programs:
            programs[shapes] = compiled.lower(state, batch).compile()
            give_back_memory()
        return programs[shapes](state, batch)

    return run


def give_back_memory() -> None:
    """Give freed memory back to the system, which glibc else keeps: 0.8 GiB after compiling FCN on ResNet-50."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _pmap(devices: list[Any]) -> Spread:
    local = [d for d in devices if d.process_index == jax.process_index()]

    def place(tree: Any) -> Any:
        mesh = Mesh(np.asarray(devices), (DATA_AXIS,))
        stacked = NamedSharding(mesh, P(DATA_AXIS))

        def stack(x: Any) -> jax.Array:
            copies = np.broadcast_to(np.asarray(x), (len(local), *np.shape(x)))
            return jax.make_array_from_process_local_data(stacked, copies)

        return jax.tree.map(stack, tree)

    def put(batch: Batch) -> Batch:
        return jax.tree.map(lambda x: np.reshape(x, (len(local), -1, *np.shape(x)[1:])), batch)

    def compile(step: Callable[..., Any]) -> Callable[..., Any]:
        mapped = jax.pmap(step, DATA_AXIS, devices=devices, donate_argnums=0)

        def run(state: Any, batch: Batch) -> tuple[Any, Any]:
            state, metrics = mapped(state, batch)
            return state, first(metrics)

        return run

    def first(tree: Any) -> Any:
        # Every device holds the same; x[0] on a sharded array would gather them all.
        return jax.tree.map(lambda x: jnp.squeeze(x.addressable_data(0), 0), tree)

    def gather(tree: Any) -> Any:
        # To Orbax and to jit over all hosts an array on one host's device is no copy of the others': give it numbers.
        return first(tree) if jax.process_count() == 1 else jax.tree.map(np.asarray, first(tree))

    return Spread(place, put, compile, gather)


def _first_devices(count: int | None) -> list[Any]:
    available = jax.devices()
    if count is not None and not 0 < count <= len(available):
        raise JaxsegError(f"{count} devices were asked for; there are {len(available)} ({available[0].platform})")
    return available[:count]


def _put_global(x: Any, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1:
        # A copy: what is placed will be donated, and the caller may still hold x.
        return jnp.copy(jax.device_put(x, sharding))
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
