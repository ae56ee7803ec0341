"""torchvision's models with random weights and random running statistics, as references."""

import importlib
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
_declared = []


def import_torchvision():
    """torchvision, whether or not its compiled operators load; skips where it is not installed.

    The published wheel's are linked against CUDA: beside a torch for the CPU (``pip install --no-deps torchvision``)
    they don't load, and torchvision can't be imported until somebody declares the two it gives meta kernels to.
    RoIAlign then is torchvision's own Python, NMS ours; the other compiled operators are not there.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error) or _declared:
            raise
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", greedy_nms, "CPU")
    _declared.append(library)  # an operator lives as long as its library
    torchvision = importlib.import_module("torchvision")
    torchvision.extension._has_ops = lambda: True
    roi_align = importlib.import_module("torchvision.ops.roi_align")
    roi_align._has_ops = lambda: False  # so that it takes its Python, and as it stands: compiling that takes minutes
    roi_align._assert_has_ops = lambda: None
    roi_align._roi_align = roi_align._roi_align.__wrapped__
    return torchvision


def greedy_nms(dets, scores, iou_threshold):
    """Boxes ``[N, 4]`` -> indices of those kept, best first: each that overlaps no better kept one by more."""
    left = scores.argsort(descending=True, stable=True)
    keep = []
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        corners = torch.maximum(dets[best, :2], dets[left, :2]), torch.minimum(dets[best, 2:], dets[left, 2:])
        shared = (corners[1] - corners[0]).clamp(min=0).prod(1)
        areas = [(dets[i, ..., 2:] - dets[i, ..., :2]).prod(-1) for i in (best, left)]
        left = left[shared / (areas[0] + areas[1] - shared) <= iou_threshold]
    return torch.stack(keep) if keep else torch.empty(0, dtype=torch.long)


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
