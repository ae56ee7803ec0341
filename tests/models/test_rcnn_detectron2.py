"""Mask R-CNN by detectron2's rules and names against a twin in PyTorch, written from its documentation."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.models import mask_rcnn
from jaxseg.nn import DETECTRON2, DETECTRON2_C4, ResNet
from jaxseg.weights import detectron2
from jaxseg.weights.match import to_jaxseg

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.helpers import slowly  # noqa: E402
from tests.torchvision_models import arrays_of, import_torchvision, randomized  # noqa: E402

K, SIZE = 3, (128, 160)
PRE, POST, MOST, SCORE = 200, 60, 20, 0.25
SIZES = {"fpn": ((16,), (32,), (64,), (128,), (256,)), "c4": ((16, 32, 64),)}
SMALL = {"pre_nms": (PRE, PRE), "post_nms": (POST, POST), "detections": MOST, "score_threshold": SCORE}


class ConvNorm(nn.Conv2d):
    """A convolution whose normalisation is its own, as ``conv1.norm``."""

    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(super().forward(x))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = ConvNorm(inputs, width, 1, stride)  # the stride is in the first, 1x1
        self.conv2 = ConvNorm(width, width, 3)
        self.conv3 = ConvNorm(width, 4 * width, 1)
        self.shortcut = ConvNorm(inputs, 4 * width, 1, stride)

    def forward(self, x):
        return F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))) + self.shortcut(x))


def stage(number):
    """``res2`` to ``res5``, of one block each."""
    width = 64 * 2 ** (number - 2)
    return nn.Sequential(Bottleneck(64 if number == 2 else 2 * width, width, 1 if number == 2 else 2))


class Body(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = ConvNorm(3, 64, 7, 2)
        for n in range(2, last + 1):
            self.add_module(f"res{n}", stage(n))
        self.last = last

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem.conv1(x)), 3, 2, 1)
        found = []
        for n in range(2, self.last + 1):
            x = getattr(self, f"res{n}")(x)
            found.append(x)
        return found


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.bottom_up = Body(5)
        for n in range(2, 6):
            self.add_module(f"fpn_lateral{n}", nn.Conv2d(256 * 2 ** (n - 2), 256, 1))
            self.add_module(f"fpn_output{n}", nn.Conv2d(256, 256, 3, padding=1))

    def forward(self, x):
        above, levels = None, []
        for n, stage_ in reversed(list(enumerate(self.bottom_up(x), start=2))):
            lateral = getattr(self, f"fpn_lateral{n}")(stage_)
            above = lateral if above is None else lateral + F.interpolate(above, scale_factor=2.0, mode="nearest")
            levels.insert(0, getattr(self, f"fpn_output{n}")(above))
        return [*levels, F.max_pool2d(levels[-1], 1, 2)]


class Twin(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, c4 = kind, kind == "c4"
        self.strides = (16,) if c4 else (4, 8, 16, 32, 64)
        self.backbone = Body(4) if c4 else Pyramid()
        channels, anchors = (1024, 9) if c4 else (256, 3)
        self.proposal_generator, self.roi_heads = nn.Module(), nn.Module()
        head = self.proposal_generator.rpn_head = nn.Module()
        head.conv = nn.Conv2d(channels, channels, 3, padding=1)
        head.objectness_logits, head.anchor_deltas = (
            nn.Conv2d(channels, anchors, 1),
            nn.Conv2d(channels, 4 * anchors, 1),
        )
        roi = self.roi_heads
        if c4:
            roi.res5 = stage(5)
        else:
            roi.box_head = nn.Module()
            roi.box_head.fc1, roi.box_head.fc2 = nn.Linear(256 * 49, 1024), nn.Linear(1024, 1024)
        roi.box_predictor, roi.mask_head = nn.Module(), nn.Module()
        wide = 2048 if c4 else 1024
        roi.box_predictor.cls_score = nn.Linear(wide, K + 1)  # background last
        roi.box_predictor.bbox_pred = nn.Linear(wide, 4 * K)
        for n in () if c4 else (1, 2, 3, 4):
            roi.mask_head.add_module(f"mask_fcn{n}", nn.Conv2d(256, 256, 3, padding=1))
        roi.mask_head.deconv = nn.ConvTranspose2d(2048 if c4 else 256, 256, 2, 2)
        roi.mask_head.predictor = nn.Conv2d(256, K, 1)

    def forward(self, image, size):
        """``image [1, 3, H, W]``: 0 to 255, blue first; of which ``size`` is image."""
        mean = torch.tensor([103.530, 116.280, 123.675])[:, None, None]
        x = image - mean
        x[:, :, size[0] :], x[:, :, :, size[1] :] = 0, 0
        levels = self.backbone(x)
        levels = levels[-1:] if self.kind == "c4" else levels
        boxes = self.propose(levels, size)
        side = 14 if self.kind == "c4" else 7
        scores, deltas = self.classify(self.pool(levels, boxes, side))
        found = self.detect(scores, deltas, boxes, size)
        masks = self.draw(self.pool(levels, found["boxes"], 14))
        return found | {"proposals": boxes, "masks": masks[torch.arange(len(masks)), found["classes"] - 1].sigmoid()}

    def propose(self, levels, size):
        head, found = self.proposal_generator.rpn_head, []
        for number, (x, stride, sizes) in enumerate(zip(levels, self.strides, SIZES[self.kind])):
            h, w = x.shape[2:]
            sides = [(s / np.sqrt(r), s * np.sqrt(r)) for s in sizes for r in (0.5, 1.0, 2.0)]
            cells = torch.tensor([(-a / 2, -b / 2, a / 2, b / 2) for a, b in sides], dtype=torch.float32)
            y, x0 = torch.meshgrid(torch.arange(h) * stride, torch.arange(w) * stride, indexing="ij")
            anchors = (torch.stack([x0, y, x0, y], -1)[:, :, None] + cells).reshape(-1, 4)
            hidden = F.relu(head.conv(x))
            logits = head.objectness_logits(hidden)[0].permute(1, 2, 0).reshape(-1)
            deltas = head.anchor_deltas(hidden)[0].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).reshape(-1, 4)
            best = logits.argsort(descending=True)[:PRE]
            boxes = clipped(decoded(deltas[best], anchors[best], (1, 1, 1, 1)), size)
            found.append((boxes, logits[best], torch.full((len(best),), number)))
        boxes, logits, level = (torch.cat(parts) for parts in zip(*found))
        keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, logits, level = boxes[keep], logits[keep], level[keep]
        return boxes[import_torchvision().ops.batched_nms(boxes, logits, level, 0.7)[:POST]]

    def pool(self, levels, boxes, side):
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        which = torch.floor(4 + torch.log2(area.sqrt() / 224 + 1e-8)).clamp(2, 5).int() - 2
        rows = []
        for box, level in zip(boxes.numpy(), which.tolist() if len(levels) > 1 else [0] * len(boxes)):
            x, stride = levels[level][0].numpy(), self.strides[level]
            x1, y1, x2, y2 = box / stride - 0.5
            rows.append(np.einsum("ph,chw,qw->cpq", taps(y1, y2, side, x.shape[1]), x, taps(x1, x2, side, x.shape[2])))
        return torch.tensor(np.stack(rows), dtype=torch.float32)

    def classify(self, x):
        roi = self.roi_heads
        if self.kind == "c4":
            x = roi.res5(x).mean((2, 3))
        else:
            x = F.relu(roi.box_head.fc2(F.relu(roi.box_head.fc1(x.flatten(1)))))
        return roi.box_predictor.cls_score(x).softmax(1)[:, :K], roi.box_predictor.bbox_pred(x).unflatten(1, (K, 4))

    def detect(self, scores, deltas, proposals, size):
        row, kind = torch.nonzero(scores > SCORE, as_tuple=True)
        boxes = clipped(decoded(deltas[row, kind], proposals[row], (10, 10, 5, 5)), size)
        keep = import_torchvision().ops.batched_nms(boxes, scores[row, kind], kind, 0.5)[:MOST]
        return {"boxes": boxes[keep], "scores": scores[row, kind][keep], "classes": kind[keep] + 1}

    def draw(self, x):
        roi = self.roi_heads
        x = roi.res5(x) if self.kind == "c4" else x
        for n in () if self.kind == "c4" else (1, 2, 3, 4):
            x = F.relu(getattr(roi.mask_head, f"mask_fcn{n}")(x))
        return roi.mask_head.predictor(F.relu(roi.mask_head.deconv(x)))


def taps(start, end, bins, length):
    """``[bins, length]``: what a bin's mean of ``ceil(side / bins)`` samples along an axis is of the map's places."""
    step = (end - start) / bins
    count = max(int(np.ceil(step)), 1)
    at = start + (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / count) * step
    weights = np.maximum(0, 1 - np.abs(np.clip(at, 0, length - 1)[..., None] - np.arange(length)))
    return (weights * ((at >= -1) & (at <= length))[..., None]).mean(1)


def decoded(deltas, boxes, weights):
    sides = boxes[:, 2:] - boxes[:, :2]
    middle = boxes[:, :2] + sides / 2 + deltas[:, :2] / torch.tensor(weights[:2]) * sides
    sides = sides * torch.exp((deltas[:, 2:] / torch.tensor(weights[2:])).clamp(max=float(np.log(1000 / 16))))
    return torch.cat([middle - sides / 2, middle + sides / 2], 1)


def clipped(boxes, size):
    limit = torch.tensor([size[1], size[0], size[1], size[0]])
    return torch.minimum(boxes.clamp(min=0), limit)


@pytest.mark.parametrize("kind", ["c4", *slowly("fpn")])
def test_inference(kind):
    torch.manual_seed(0)
    twin = Twin(kind)
    for layer, scale in (
        (twin.proposal_generator.rpn_head.objectness_logits, 0.05),
        (twin.proposal_generator.rpn_head.anchor_deltas, 0.02),
        (twin.roi_heads.box_predictor.cls_score, 0.3),
        (twin.roi_heads.box_predictor.bbox_pred, 0.1),
        (twin.roi_heads.mask_head.predictor, 0.3),
    ):
        layer.weight.data = torch.randn(layer.weight.shape) * scale
    twin = randomized(twin)
    config = {"fpn": DETECTRON2, "c4": DETECTRON2_C4}[kind]._replace(anchor_sizes=SIZES[kind], **SMALL)
    build = {"fpn": mask_rcnn.mask_rcnn, "c4": mask_rcnn.mask_rcnn_c4}[kind]
    model = build(K, partial(ResNet, (1, 1, 1, 1)), config)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    blank = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    patterns = {"fpn": detectron2.RCNN_FPN, "c4": detectron2.RCNN_ONE_LEVEL}[kind]
    variables = to_jaxseg(blank, detectron2.detector_arrays(arrays_of(twin)), patterns, transposed="conv5_mask")

    (h, w), size = SIZE, (SIZE[0] - 20, SIZE[1] - 30)
    image = np.random.default_rng(0).uniform(size=(1, h, w, 3)).astype(np.float32)
    found = jax.jit(partial(model.apply, train=False))(variables, image, np.array([size], np.int32))
    with torch.no_grad():
        theirs = twin(torch.tensor(255 * image[..., ::-1].copy()).permute(0, 3, 1, 2), size)
    count, d = len(theirs["proposals"]), len(theirs["scores"])
    assert count == int(found["proposals"]["valid"].sum()) > 20
    # In the same order, but that scores all but equal may change places.
    for ours, others in ((found["proposals"]["boxes"][0], theirs["proposals"]), (found["boxes"][0], theirs["boxes"])):
        order = np.abs(np.asarray(ours)[None] - others.numpy()[:, None]).max(-1).argmin(1)
        assert np.abs(order - np.arange(len(others))).max() <= 1
        np.testing.assert_allclose(ours[order], others.numpy(), atol=1e-3)
    assert d == int(found["valid"].sum()) > 5
    for key, atol in (("scores", 1e-4), ("classes", 0), ("masks", 1e-3)):
        np.testing.assert_allclose(found[key][0][order], theirs[key].numpy(), atol=atol, err_msg=key)
