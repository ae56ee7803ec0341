"""torchvision's models with random weights and random running statistics, as references."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
SHIM = Path(__file__).parents[2] / "shared" / "tools"


def import_torchvision():
    """torchvision; beside a torch without CUDA through a shim that declares its compiled operators."""
    try:
        return importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    if not (SHIM / "torchvision_cpu.py").exists():
        pytest.skip("torchvision is not installed, or needs another torch")
    sys.path.insert(0, str(SHIM))
    try:
        importlib.import_module("torchvision_cpu")
        return importlib.import_module("torchvision")
    except ImportError:
        pytest.skip("torchvision is not installed")
    finally:
        sys.path.remove(str(SHIM))


def randomized(model, seed=0):
    """``model`` in inference with statistics and affine parameters that are not those of a fresh one."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low in ((module.running_mean, -0.2), (module.bias.data, -0.2)):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.4 + low)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.5)
    return model.eval()


def arrays_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def nhwc(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def nchw(array):
    return torch.tensor(np.asarray(array).transpose(0, 3, 1, 2).copy())
