"""Pretrained VGG-16 convolutions: names and arrays of published files -> the parameters of ``jaxseg.nn.VGG16``."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.types import JaxsegError
from jaxseg.weights.read import read_arrays

# torchvision's position in `features` of each convolution, in the paper's names.
VGG16_LAYERS = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip


def read_vgg16(path: str | Path, *, bgr: bool = False) -> dict[str, dict[str, np.ndarray]]:
    """``{"conv1_1": {"kernel" [3, 3, 3, 64], "bias" [64]}, ...}`` in float32 from a file in torchvision's names.

    The file holds ``features.N.weight`` (out, in, kh, kw) and ``features.N.bias``. ``bgr`` says that the weights were
    trained on BGR images (Caffe): the first kernel's input channels are reversed, for we feed RGB. Every missing,
    surplus or misshapen array is named in the error.
    """
    arrays = {name: value.astype(np.float32) for name, value in read_arrays(path).items()}
    params, faults = {}, []
    for layer, n in VGG16_LAYERS.items():
        kernel, bias = (arrays.pop(f"features.{n}.{kind}", None) for kind in ("weight", "bias"))
        if kernel is None or bias is None:
            faults.append(f"features.{n} is missing")
        elif kernel.ndim != 4 or kernel.shape[2:] != (3, 3) or bias.shape != kernel.shape[:1]:
            faults.append(f"features.{n} has shapes {kernel.shape} and {bias.shape}, expected (O, C, 3, 3) and (O,)")
        else:
            params[layer] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
    faults += [f"{name} is not of VGG-16" for name in arrays if not name.startswith("classifier.")]
    if faults:
        raise JaxsegError(f"{path}: {'; '.join(faults)}")
    if bgr:
        params["conv1_1"]["kernel"] = params["conv1_1"]["kernel"][:, :, ::-1].copy()
    return params


def with_vgg16(variables: Mapping[str, Any], layers: Mapping[str, Any], part: str = "vgg") -> dict[str, Any]:
    """``variables`` of a model that holds a VGG-16 at the path ``part``, its convolutions replaced by ``layers``.

    Where it has no biases (normalisation follows and would undo them), those of ``layers`` stay behind.
    """
    params = variables["params"]
    whole = functools.reduce(lambda tree, name: tree.get(name, {}), part.split("/"), params)
    if not whole:
        raise JaxsegError(f"the model has no part named {part}; its parts are {', '.join(params)}")
    ours = {name: value for name, value in whole.items() if "kernel" in value}
    wrong = [
        f"{name} is {layers[name]['kernel'].shape} and should be {value['kernel'].shape}"
        for name, value in ours.items()
        if np.shape(value["kernel"]) != np.shape(layers[name]["kernel"])
    ]
    if wrong:
        raise JaxsegError(f"weights do not fit: {'; '.join(wrong)}")
    taken = {name: {kind: layers[name][kind] for kind in value} for name, value in ours.items()}
    return {**variables, "params": _replaced(params, part.split("/"), {**whole, **taken})}


def _replaced(tree: Mapping[str, Any], path: list[str], new: Any) -> dict[str, Any]:
    """``tree`` with ``new`` at ``path``."""
    first, *rest = path
    return {**tree, first: _replaced(tree[first], rest, new) if rest else new}
