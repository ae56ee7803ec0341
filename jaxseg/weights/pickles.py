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
        return _Unpickler(io.BytesIO(Path(path).read_bytes()), encoding="latin1").load()
    except _RefusedError as error:
        raise JaxsegError(f"{path} was refused, nothing in it was run: {error}; a file of arrays is needed") from None
    except OSError as error:
        raise JaxsegError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise JaxsegError(f"{path} is damaged or no pickle of arrays ({error}); fetch it again") from error


class _RefusedError(pickle.UnpicklingError):
    """The file names what is not on the list."""


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """What a pickled array begins as; its state fills it."""
    del kind, shape, code
    return np.ndarray((0,), np.int8)


def _from_buffer(data: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    """An array as the fifth protocol has it."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _latin1(text: str, encoding: str) -> bytes:
    """How bytes are pickled by the protocols before the third."""
    if encoding != "latin1":
        raise _RefusedError(f"it encodes as {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
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
