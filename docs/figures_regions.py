"""Figures of the pages on objects and regions: each computed by the library's own functions."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from figures_style import BLUE, GREEN, GREY, HEAT, ORANGE, RED, grid, rectangle, scene, sheet, show

from jaxseg import ops, viz
from jaxseg.data import Shapes, Solids, graph_segmentation, selective_search
from jaxseg.metrics import Shape

RUNS = Path("runs")


def questions() -> Any:
    """One drawn scene, and its truth for each kind of task, as the library draws it."""
    source = Shapes("val", size=(160, 160))
    sample = source[40]
    image, truth = sample["image"], sample["instances"]
    names = [source.things[k - 1] for k in truth["classes"]]
    boxes, masks, width = truth["boxes"], truth["masks"], 360
    ids = np.max([mask * (len(source.stuff) + i + 1) for i, mask in enumerate(masks)], axis=0)
    ids = np.where(ids, ids, sample["label"] + 1)
    classes = [*range(len(source.stuff)), *(len(source.stuff) + truth["classes"] - 1)]
    kinds = {"stuff": source.stuff, "things": source.things, "palette": source.palette}
    every, labels = range(len(source.classes)), {"stuff": source.classes, "things": (), "palette": source.palette}
    panels = {
        "a picture": image,
        "what is every pixel?": viz.draw_segments(image, sample["label"] + 1, every, width=width, **labels),
        "what is there, and where?": viz.draw_instances(image, boxes, names=names, width=width),
        "which pixels of it are whose?": viz.draw_instances(image, boxes, masks, width=width),
        "where are its parts?": viz.draw_instances(image, boxes, keypoints=truth["keypoints"], width=width),
        "all of it: things and stuff": viz.draw_segments(image, ids, classes, width=width, **kinds),
    }
    figure, axes = sheet(3, 2, height=2.6, width=7.4)
    for ax, (name, picture) in zip(axes, panels.items()):
        show(ax, picture, name)
    return figure


def cam() -> Any:
    """Where a classifier sees stars that has never seen a box: runs/cam_shapes, trained first if need be."""
    run = RUNS / "cam_shapes"
    if not (run / "best").exists():
        train = [sys.executable, "-m", "jaxseg.cli", "train", "cam_shapes", "--workdir", str(run)]
        subprocess.run(train, check=True)
    from jaxseg.models.cam import boxes_from_maps
    from jaxseg.train.evaluate import load_run

    experiment, variables, _ = load_run(run)
    source = experiment.data.val
    chosen = [i for i in range(60) if source[i]["category"][0]][:5]
    figure, axes = sheet(5, 2, height=1.7)
    for top, below, i in zip(axes[:5], axes[5:], chosen):
        image = source[i]["image"]
        maps = experiment.model.apply(variables, jnp.asarray(image[None], jnp.float32) / 255)["maps"][0]
        box = boxes_from_maps(maps, image.shape[:2], 0.4)[0][0]
        show(top, image)
        show(below, viz.heat_map(image, np.asarray(maps[..., 0])))
        rectangle(below, box, "white")
    axes[0].set_ylabel("picture")
    axes[5].set_ylabel("map, box at 40 %")
    return figure


def proposals() -> Any:
    """Selective search on a drawn scene: its first regions, its best boxes, and those that hit an object."""
    sample = scene(3, (128, 128))
    image, truth = sample["image"], jnp.asarray(sample["instances"]["boxes"])
    regions = graph_segmentation(image, 100.0, min_size=100)
    boxes = selective_search(image)[0]
    overlap = np.asarray(ops.box_iou(jnp.asarray(boxes)[:, None], truth[None]))
    figure, axes = sheet(4, height=2.1, width=8)
    show(axes[0], image, "picture")
    show(axes[1], viz.instance_colours(regions.max() + 1)[regions], f"first: {regions.max() + 1} regions")
    show(axes[2], image, "the 30 best of\n" + f"{len(boxes)} boxes")
    for box, colour in zip(boxes[:30], viz.instance_colours(30) / 255):
        rectangle(axes[2], box, colour, lw=0.9)
    show(axes[3], image, f"the best for each object,\nIoU {', '.join(f'{v:.2f}' for v in overlap.max(0))}")
    for i, best in enumerate(overlap.argmax(0)):
        rectangle(axes[3], truth[i], "white", lw=2.4)
        rectangle(axes[3], boxes[best], GREEN)
    return figure


def anchors() -> Any:
    """Anchors of one place; which of all are positive or neutral; how the bands share them."""
    sample = scene(3, (128, 128))
    truth = jnp.asarray(sample["instances"]["boxes"])
    stride, places = 8, (16, 16)
    cells = ops.anchor_cells((16, 32, 56), (0.5, 1.0, 2.0))
    boxes = ops.grid_anchors(cells, places, (stride, stride), offset=0.5)
    found = ops.match(
        jnp.asarray(boxes), truth, jnp.ones(len(truth), bool), positive=0.7, negative=0.3, low_quality=True
    )
    label, iou = np.asarray(found.label), np.asarray(found.iou)
    figure, axes = sheet(4, height=2.3, width=9)
    show(axes[0], sample["image"], f"{len(cells)} anchors of one place,\n{len(boxes)} in all")
    middle = np.arange(len(cells)) + len(cells) * (8 * places[1] + 8)
    for i, colour in zip(middle, viz.instance_colours(len(cells)) / 255):
        rectangle(axes[0], boxes[i], colour)
    for ax, kind, colour, name in (
        (axes[1], ops.POSITIVE, GREEN, "positive"),
        (axes[2], ops.NEUTRAL, ORANGE, "neutral"),
    ):
        own = boxes[label == kind]
        show(ax, sample["image"], f"{len(own)} {name}")
        for box in own if kind == ops.POSITIVE else own[:: max(1, len(own) // 40)]:
            rectangle(ax, box, colour, lw=1.4 if kind == ops.POSITIVE else 0.7)
        for box in truth:
            rectangle(ax, box, "white", lw=2)
    for ax in axes[:3]:
        ax.set(xlim=(0, 128), ylim=(128, 0))
    bins = np.linspace(0, 1, 41)
    for kind, colour, name in ((ops.NEGATIVE, GREY, "negative"), (ops.NEUTRAL, ORANGE, "neutral"),
                               (ops.POSITIVE, GREEN, "positive")):  # fmt: skip
        axes[3].hist(iou[label == kind], bins, color=colour, label=f"{name}: {np.sum(label == kind)}")
    axes[3].set(yscale="log", xlabel="IoU with the best box", title="anchors by IoU")
    axes[3].legend(fontsize=7)
    return figure


def suppression() -> Any:
    """Overlapping boxes of two objects, and which are kept."""
    sample = scene(2, (96, 96))
    truth = sample["instances"]["boxes"][:2]
    rng = np.random.default_rng(1)
    boxes = np.concatenate([box[None] + rng.normal(0, 4, (9, 4)) for box in truth]).astype(np.float32)
    near = np.asarray(ops.box_iou(jnp.asarray(boxes)[:, None], jnp.asarray(truth)[None])).max(1)
    scores = jnp.asarray(np.clip(near + rng.normal(0, 0.05, len(near)), 0.05, 0.99), jnp.float32)
    hard = ops.nms(jnp.asarray(boxes), scores, 0.5, max_outputs=18)
    soft = ops.soft_nms(jnp.asarray(boxes), scores, decay="gaussian", sigma=0.5, max_outputs=18)
    figure, axes = sheet(3, height=2.5)
    panels = {
        "18 boxes, by score": (np.arange(18), scores),
        f"nms at 0.5: {int(hard.valid.sum())} kept": (hard.indices[hard.valid], scores[hard.indices[hard.valid]]),
        "soft_nms: scores lowered": (soft.indices[soft.valid], soft.scores[soft.valid]),
    }
    for ax, (name, (kept, values)) in zip(axes, panels.items()):
        show(ax, sample["image"], name)
        for i, value in zip(np.asarray(kept), np.asarray(values)):
            rectangle(ax, boxes[i], GREEN, alpha=float(np.clip(value, 0.35, 1)), lw=1.6 * float(value) + 0.6)
        ax.set(xlim=(0, 96), ylim=(96, 0))
    return figure


def roi() -> Any:
    """One region, read by RoIPool and by RoIAlign, and what each gives as the region moves."""
    h = w = 10
    box = np.array([1.7, 1.35, 8.4, 7.1], np.float32)
    bins = 2
    pool = lambda features, boxes: ops.roi_pool(features, boxes, bins, spatial_scale=1.0)
    align = lambda features, boxes: ops.roi_align(features, boxes, bins, spatial_scale=1.0)
    figure, axes = sheet(3, height=2.6, width=8.4)
    one = jnp.eye(h * w).reshape(h * w, h, w, 1)  # every place by itself
    colours = [tuple(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)) for c in (BLUE, GREEN, ORANGE, RED)]
    for ax, read, name in (
        (axes[0], pool, "RoIPool: what each of 2x2 bins reads"),
        (axes[1], align, "RoIAlign: the same"),
    ):
        weights = np.asarray(jax.vmap(lambda f, read=read: read(f, box[None])[0, ..., 0])(one)).reshape(
            h, w, bins * bins
        )
        weights = weights / weights.max()
        picture = np.ones((h, w, 3))
        for k, colour in enumerate(colours):
            picture -= 0.55 * weights[..., k : k + 1] * (1 - np.array(colour))
        show(ax, np.clip(picture, 0, 1), name)
        grid(ax, (h, w))
        ax.hlines(range(h + 1), 0, w, color="0.8", lw=0.5)
        ax.vlines(range(w + 1), 0, h, color="0.8", lw=0.5)
        rectangle(ax, box, "black", lw=1.8)
    part = (np.arange(2 * bins) + 0.5) / (2 * bins)
    x, y = np.meshgrid(box[0] + part * (box[2] - box[0]), box[1] + part * (box[3] - box[1]))
    axes[1].plot(x.ravel(), y.ravel(), "k.", ms=4)
    features = ops.resize_bicubic(jax.random.uniform(jax.random.key(2), (5, 5, 1)), (h, w))
    shift = np.linspace(-1.6, 1.6, 321, dtype=np.float32)
    moved = jnp.asarray(box[None] + shift[:, None] * np.array([1, 0, 1, 0], np.float32))
    for read, name, colour in ((pool, "RoIPool (maximum)", RED), (align, "RoIAlign (mean)", BLUE)):
        axes[2].plot(shift, read(features, moved)[:, 0, 0, 0], color=colour, label=name)
    axes[2].set(title="first bin, as the region moves to the right", xlabel="places")
    axes[2].grid(alpha=0.3)
    axes[2].legend()
    return figure


def corner_pooling() -> Any:
    """Two maps, strong at an object's left and top edges, pooled toward its top-left corner."""
    sample = scene(1)
    mask = sample["instances"]["masks"][0]
    x1, y1, x2, y2 = sample["instances"]["boxes"][0]
    row, column = np.mgrid[: mask.shape[0], : mask.shape[1]]
    near = lambda distance: jnp.asarray(mask * np.exp(-((distance / 4) ** 2)), jnp.float32)[..., None]
    left_edge, top_edge = near(column - x1), near(row - y1)
    down, across = ops.corner_pool(left_edge, "top"), ops.corner_pool(top_edge, "left")
    total = np.asarray(down + across)[..., 0]
    figure, axes = sheet(6, height=1.8, width=9)
    show(axes[0], sample["image"], "picture")
    rectangle(axes[0], (x1, y1, x2, y2), "white")
    panels = {"near the left edge": left_edge, "its maximum from\nhere down (top)": down, "near the top edge": top_edge,
              "its maximum from\nhere right (left)": across, "the sum": total[..., None]}  # fmt: skip
    for ax, (name, value) in zip(axes[1:], panels.items()):
        show(ax, np.asarray(value)[..., 0], name, cmap=HEAT, vmin=0)
    axes[5].plot([x1], [y1], "o", mfc="none", mec="white", ms=9)
    return figure


def keypoints() -> Any:
    """Cross-entropy's target of each keypoint, one cell of 14x14 here, and how maps are read back."""
    sample = Shapes("val", size=(96, 96))[7]
    box, points = sample["instances"]["boxes"][:1], sample["instances"]["keypoints"][:1]
    side = 14
    cell, counts = ops.keypoint_targets(jnp.asarray(points), jnp.asarray(box), side)
    y, x = np.mgrid[:side, :side] + 0.5
    centre = (points[0, :, :2] - box[0, :2]) / (box[0, 2:] - box[0, :2]) * side
    logits = -((x[..., None] - centre[:, 0]) ** 2 + (y[..., None] - centre[:, 1]) ** 2) / 2  # what is learnt, at best
    found, _ = ops.keypoints_from_heat_maps(jnp.asarray(logits, jnp.float32)[None], jnp.asarray(box), (96, 96))
    figure, axes = sheet(6, height=1.75, width=9)
    show(axes[0], sample["image"], "picture")
    rectangle(axes[0], box[0], "white")
    names = Shapes().keypoint_names
    x1, y1, x2, y2 = box[0].round().astype(int)
    crop = sample["image"][y1:y2, x1:x2]
    for k, ax in enumerate(axes[1:5]):
        target = np.eye(side * side)[int(cell[0, k])].reshape(side, side) * bool(counts[0, k])
        show(ax, crop, alpha=0.45)
        extent = (0, *crop.shape[1::-1], 0)
        show(ax, np.where(target, target, np.nan), f"{names[k]}: its cell", cmap="autumn", extent=extent)
        ax.hlines(np.linspace(0, crop.shape[0], side + 1), 0, crop.shape[1], color="0.6", lw=0.4)
        ax.vlines(np.linspace(0, crop.shape[1], side + 1), 0, crop.shape[0], color="0.6", lw=0.4)
    show(axes[5], sample["image"], "read from maps")
    for (px, py), colour in zip(np.asarray(found[0]), viz.instance_colours(len(names)) / 255):
        axes[5].plot([px], [py], "o", color=colour, mec="white", ms=6)
    return figure


def cubify() -> Any:
    """Voxels of a drawn solid, their surface as cubes and smoothed, and points drawn from it."""
    torus = next(
        s
        for s in map(Solids("val", voxels=16, count=(1, 1)).__getitem__, range(60))
        if s["instances"]["classes"][0] == 5
    )
    voxels = torus["instances"]["voxels"][0].astype(np.float32)
    figure, axes = sheet(5, height=1.8, width=8.4)
    show(axes[0], torus["image"], "picture")
    show(axes[1], voxels.sum(0), "its voxels, from the front", cmap="Blues")
    for ax, smooth in ((axes[2], False), (axes[3], True)):
        mesh = ops.cubify(jnp.asarray(voxels), threshold=0.5, squares=2000, smooth=smooth)
        faces = np.asarray(mesh.faces)[np.asarray(mesh.face_valid)]
        shape = Shape(np.asarray(mesh.vertices) * 28 + np.array([32, 32, 0]), faces)
        show(
            ax,
            viz.draw_shapes([shape], (64, 64), width=256, turn=35),
            f"cubify{', smooth' * smooth}:\n{len(faces)} triangles",
        )
    points, normals = ops.sample_surface(jax.random.key(0), mesh, 1500)
    front = np.asarray(normals)[:, 2] < 0
    at = np.asarray(points)[front] * 28 + 32
    axes[4].scatter(at[:, 0], at[:, 1], c=at[:, 2], s=2, cmap="viridis_r")
    axes[4].set(xlim=(0, 64), ylim=(64, 0), aspect="equal", xticks=[], yticks=[], title="sample_surface")
    return figure
