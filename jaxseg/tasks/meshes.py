"""Shapes in space: of every object in a picture its mesh."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from jaxseg import viz
from jaxseg.metrics.mesh import Shape
from jaxseg.nn import GKIOXARI_2019, RCNNConfig
from jaxseg.tasks.detection import detection
from jaxseg.tasks.examples import examples
from jaxseg.types import Batch, Metric, Predictions, Task

WEIGHTS = {"mesh_voxel": 3.0, "mesh_chamfer": 1.0, "mesh_normal": 0.1, "mesh_edge": 1.0}
"""The authors' for Pix3D."""

_PANEL = 240  # pixels across


def mesh_prediction(
    classes: Sequence[str],
    metric: Metric,
    *,
    config: RCNNConfig = GKIOXARI_2019,
    weights: Mapping[str, float] = WEIGHTS,
    shown_score: float = 0.5,
) -> Task:
    """The task of finding objects and their shapes, by a detector with a mesh head.

    A batch holds what :func:`jaxseg.tasks.detection` needs, ``instances`` with what
    :class:`jaxseg.models.MeshHead` says. The loss is that task's, its terms with ``weights``. Predictions: that task's,
    ``vertices``, ``faces`` and ``face_valid`` among them. ``metric``: :func:`jaxseg.metrics.mesh_metric`.
    """
    task = detection(
        classes, metric, config=config, main_metric="mesh_f1@0.3", shown_score=shown_score, weights=weights
    )
    return task._replace(draw=partial(_draw, shown_score))


def _draw(shown_score: float, batch: Batch, predictions: Predictions) -> np.ndarray:
    """A contact sheet: image, the meshes found, as the picture shows them and turned, and points of the true ones."""
    rows = []
    for one, found in examples(batch, predictions):
        h, w = one["size"]
        shapes = [
            Shape(found["vertices"][d], found["faces"][d][valid])
            for d in np.flatnonzero(found["valid"] & (found["scores"] >= shown_score))
            if (valid := found["face_valid"][d]).any()
        ]
        panels = {
            "image": one["image"][:h, :w],
            "meshes found": viz.draw_shapes(shapes, (h, w), width=_PANEL),
            "from the side": viz.draw_shapes(shapes, (h, w), width=_PANEL, turn=60.0),
        }
        if "instances" in one:
            true = one["instances"]
            points, normals = (true[key][true["valid"]] for key in ("points", "normals"))
            panels["true, from the side"] = viz.draw_points(points, normals, (h, w), width=_PANEL, turn=60.0)
        rows.append(panels)
    return viz.contact_sheet(rows, (), panel_width=_PANEL)
