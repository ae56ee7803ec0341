"""Mesh prediction: the picture of what was found."""

import numpy as np

from jaxseg.data import Solids
from jaxseg.metrics import mesh_metric
from jaxseg.tasks import mesh_prediction
from jaxseg.viz.overlay import MARGIN


def test_what_is_found_rightly_is_drawn_as_the_truth_is():
    """Detections that are the true shapes, worst first, in a picture made twice as large."""
    val = Solids("val", length=4)
    count, place = next((len(val.shapes(i)), i) for i in range(4) if len(val.shapes(i)) == 2)
    shapes = [shape for _, shape in val.shapes(place)]
    most = [max(len(s[k]) for s in shapes) for k in (0, 1)]
    part = {"vertices": np.zeros((1, count, most[0], 3)), "faces": np.zeros((1, count, most[1], 3), np.int32)}
    part |= {"face_valid": np.zeros((1, count, most[1]), bool), "valid": np.ones((1, count), bool)}
    part |= {"scores": np.array([[0.6, 0.9]]), "classes": np.ones((1, count), np.int32)}
    part |= {"boxes": np.zeros((1, count, 4), np.float32)}
    for n, shape in enumerate(shapes):
        part["vertices"][0, n, : len(shape.vertices)] = 2 * shape.vertices
        part["faces"][0, n, : len(shape.faces)] = shape.faces
        part["face_valid"][0, n, : len(shape.faces)] = True
    image = val[place]["image"].repeat(2, axis=0).repeat(2, axis=1)[None]
    batch = {"image": image, "valid": np.ones(1, bool), "size": np.array([[128, 128]], np.int32)}
    batch |= {"index": np.array([place], np.int32), "matrix": np.array([[[2, 0, 0], [0, 2, 0]]], np.float32)}
    task = mesh_prediction(val.things, mesh_metric(val.shapes, val.things), val.shapes)
    sheet = task.draw(batch, part)
    width = (sheet.shape[1] - MARGIN) // 5
    columns = [sheet[-width:, MARGIN + k * width :][:, : width - MARGIN] for k in range(5)]
    _, front, side, true_front, true_side = columns
    assert np.abs(front.astype(int) - true_front).mean() < 0.5
    assert np.abs(side.astype(int) - true_side).mean() < 0.5
    assert np.abs(front.astype(int) - side).mean() > 5
    part["scores"][0, 0] = 0.4
    less = task.draw(batch, part)
    assert np.abs(less.astype(int) - sheet).sum() > 0
