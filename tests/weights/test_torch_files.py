"""PyTorch's files, written by PyTorch itself, read without it; hostile and damaged ones refused."""

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from jaxseg.types import JaxsegError
from jaxseg.weights.read import read_arrays
from jaxseg.weights.torch_files import read_torch

torch = pytest.importorskip("torch")


def state():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, generator=generator)
    return OrderedDict(
        whole=base,
        transposed=base.T,  # shares storage, other strides
        part=base[2:5, 1::3],
        scalar=torch.tensor(7, dtype=torch.int64),
        empty=torch.zeros(0, 3),
        half=base.half(),
        brain=base.bfloat16(),
        flag=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(base[0]),
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_wrote(tmp_path, zipped):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": state(), "epoch": 3, "name": "x"}, path, _use_new_zipfile_serialization=zipped)
    read = read_torch(path)
    assert (read["epoch"], read["name"]) == (3, "x")
    for name, tensor in state().items():
        expected = tensor.detach().float().numpy()
        assert read["state_dict"][name].shape == expected.shape
        np.testing.assert_array_equal(read["state_dict"][name].astype(np.float32), expected, err_msg=name)
    assert read["state_dict"]["half"].dtype == np.float16
    assert str(read["state_dict"]["brain"].dtype) == "bfloat16"


@pytest.mark.parametrize("zipped", [True, False])
def test_module_and_wrapper_are_taken_off(tmp_path, zipped):
    layer = torch.nn.BatchNorm2d(3)
    wrapped = {f"module.{name}": value for name, value in layer.state_dict().items()}
    torch.save({"state_dict": wrapped, "optimizer": {}}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert set(read_arrays(tmp_path / "w.pth")) == {*layer.state_dict()}


class Exploit:
    """Unpickled by pickle or torch.load(weights_only=False), it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, zipped):
    made = tmp_path / "made"
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.zeros(3), "x": Exploit(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(JaxsegError, match=r"refused.*posix.mkdir|refused.*nt.mkdir"):
        read_torch(path)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()  # the exploit is a real one


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    root = next(name for name in files if name.endswith("data.pkl"))
    assert files[root].count(b"K\x04\x85") == 1  # the size (4,)
    files[root] = files[root].replace(b"K\x04\x85", b"K\x40\x85")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(JaxsegError, match="beyond its storage"):
        read_torch(path)


@pytest.mark.parametrize("damage", ["cut", "noise", "pickle", "empty"])
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / "weights.pth"
    torch.save(state(), path)
    data = path.read_bytes()
    path.write_bytes(
        {"cut": data[: len(data) // 2], "noise": b"noise" * 99, "pickle": pickle.dumps({"a": 1}), "empty": b""}[damage]
    )
    with pytest.raises(JaxsegError, match=r"weights.pth is damaged or no PyTorch checkpoint"):
        read_torch(path)


def test_other_formats(tmp_path):
    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(3, np.float16)}
    np.savez(tmp_path / "w.npz", **arrays)
    from safetensors.numpy import save_file

    save_file(arrays, tmp_path / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        read = read_arrays(tmp_path / name)
        assert set(read) == set(arrays)
        for key, value in arrays.items():
            np.testing.assert_array_equal(read[key], value)
            assert read[key].dtype == value.dtype
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
        with pytest.raises(JaxsegError, match=name):
            read_arrays(tmp_path / name)
    with pytest.raises(JaxsegError, match="no weights at"):
        read_arrays(tmp_path / "absent.pth")
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(JaxsegError, match=r"read from .safetensors"):
        read_arrays(tmp_path / "w.h5")
