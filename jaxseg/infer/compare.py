"""Whether an exported file says what the model says: both are given the same picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from jaxseg.types import JaxsegError

CLOSE = 1e-3  # of an output's largest value: as near as this is called equal
MOST_UNEQUAL = 0.01  # of an output's values may be otherwise, where two scores are nearly alike


def compare(
    file: Path, format: str, program: Callable[..., dict[str, Any]], variables: Any, inputs: list[np.ndarray]
) -> dict[str, dict[str, float]]:
    """Of each output which part of its values agree, and the largest difference.

    Args:
      program: ``(variables, *inputs) -> {name: array}``, the model's.

    Raises:
      JaxsegError: more than 1 % of an output's values disagree, or what was written does not run.
    """
    wanted = jax.device_get(jax.jit(program)(variables, *inputs))
    try:
        got = jax.device_get(_loaded(file, format)(*inputs))
    except Exception as error:  # onnxruntime's are of many kinds
        reason = " ".join(str(error).split())[:300]
        hint = ": use the other format" if format == "onnx" else ""
        raise JaxsegError(f"what was written of this model does not run ({reason}), and was not kept{hint}") from error
    found = {name: _differences(got[name], wanted[name]) for name in wanted}
    worst = min(found, key=lambda name: found[name]["equal"])
    if found[worst]["equal"] < 1 - MOST_UNEQUAL:
        raise JaxsegError(
            f"the exported file disagrees with the model: of {worst} only {100 * found[worst]['equal']:.1f} % of the "
            f"values are equal, the largest difference is {found[worst]['largest_difference']:.3g}; it was not kept"
        )
    return found


def _loaded(file: Path, format: str) -> Callable[..., dict[str, Any]]:
    """The program in a file, as others would run it."""
    if format == "jax":
        return jax.jit(export.deserialize(bytearray(file.read_bytes())).call)
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised too
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs, outputs = ([x.name for x in found] for found in (session.get_inputs(), session.get_outputs()))
    return lambda *arrays: dict(zip(outputs, session.run(None, dict(zip(inputs, arrays)))))


def examples(shapes: dict[str, Any], seed: int = 0) -> list[np.ndarray]:
    """Something for every input of a program: pictures of coloured squares, the second of them padded; boxes."""
    rng, (b, h, w, _) = np.random.default_rng(seed), shapes["image"].shape
    made: list[np.ndarray] = []
    for name, x in shapes.items():
        if name == "image":
            coarse = rng.random((b, -(-h // 16), -(-w // 16), 3), np.float32)
            image = 0.9 * coarse.repeat(16, 1).repeat(16, 2)[:, :h, :w] + 0.1 * rng.random((b, h, w, 3), np.float32)
            made.append((255 * image).astype(np.uint8) if x.dtype == np.uint8 else image)
        elif name == "size":
            made.append(np.array([[h - i % 2 * h // 4, w] for i in range(b)], np.int32))
        elif name == "proposals":
            corners = np.sort(rng.random((*x.shape[:2], 2, 2), np.float32), axis=2) * np.array([w, h], np.float32)
            made.append(corners.reshape(x.shape))
        else:
            made.append(np.ones(x.shape, x.dtype))
    return made


def _differences(got: Any, wanted: Any) -> dict[str, float]:
    if got.shape != wanted.shape:
        raise JaxsegError(f"the exported file gives {got.shape} where the model gives {wanted.shape}; it was not kept")
    if not np.issubdtype(wanted.dtype, np.floating):
        return {"equal": float(np.mean(got == wanted)), "largest_difference": float(np.any(got != wanted))}
    apart = np.abs(got.astype(np.float64) - wanted)
    near = (apart <= CLOSE * np.nanmax(np.abs(wanted), initial=1e-6)) | (np.isnan(got) & np.isnan(wanted))
    return {"equal": float(np.mean(near)), "largest_difference": float(np.nanmax(apart, initial=0.0))}
