"""Shapes in space: of every object in a picture its mesh."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from jaxseg import viz
from jaxseg.metrics.mesh import Shape, moved_shape, original_shapes
from jaxseg.nn import GKIOXARI_2019, RCNNConfig
from jaxseg.tasks.detection import detection
from jaxseg.tasks.examples import examples, sheet_of
from jaxseg.types import Batch, Metric, Predictions, Task

WEIGHTS = {"mesh_voxel": 3.0, "mesh_chamfer": 1.0, "mesh_normal": 0.1, "mesh_edge": 1.0}
"""The authors' for Pix3D."""

_PANEL = 240  # pixels across


def mesh_prediction(
    classes: Sequence[str],
    metric: Metric,
    truth: Callable[[int], Sequence[tuple[int, Shape]]],
    *,
    config: RCNNConfig = GKIOXARI_2019,
    weights: Mapping[str, float] = WEIGHTS,
    shown_score: float = 0.5,
) -> Task:
    """The task of finding objects and their shapes, by a detector with a mesh head.

    A batch holds what :func:`jaxseg.tasks.detection` needs, ``instances`` with what
    :class:`jaxseg.models.MeshHead` says. The loss is that task's, its terms with ``weights``. Predictions: that task's,
    ``vertices``, ``faces`` and ``face_valid`` among them. ``metric``: :func:`jaxseg.metrics.mesh_metric`, and
    ``truth`` what it takes: of an image's place in the validation source its shapes, to be drawn.
    """
    task = detection(
        classes, metric, config=config, main_metric="mesh_f1@0.3", shown_score=shown_score, weights=weights
    )
    views = partial(_views, truth, shown_score)
    return task._replace(draw=partial(sheet_of, views, _PANEL), views=views)


def _views(
    truth: Any, shown_score: float, batch: Batch, predictions: Predictions, width: int
) -> list[dict[str, np.ndarray]]:
    """Of every image itself, the meshes found and the true ones, as the picture shows them and turned. Colours go from
    left to right: an object that is found has the same in all."""
    rows = []
    for one, part in examples(batch, predictions):
        size = tuple(one["size"].tolist())
        there = [d for d in original_shapes(part, np.eye(2, 3)) if d.score >= shown_score]
        found = [d.shape for d in there if len(d.shape.faces)]
        true = [moved_shape(shape, one["matrix"]) for _, shape in truth(int(one["index"]))]
        image = {"image": one["image"][: size[0], : size[1]]}
        rows.append(image | _both("prediction", found, size, width) | _both("truth", true, size, width))
    return rows


def _both(name: str, shapes: Sequence[Shape], size: tuple[int, int], width: int) -> dict[str, np.ndarray]:
    shapes = sorted(shapes, key=lambda shape: shape.vertices[shape.faces].mean(axis=(0, 1))[0])
    draw = partial(viz.draw_shapes, shapes, size, width=width)
    return {name: draw(), f"{name}, from the side": draw(turn=60.0)}
