"""Panoptic FPN's semantic branch, by detectron2's names, against the same in PyTorch."""

import jax
import numpy as np
import pytest

from jaxseg.models.panoptic_fpn import SemanticHead, enlarged
from jaxseg.weights import detectron2
from jaxseg.weights.match import to_jaxseg

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402


class Layer(nn.Conv2d):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(32, outputs)

    def forward(self, x):
        return F.relu(self.norm(super().forward(x)))


class Twin(nn.Module):
    """detectron2's SemSegFPNHead."""

    def __init__(self, inputs, classes, channels):
        super().__init__()
        for level in (2, 3, 4, 5):
            layers = []
            for stage in range(max(level - 2, 1)):
                layers.append(Layer(inputs if stage == 0 else channels, channels))
                if level > 2:
                    layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.add_module(f"p{level}", nn.Sequential(*layers))
        self.predictor = nn.Conv2d(channels, classes, 1)

    def forward(self, levels):
        total = sum(getattr(self, f"p{i + 2}")(x) for i, x in enumerate(levels))
        return F.interpolate(self.predictor(total), scale_factor=4, mode="bilinear", align_corners=False)


def test_the_semantic_branch_is_detectron2s():
    torch.manual_seed(0)
    twin = Twin(24, 7, 64).eval()
    for layer in twin.modules():
        if isinstance(layer, nn.GroupNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    rng = np.random.default_rng(0)
    levels = tuple(rng.normal(size=(2, 24 >> i, 32 >> i, 24)).astype(np.float32) for i in range(4))
    model = SemanticHead(7, 64)
    fresh = jax.jit(lambda: model.init(jax.random.key(0), levels, False))()
    arrays = {f"sem_seg_head.{name}": value.numpy() for name, value in twin.state_dict().items()}
    variables = to_jaxseg({"params": {"semantic": fresh["params"]}}, arrays, detectron2.PANOPTIC_FPN)
    ours = jax.jit(lambda v: enlarged(model.apply(v, levels, False), 4))({"params": variables["params"]["semantic"]})
    with torch.no_grad():
        theirs = twin([torch.from_numpy(x.transpose(0, 3, 1, 2)) for x in levels]).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
