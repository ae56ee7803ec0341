"""A program as ONNX, by jax2onnx.

jax2onnx turns JAX's operations into ONNX's one by one. So that it meets only operations that it knows, the program is
taken apart first: what jaxseg does otherwise on a CPU is done as on any other device (one convolution is one
operation), calls are put in place, and a few operations are written by others.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core

from jaxseg.infer import onnx_indexing
from jaxseg.ops.arguments import known
from jaxseg.types import JaxsegError

_CALLS = ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def library() -> Any:
    """jax2onnx. Raises JaxsegError where it is absent, or onnxruntime is."""
    for logger in ("jax2onnx", "onnx_ir"):  # they tell of plugins for other packages, and of shapes that they leave out
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    try:
        import jax2onnx  # pyright: ignore[reportMissingImports]
        import onnxruntime  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise JaxsegError(f"{error}; ONNX files need more packages: pip install 'jaxseg[onnx]'") from error
    return jax2onnx


def write(call: Callable[..., dict[str, Any]], shapes: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The bytes of an ONNX file of ``call(*inputs)``, its inputs and outputs named; and the outputs' shapes."""
    jax2onnx = library()
    traced = jax.jit(call).trace(*shapes.values())
    names = sorted(traced.out_info)
    model = jax2onnx.to_onnx(
        lambda *inputs: tuple(evaluate(traced.jaxpr, inputs)),
        inputs=list(shapes.values()),
        input_names=list(shapes),
        output_names=names,
    )
    return model.SerializeToString(), dict(traced.out_info)


def evaluate(closed: core.ClosedJaxpr, inputs: Sequence[Any]) -> list[Any]:
    """What ``closed`` computes of ``inputs``, in simpler operations."""
    jaxpr, values = closed.jaxpr, {}

    def read(x: Any) -> Any:
        return x.val if isinstance(x, core.Literal) else values[x]

    values.update(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *inputs), strict=True))
    for equation in jaxpr.eqns:
        results = _apply(equation, [read(x) for x in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _apply(equation: Any, inputs: list[Any]) -> Sequence[Any]:
    name, p = equation.primitive.name, equation.params
    if name in _CALLS:
        inner = p.get("call_jaxpr") or p["jaxpr"]
        return evaluate(inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ()), inputs)
    if name == "platform_index":
        return [0]  # which branch is taken is decided at the cond
    if name == "cond" and p.get("branches_platforms"):
        return evaluate(_branch(p["branches"], p["branches_platforms"]), inputs[1:])
    if name in _REWRITTEN and (result := _REWRITTEN[name](inputs, p)) is not None:
        return [result]
    p = {key: _simplified(value) for key, value in p.items()}
    results = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(p))
    return results if equation.primitive.multiple_results else [results]


def _simplified(parameter: Any) -> Any:
    """Programs within an operation (a loop's body), taken apart as well."""
    if isinstance(parameter, core.ClosedJaxpr):
        shapes = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in parameter.jaxpr.invars]
        return jax.make_jaxpr(lambda *inputs: evaluate(parameter, inputs))(*shapes)
    return tuple(map(_simplified, parameter)) if type(parameter) is tuple else parameter


def _branch(branches: Sequence[core.ClosedJaxpr], platforms: Sequence[Any]) -> core.ClosedJaxpr:
    """What other devices than a CPU do: one operation where a CPU has many. But not loops until something holds, which
    a CPU does without."""
    default = branches[platforms.index(None)]
    return next(b for b in (default, *branches) if b is not default or "while[" not in str(b))


def _stack(arrays: list[Any], p: dict[str, Any]) -> Any:
    return lax.concatenate([lax.expand_dims(x, [p["axis"]]) for x in arrays], p["axis"])


def _pad(inputs: list[Any], p: dict[str, Any]) -> Any:
    """Of an unknown number of pictures: as concatenation. Else None, as it is."""
    x, value = inputs
    if known(*x.shape) or any(min(low, high) < 0 or inner for low, high, inner in p["padding_config"]):
        return None
    for axis, (low, high, _) in enumerate(p["padding_config"]):
        wide = lambda n, axis=axis, x=x: (
            [lax.broadcast_in_dim(value, (*x.shape[:axis], n, *x.shape[axis + 1 :]), ())] * bool(n)
        )
        x = lax.concatenate([*wide(low), x, *wide(high)], axis) if low or high else x
    return x


def _largest(inputs: list[Any], p: dict[str, Any]) -> Any:
    """The largest value of each window, as the larger of shifted arrays; None of other reductions and of dilations."""
    if "jaxpr" in p and [e.primitive.name for e in p["jaxpr"].eqns] != ["max"]:
        return None
    if any(d != 1 for d in (*p["base_dilation"], *p["window_dilation"])):
        return None
    x, strides = inputs[0], p["window_strides"]
    lowest = np.array(-np.inf if np.issubdtype(x.dtype, np.floating) else np.iinfo(x.dtype).min, x.dtype)
    x = lax.pad(x, inputs[1] if len(inputs) > 1 else lowest, [(*sides, 0) for sides in p["padding"]])
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape, p["window_dimensions"], strides)]
    taps = itertools.product(*map(range, p["window_dimensions"]))
    reach = [(size - 1) * stride + 1 for size, stride in zip(sizes, strides)]
    return reduce(lax.max, (lax.slice(x, tap, np.add(tap, reach).tolist(), strides) for tap in taps))


def _places(function: Callable[..., Any]) -> Callable[[list[Any], dict[str, Any]], Any]:
    return lambda inputs, p: function(*inputs, p) if known(*(n for x in inputs for n in x.shape)) else None


_REWRITTEN: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "stack": _stack,
    "pad": _pad,
    "reduce_window": _largest,
    "reduce_window_max": _largest,
    "gather": _places(onnx_indexing.gather),
    **{name: _places(partial(onnx_indexing.scatter, name)) for name in onnx_indexing.SCATTERS},
}
"""By name what stands for an operation that jax2onnx has no form of, or not of every case: ``(inputs, parameters) ->
result``, or None where it is left as it is."""
