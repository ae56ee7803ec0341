"""A program as ONNX, by jax2onnx.

jax2onnx turns JAX's operations into ONNX's one by one. So that it meets only operations that it knows, the program is
taken apart first: what jaxseg does otherwise on a CPU is done as on any other device (one convolution is one
operation), calls are put in place, and a few operations are written by others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from jaxseg.types import JaxsegError

_CALLS = ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def write(call: Callable[..., dict[str, Any]], shapes: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The bytes of an ONNX file of ``call(*inputs)``, its inputs and outputs by their names; and the outputs' shapes.

    Raises:
      JaxsegError: jax2onnx is absent, or has no form of an operation.
    """
    try:
        import jax2onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise JaxsegError(f"{error}; ONNX files need more packages: pip install 'jaxseg[onnx]'") from error
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
    name, parameters = equation.primitive.name, equation.params
    if name in _CALLS:
        inner = parameters.get("call_jaxpr") or parameters["jaxpr"]
        return evaluate(inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ()), inputs)
    if name == "platform_index":
        return [parameters["platforms"].index(None)]
    if name == "cond" and parameters.get("branches_platforms"):
        return evaluate(parameters["branches"][parameters["branches_platforms"].index(None)], inputs[1:])
    if name == "stack":
        return [jnp.concatenate([jnp.expand_dims(x, parameters["axis"]) for x in inputs], parameters["axis"])]
    if name == "optimization_barrier":
        return inputs
    parameters = {key: _simplified(value) for key, value in parameters.items()}
    results = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(parameters))
    return results if equation.primitive.multiple_results else [results]


def _simplified(parameter: Any) -> Any:
    """Programs within an operation (a loop's body), taken apart as well."""
    if isinstance(parameter, core.ClosedJaxpr):
        shapes = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in parameter.jaxpr.invars]
        return jax.make_jaxpr(lambda *inputs: evaluate(parameter, inputs))(*shapes)
    if isinstance(parameter, tuple):
        return type(parameter)(map(_simplified, parameter)) if type(parameter) is tuple else parameter
    return parameter
