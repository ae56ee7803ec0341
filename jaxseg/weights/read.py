"""Files of weights -> names and arrays, whatever the format; nothing in a file is ever run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.types import JaxsegError
from jaxseg.weights.pickles import read_pickle
from jaxseg.weights.torch_files import read_torch

_WRAPPERS = ("state_dict", "model", "model_state_dict", "params", "weights")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """``{name: array}`` of a .safetensors, .npz, PyTorch (.pth, .pt, .bin) or detectron2 (.pkl) file, names and layouts
    as they stand.

    Of a training checkpoint the entry ``state_dict`` or ``model`` is taken, and the ``module.`` that data-parallel
    training puts before every name is cut off. Raises JaxsegError for a file that is missing, damaged, of another
    format, or that holds no arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise JaxsegError(f"no weights at {path}; give the path of a .safetensors, .npz or .pth file")
    if path.suffix == ".safetensors":
        arrays = _read_safetensors(path)
    elif path.suffix == ".npz":
        arrays = _read_npz(path)
    elif path.suffix in (".pth", ".pt", ".bin", ".ckpt"):
        arrays = _flat(read_torch(path))
    elif path.suffix == ".pkl":
        arrays = _flat(read_pickle(path))
    else:
        raise JaxsegError(f"{path}: weights are read from .safetensors, .npz, .pth, .pt, .bin, .ckpt or .pkl")
    if not arrays:
        raise JaxsegError(f"{path} holds no named arrays")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): value for name, value in arrays.items()}
    return arrays


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise JaxsegError(f"{path} is no readable .safetensors ({error}); fetch it again") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged archive can fail in any way
        raise JaxsegError(f"{path} is no readable .npz ({error}); fetch it again") from error


def _flat(tree: Any) -> dict[str, np.ndarray]:
    if not isinstance(tree, Mapping):
        return {}
    arrays = {name: value for name, value in tree.items() if isinstance(value, np.ndarray)}
    inner = next((tree[name] for name in _WRAPPERS if isinstance(tree.get(name), Mapping)), {})
    return arrays or _flat(inner)
