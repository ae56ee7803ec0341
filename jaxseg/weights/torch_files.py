"""PyTorch checkpoints (.pth, .pt, .bin) without PyTorch, and without running what a file asks to run.

A checkpoint is a pickle, and a pickle may name any function to call. Here a name that is not in ``_ALLOWED`` (plain
containers, tensors, storages) is refused before anything is called, and tensors are checked to lie within their
storage. Both of PyTorch's formats are read: the zip archive (since 1.6), and the stream before it, in which
torchvision's older weights are still published.
"""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from jaxseg.types import JaxsegError

_DTYPES = {
    "DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16, "LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16,
    "CharStorage": np.int8, "ByteStorage": np.uint8, "BoolStorage": np.bool_,
}  # fmt: skip
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the stream format


def read_torch(path: str | Path) -> Any:
    """What ``torch.save`` wrote: containers as they were, tensors as numpy arrays (copies).

    Raises JaxsegError for a file that is damaged, not PyTorch's, or that names anything but tensors and containers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read_zip(file) if zipfile.is_zipfile(file) else _read_stream(file)
    except _RefusedError as error:
        raise JaxsegError(
            f"{path} was refused, nothing in it was run: {error}; a checkpoint of tensors alone is needed "
            "(torch.save(model.state_dict(), path))"
        ) from None
    except OSError as error:
        raise JaxsegError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise JaxsegError(f"{path} is damaged or no PyTorch checkpoint ({error}); fetch it again") from error


class _RefusedError(pickle.UnpicklingError):
    """The file names what is not on the allow-list."""


class _Storage:
    """Numbers that tensors are views of; of the stream format, filled in after the tensors were made."""

    def __init__(self, dtype: Any, count: int, values: np.ndarray | None = None) -> None:
        self.dtype, self.count, self.values = np.dtype(dtype), int(count), values


class _Tensor:
    """A view to be made once its storage is there."""

    def __init__(self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("a tensor with a state of its own")

    def array(self) -> np.ndarray:
        values = self.storage.values
        if values is None or len(values) != self.storage.count:
            raise ValueError(f"a storage of {self.storage.count} numbers is incomplete")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        if min(self.offset, *self.size, *self.stride, 0) < 0 or (0 not in self.size and last >= len(values)):
            raise ValueError("a tensor reaches beyond its storage")
        if 0 in self.size:
            return np.zeros(self.size, values.dtype)
        strides = [s * values.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.size, strides).copy()


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


class _StorageType(NamedTuple):  # unlike a class of our own, a file can set nothing on it
    dtype: Any


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
} | {("torch", name): _StorageType(dtype) for name, dtype in _DTYPES.items()}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, load_storage: Callable[[tuple[Any, ...]], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self.load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f"it names {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _StorageType)):
            raise _RefusedError(f"it refers to {pid!r}")
        return self.load_storage(pid)


def _read_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = next((n for n in names if n.endswith("data.pkl")), None)
        if root is None:
            raise ValueError("the archive holds no data.pkl")
        folder = root[: -len("data.pkl")]
        order = archive.read(f"{folder}byteorder").decode() if f"{folder}byteorder" in names else "little"
        loaded: dict[str, _Storage] = {}

        def load(pid: tuple[Any, ...]) -> _Storage:
            _, kind, key, _, count = pid[:5]
            if key not in loaded:
                values = _values(archive.read(f"{folder}data/{key}"), kind.dtype, order)
                loaded[key] = _Storage(kind.dtype, count, values)
            return loaded[key]

        return _arrays(_Unpickler(io.BytesIO(archive.read(root)), load).load())


def _read_stream(file: BinaryIO) -> Any:
    """Pickles of a magic number, a version, the writer's machine, the object and its storages' keys; the storages."""
    file.seek(0)
    loaded: dict[str, _Storage] = {}

    def load(pid: tuple[Any, ...]) -> _Storage:
        _, kind, key, _, count = pid[:5]
        if len(pid) > 5 and pid[5] is not None:
            raise _RefusedError("it holds a view of a storage (written by PyTorch before 0.4)")
        return loaded.setdefault(key, _Storage(kind.dtype, count))

    if _Unpickler(file, load).load() != _MAGIC:
        raise ValueError("its first number is not PyTorch's")
    _, machine, tree, keys = (_Unpickler(file, load).load() for _ in range(4))
    order = "little" if machine["little_endian"] else "big"
    for key in keys:
        count = int.from_bytes(file.read(8), order)  # type: ignore[arg-type]
        storage = loaded[key]
        storage.values = _values(file.read(count * storage.dtype.itemsize), storage.dtype, order)
    return _arrays(tree)


def _values(data: bytes, dtype: Any, order: str) -> np.ndarray:
    values = np.frombuffer(data, dtype)
    return values if order == sys.byteorder else values.byteswap()


def _arrays(tree: Any) -> Any:
    """``tree`` with its tensors as arrays."""
    if isinstance(tree, _Tensor):
        return tree.array()
    if isinstance(tree, dict):
        return {key: _arrays(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_arrays(value) for value in tree]
    return tree
