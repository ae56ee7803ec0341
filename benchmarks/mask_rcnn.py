"""Mask R-CNN R50-FPN stage by stage against torchvision on this CPU, and whole: predicting and a training step.

``python -m benchmarks.mask_rcnn [--size 512] [--rounds 5] [--what predict|train] [--memory]``
(needs the extra ``parity`` and ``pip install onnx onnxruntime``)

512x512, 1000 proposals, 100 detections, 91 classes, random weights; in turns in one process, medians. torchvision's own
compiled operators can't be had beside a PyTorch for the CPU from PyPI, so RoIAlign there is onnxruntime's (compiled, on
all cores: torchvision's runs on one), and decoding, top-k and suppression count as nothing: torchvision's whole is the
sum of the rest. In training RoIAlign's gradient, matching, sampling and mask targets count as nothing there, too. Below
1 jaxseg is faster. PyTorch's arrays are channels_last.
"""

import argparse
import ctypes
import resource
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.roi_nms import SCALES, STRIDES, interleaved, operator, proposals
from jaxseg import ops
from jaxseg.metrics import coco_metric
from jaxseg.models import MaskRCNNResNet50
from jaxseg.models.fast_rcnn import detections, normalized
from jaxseg.models.mask_rcnn import of_class
from jaxseg.nn.roi_heads import flattened
from jaxseg.tasks import detection
from jaxseg.train.parallel import compiler_options, give_back_memory

K, R, D = 90, 1000, 100


class Parts:
    """A Mask R-CNN's stages as functions of its variables, each of what the ones before it gave; and the whole."""

    def __init__(self, size: int):
        # Random weights' scores are all alike: every candidate counts, as many as a trained network's would.
        model = MaskRCNNResNet50(K)
        detector = model.detector.clone(config=model.detector.config._replace(score_threshold=0.0, candidates=2000))
        self.model, self.size, self.sizes = model.clone(detector=detector), size, jnp.array([[size, size]])

    def detector(self, v):
        return self.model.bind(v).detector

    def features(self, v, x):
        d = self.detector(v)
        return d.backbone(normalized(d.config, x, self.sizes), train=False)

    def score(self, v, levels):
        return self.detector(v).rpn(levels)

    def propose(self, v, levels, logits, deltas):
        d = self.detector(v)
        return d._propose(logits, deltas, d._anchors((self.size, self.size), levels), self.sizes, False)

    def align(self, v, levels, boxes, side):
        return self.detector(v).roi_features(levels, boxes, side)

    def classify(self, v, x):
        d = self.detector(v)
        return flattened(lambda x: d.box_predictor(d.box_head(x, False)), x)

    def detect(self, v, scores, deltas, p):
        detect = jax.vmap(partial(detections, self.model.detector.config))
        return detect(jax.nn.softmax(scores)[..., 1:], deltas, p.boxes, p.valid, self.sizes)

    def draw(self, v, x, classes):
        masks = flattened(self.model.bind(v).heads["mask"], x, False)
        return jax.nn.sigmoid(jax.vmap(of_class)(masks, classes))

    def paste(self, masks, boxes):
        return ops.paste_masks(masks[0], boxes[0], (self.size, self.size), rule="torchvision")

    def predict(self, v, x):
        found = self.model.apply(v, x, self.sizes, train=False)
        return self.paste(found["masks"], found["boxes"]), found["boxes"], found["scores"], found["classes"]


def our_stages(size: int, regions: dict[int, np.ndarray]):
    """``(name -> call without arguments, seconds to compile the whole, its bytes)``. RoIAlign and pasting by themselves
    are given ``regions``, boxes by the side of RoIAlign's output, since those of random weights lie in few places."""
    parts = Parts(size)
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(1, size, size, 3)), jnp.float32)
    variables = jax.jit(partial(parts.model.init, train=False))(jax.random.key(0), images)
    stages = {}

    def stage(name, f, *args, **static):
        program = jax.jit(partial(f, **static)).lower(*args).compile()
        stages[name] = lambda: jax.block_until_ready(program(*args))
        return program(*args)

    levels = stage("backbone, FPN", parts.features, variables, images)
    logits, deltas = stage("proposal network", parts.score, variables, levels)
    p = stage("proposals, NMS", parts.propose, variables, levels, logits, deltas)
    x = stage("RoIAlign 7x7", parts.align, variables, levels, jnp.asarray(regions[7])[None], side=7)
    scores, transforms = stage("box head", parts.classify, variables, x)
    found = stage("detections, NMS", parts.detect, variables, scores, transforms, p)
    x = stage("RoIAlign 14x14", parts.align, variables, levels, jnp.asarray(regions[14])[None], side=14)
    masks = stage("mask head", parts.draw, variables, x, found.classes)
    stage("paste", parts.paste, masks, jnp.asarray(regions[14])[None])
    start = time.perf_counter()
    program = jax.jit(parts.predict).lower(variables, images).compile()
    seconds = time.perf_counter() - start
    stages["all"] = lambda: jax.block_until_ready(program(variables, images))
    return stages, seconds, program.memory_analysis().temp_size_in_bytes


def their_model():
    import torch

    from tests.torchvision_models import import_torchvision

    detection = import_torchvision().models.detection
    model = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()
    return torch, detection, model.to(memory_format=torch.channels_last)


def their_stages(size: int, regions: dict[int, np.ndarray]):
    torch, detection, model = their_model()
    x = torch.rand(1, 3, size, size).to(memory_format=torch.channels_last)
    rng = np.random.default_rng(0)
    options = {"coordinate_transformation_mode": "output_half_pixel", "mode": "avg", "sampling_ratio": 2}
    types = {"x": 1, "rois": 1, "i": 7}

    def aligned(side: int):
        level = np.asarray(ops.feature_levels(jnp.asarray(regions[side]))) - 2
        rows = [np.flatnonzero(level == i) for i in range(4)]
        maps = [rng.normal(size=(1, 256, size // s, size // s)).astype(np.float32) for s in STRIDES]
        sessions = [
            operator("RoiAlign", types, output_height=side, output_width=side, spatial_scale=s, **options)
            for s in SCALES
        ]
        feeds = [
            {"x": f, "rois": regions[side][r], "i": np.zeros(len(r), np.int64)} for f, r in zip(maps, rows, strict=True)
        ]
        return lambda: [session.run(None, feed) for session, feed in zip(sessions, feeds, strict=True)]

    heads = model.roi_heads
    inside, cells = torch.rand(R, 256, 7, 7), torch.rand(D, 256, 14, 14).to(memory_format=torch.channels_last)
    masks, corners = torch.rand(D, 1, 28, 28), torch.tensor(regions[14])

    def without_gradient(f):
        def call():
            with torch.no_grad():
                return f()

        return call

    with torch.no_grad():
        levels = list(model.backbone(x).values())
    stages = {
        "backbone, FPN": lambda: model.backbone(x),
        "proposal network": lambda: model.rpn.head(levels),
        "RoIAlign 7x7": aligned(7),
        "box head": lambda: heads.box_predictor(heads.box_head(inside)),
        "RoIAlign 14x14": aligned(14),
        "mask head": lambda: heads.mask_predictor(heads.mask_head(cells)).sigmoid(),
        "paste": lambda: detection.roi_heads.paste_masks_in_image(masks, corners, (size, size)),
    }
    return {name: without_gradient(f) for name, f in stages.items()}


def predict(size: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    regions = {7: proposals(rng, R, size), 14: proposals(rng, D, size)}
    ours, seconds, need = our_stages(size, regions)
    theirs = their_stages(size, regions)
    print(f"predict, {size}x{size}: compiled in {seconds:.1f} s, {need / 1e6:.0f} MB beside the arguments")
    print("| stage | jaxseg ms | torchvision ms | ratio |\n|---|---|---|---|")
    names = [name for name in ours if name != "all"]
    calls = [call for name in names for call in (ours[name], theirs.get(name, lambda: None))]
    times = interleaved(rounds, *calls, ours["all"])
    medians = [statistics.median(t) for t in times]
    median = {name: (medians[2 * i], medians[2 * i + 1]) for i, name in enumerate(names)}
    for name, (mine, other) in median.items():
        print(f"| {name} | {mine:.1f} | " + (f"{other:.1f} | {mine / other:.2f} |" if name in theirs else "- | - |"))
    whole, total = medians[-1], sum(other for name, (_, other) in median.items() if name in theirs)
    print(f"| all in one program | {whole:.1f} | {total:.1f} (sum) | {whole / total:.2f} |")
    network = ("backbone, FPN", "proposal network", "box head", "mask head")
    mine, other = (sum(median[name][i] for name in network) for i in (0, 1))
    print(f"| backbone, FPN and heads | {mine:.1f} | {other:.1f} | {mine / other:.2f} |", flush=True)


def our_step(size: int, batch: int, count: int = 20):
    model = MaskRCNNResNet50(K)
    task = detection(("object",), coco_metric(lambda: None), config=model.detector.config)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(size=(batch, size, size, 3)), jnp.float32)
    sizes = jnp.broadcast_to(jnp.array([size, size]), (batch, 2))
    boxes = jnp.asarray(np.stack([proposals(rng, count, size) for _ in range(batch)]))
    targets = {
        "boxes": boxes,
        "classes": jnp.asarray(rng.integers(1, K + 1, (batch, count)), jnp.int32),
        "valid": jnp.ones((batch, count), bool),
        "masks": jnp.ones((batch, count, 56, 56)),
    }
    variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), images)
    optimizer = optax.sgd(1e-4, momentum=0.9)
    state = [variables["params"], jax.jit(optimizer.init)(variables["params"])]
    stats = variables["batch_stats"]

    def loss(params, x):
        outputs = model.apply(
            {"params": params, "batch_stats": stats},
            x,
            sizes,
            targets,
            train=True,
            rngs={"sampling": jax.random.key(1)},
        )
        return task.loss(outputs, {})[0]

    def step(params, slots, x):
        value, gradient = jax.value_and_grad(loss)(params, x)
        updates, slots = optimizer.update(gradient, slots, params)
        return optax.apply_updates(params, updates), slots, value

    start = time.perf_counter()
    options = compiler_options(jax.default_backend())
    program = jax.jit(step, donate_argnums=(0, 1), compiler_options=options).lower(*state, images).compile()
    seconds = time.perf_counter() - start
    give_back_memory()

    def call():
        *state[:], value = program(*state, images)
        return jax.block_until_ready(value)

    return call, seconds, program.memory_analysis().temp_size_in_bytes


def their_step(size: int, batch: int):
    """Forward and backward pass of what is compiled in PyTorch, on as many regions, and its optimiser."""
    torch, _, model = their_model()
    model.train()
    for p in model.parameters():
        p.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
    x = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
    heads = model.roi_heads
    regions = torch.rand(batch * 512, 256, 7, 7)
    cells = torch.rand(batch * 128, 256, 14, 14).to(memory_format=torch.channels_last)

    def call():
        optimizer.zero_grad()
        levels = list(model.backbone(x).values())
        logits, deltas = model.rpn.head(levels)
        r, c = regions.clone().requires_grad_(True), cells.clone().requires_grad_(True)
        outputs = [*logits, *deltas, *heads.box_predictor(heads.box_head(r)), heads.mask_predictor(heads.mask_head(c))]
        sum(y.square().mean() for y in outputs).backward()
        optimizer.step()

    return call


def train(size: int, rounds: int, batch: int = 2) -> None:
    ours, seconds, need = our_step(size, batch)
    times = interleaved(rounds, ours, their_step(size, batch))
    mine, other = (statistics.median(t) for t in times)
    print(
        f"training step, {batch}x{size}x{size}: compiled in {seconds:.1f} s, {need / 1e6:.0f} MB beside the arguments"
    )
    print("| | jaxseg ms | torchvision's networks alone, ms | ratio |\n|---|---|---|---|")
    print(f"| step | {mine:.0f} | {other:.0f} | {mine / other:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--what", choices=("predict", "train"))
    parser.add_argument("--memory", action="store_true", help="our training steps alone, and the process's peak")
    args = parser.parse_args()
    libc = ctypes.CDLL("libc.so.6")
    for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-8, 1)):  # as benchmarks/roi_nms.py does, and why
        libc.mallopt(option, value)
    if args.memory:
        step, *_ = our_step(args.size, 2)
        for _ in range(3):
            step()
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        return
    for what, run in (("predict", predict), ("train", train)):
        if args.what in (None, what):
            run(args.size, args.rounds)


if __name__ == "__main__":
    main()
