"""Between PyTorch's names and layouts and ours, with every name accounted for.

Ours are nested, ``params/backbone/layer1_0/conv1/kernel``; theirs are flat, ``backbone.layer1.0.conv1.weight``. The
layers' names are translated by patterns, which each source gives; what a layer holds is always called the same.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxseg.types import JaxsegError

Patterns = Sequence[tuple[str, str]]
"""``(pattern, replacement)`` as for ``re.sub``, applied in turn to our layer's path, ``backbone/layer1_0/conv1``."""
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_MOST_NAMED = 8


class MisfitError(JaxsegError):
    """Names and shapes that do not fit a model; ``faults``: how many."""

    def __init__(self, text: str, faults: int) -> None:
        super().__init__(text)
        self.faults = faults


def to_jaxseg(
    variables: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    patterns: Patterns,
    *,
    transposed: str = "",
    part: str = "",
    fresh: str = "",
    exempt: Sequence[str] = (),
) -> dict[str, Any]:
    """``variables`` with every array taken from ``arrays`` (PyTorch's names), or the error that lists what differs.

    ``transposed``: pattern of our layers that are transposed convolutions, whose kernels PyTorch lays out otherwise.
    ``part``: only what lies under this path of ours is taken, ``backbone``, its names as those of a whole network.
    ``fresh``: pattern of our layers that stay as they are (a head for other classes). ``exempt``: patterns of PyTorch's
    names that may be absent, surplus or of another shape; where one does not fit, ours stays. The layers'
    ``num_batches_tracked`` is ignored. A fully connected layer of theirs may be a convolution of ours, as large as
    the map it sees. Raises JaxsegError listing the missing, unexpected and misshapen.
    """
    left = {name: value for name, value in arrays.items() if not name.endswith("num_batches_tracked")}
    faults: dict[str, list[str]] = {"missing": [], "unexpected": [], "misshapen": []}

    def excused(name: str) -> bool:
        return any(re.search(pattern, name) for pattern in exempt)

    def take(path: Any, ours: Any) -> Any:
        layer = _layer(path)
        if part and not layer.startswith(f"{part}/"):
            return ours
        name, axes = _theirs(path, np.ndim(ours), patterns, transposed, part)
        theirs = left.pop(name, None)
        if fresh and re.search(fresh, layer):
            return ours
        if theirs is None:
            faults["missing"] += [] if excused(name) else [name]
            return ours
        value = theirs if axes is None else _permuted(theirs, tuple(np.shape(ours)[axis] for axis in axes), axes)
        if value.shape != np.shape(ours):
            faults["misshapen"] += [] if excused(name) else [f"{name} {list(value.shape)}, not {list(np.shape(ours))}"]
            return ours
        return np.ascontiguousarray(value, dtype=ours.dtype)

    result = jax.tree_util.tree_map_with_path(take, dict(variables))
    faults["unexpected"] = [name for name in left if not excused(name)]
    if any(faults.values()):
        text = f"weights do not fit the model: {listed(faults)}; build the model they were trained in"
        raise MisfitError(text, sum(map(len, faults.values())))
    return result


def to_torch(
    variables: Mapping[str, Any], patterns: Patterns, *, transposed: str = "", connected: str = ""
) -> dict[str, np.ndarray]:
    """The inverse of :func:`to_jaxseg`: flat arrays in PyTorch's names and layouts.

    ``connected``: pattern of our convolutions that are fully connected layers there.
    """
    arrays = {}
    for path, value in jax.tree_util.tree_leaves_with_path(dict(variables)):
        name, axes = _theirs(path, np.ndim(value), patterns, transposed, "")
        theirs = np.asarray(value) if axes is None else np.asarray(value).transpose(axes)
        if theirs.ndim == 4 and connected and re.search(connected, _layer(path)):
            theirs = theirs.reshape(len(theirs), -1)
        arrays[name] = np.ascontiguousarray(theirs)
    return arrays


def _layer(path: Any) -> str:
    """``backbone/layer1_0/conv1`` of an array's path."""
    return "/".join(entry.key for entry in path[1:-1])


def _permuted(theirs: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Their array with our order of axes; of a fully connected layer's as the convolution of ``shape`` that it is."""
    if theirs.ndim == 2 and len(shape) == 4 and theirs.shape == (shape[0], math.prod(shape[1:])):
        theirs = theirs.reshape(shape)
    return theirs.transpose(np.argsort(axes)) if theirs.ndim == len(axes) else theirs


def _theirs(path: Any, rank: int, patterns: Patterns, transposed: str, part: str) -> tuple[str, tuple[int, ...] | None]:
    """PyTorch's name of our array, and how our axes are to be permuted into its own (None: as they are)."""
    name, leaf = _layer(path).removeprefix(f"{part}/"), path[-1].key
    axes = None
    if leaf == "kernel":
        stamps = bool(transposed) and re.search(transposed, name) is not None
        axes = (1, 0) if rank == 2 else (2, 3, 0, 1) if stamps else (3, 2, 0, 1)
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return f"{name.replace('/', '.')}.{_LEAVES[leaf]}", axes


def listed(faults: Mapping[str, list[str]]) -> str:
    """``{"missing": names, ...}`` in a line: how many of each kind, and the first of them."""

    def some(names: list[str]) -> str:
        return ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" if names[_MOST_NAMED:] else "")

    return "; ".join(f"{len(names)} {kind} ({some(names)})" for kind, names in faults.items() if names)
