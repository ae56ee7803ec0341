"""Pickled numpy arrays, detectron2's .pkl: read by a short list of what may be named there; nothing is run."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.types import JaxsegError


def read_pickle(path: str | Path) -> Any:
    """The containers and arrays of a .pkl file.

    Raises JaxsegError for a file that is damaged, or that names anything but arrays and containers.
    """
    try:
        return _arrays(_Unpickler(io.BytesIO(Path(path).read_bytes()), encoding="latin1").load())
    except _RefusedError as error:
        raise JaxsegError(f"{path} was refused, nothing in it was run: {error}; a file of arrays is needed") from None
    except OSError as error:
        raise JaxsegError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise JaxsegError(f"{path} is damaged or no pickle of arrays ({error}); fetch it again") from error


class _RefusedError(pickle.UnpicklingError):
    """The file names what is not on the list."""


class _Dtype:
    """In place of numpy's, which takes any state from a file: fields that lie outside, pointers to objects."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biuf":
            raise _RefusedError(f"it holds an array of {code!r}, which are no numbers")

    def __setstate__(self, state: Any) -> None:
        _, order, base, names, fields, *_ = state
        if (base, names, fields) != (None, None, None):
            raise _RefusedError("it holds an array of records")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """In place of numpy's, whose state may say more than the file holds."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray = np.zeros(0, np.int8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        data = data.encode("latin1") if isinstance(data, str) else data
        self.value = _from_buffer(data, kind, shape, "F" if fortran else "C").value


def _from_buffer(data: Any, kind: _Dtype, shape: tuple[int, ...], order: Any) -> _Array:
    """An array as the fifth protocol has it."""
    array = _Array()
    array.value = np.frombuffer(data, kind.dtype).reshape(shape, order=order)
    return array


def _arrays(tree: Any) -> Any:
    """``tree`` with numpy's arrays in it."""
    if isinstance(tree, _Array):
        return tree.value
    if isinstance(tree, dict):
        return {key: _arrays(value) for key, value in tree.items()}
    return type(tree)(map(_arrays, tree)) if isinstance(tree, list | tuple) else tree


def _latin1(text: str, encoding: str) -> bytes:
    """How bytes are pickled by the protocols before the third."""
    if encoding != "latin1":
        raise _RefusedError(f"it encodes as {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): None,  # only ever an argument
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f"it names {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"it refers to {pid!r}")
