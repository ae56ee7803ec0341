"""Shapes compared: every point with every other, formulas of spheres, and who is matched with whom."""

import numpy as np
import pytest
import trimesh

from jaxseg.data import Resize, Solids, eval_batches
from jaxseg.metrics import Shape, compare_shapes, mesh_metric, surface_points
from jaxseg.types import JaxsegError


def shape_of(mesh):
    return Shape(np.array(mesh.vertices), np.array(mesh.faces))


def ball(radius):
    return shape_of(trimesh.creation.icosphere(subdivisions=3, radius=radius))


def test_numbers_are_those_of_comparing_every_pair():
    found, truth = ball(3.0), shape_of(trimesh.creation.box(extents=(4.0, 5.0, 6.0)))
    scores = compare_shapes(found, truth, samples=400)
    (p, n), (q, m) = (surface_points(s, 400, r) for r in [np.random.default_rng(0)] for s in (found, truth))
    d = np.linalg.norm(p[:, None] - q[None], axis=-1) * 10 / 6
    near, back = d.argmin(1), d.argmin(0)
    assert scores["chamfer"] == pytest.approx((d.min(1) ** 2).mean() + (d.min(0) ** 2).mean())
    for t in (0.1, 0.3, 0.5):
        precision, recall = (d.min(1) < t).mean(), (d.min(0) < t).mean()
        assert scores[f"f1@{t}"] == pytest.approx(2 * precision * recall / max(precision + recall, 1e-12))
    cosines = np.abs((n * m[near]).sum(1)).mean(), np.abs((m * n[back]).sum(1)).mean()
    assert scores["normals"] == pytest.approx(np.mean(cosines))


def test_spheres_by_formula():
    """Of radius 5 and 5.2: all points 0.2 apart, after scaling the true one to 10 across."""
    scores = compare_shapes(ball(52.0), ball(50.0))
    assert scores["f1@0.1"] == 0
    assert scores["f1@0.3"] > 0.95
    assert scores["chamfer"] == pytest.approx(2 * 0.2**2, rel=0.3)
    assert scores["normals"] > 0.99


def test_points_lie_evenly_on_the_surface():
    points, normals = surface_points(
        shape_of(trimesh.creation.box(extents=(4, 2, 1))), 20_000, np.random.default_rng(0)
    )
    side = np.argmax(np.abs(normals), axis=1)
    np.testing.assert_allclose(np.bincount(side) / 20_000, np.array([2, 4, 8]) / 14, atol=0.01)
    np.testing.assert_allclose(np.sum(points * normals, axis=1), np.array([2, 1, 0.5])[side], atol=1e-9)
    with pytest.raises(JaxsegError, match="no surface"):
        surface_points(Shape(np.zeros((3, 3)), np.array([[0, 1, 2]])), 5, np.random.default_rng(0))


def predictions_of(batch, source, change=lambda n, shape: shape, repeat=1):
    """The truth as predictions, every object ``repeat`` times, each a little less sure."""
    rows = len(batch["index"])
    out = {
        "boxes": np.zeros((rows, 4, 4), np.float32), "scores": np.zeros((rows, 4), np.float32),
        "classes": np.zeros((rows, 4), np.int32), "valid": np.zeros((rows, 4), bool),
        "vertices": np.zeros((rows, 4, 1500, 3), np.float32), "faces": np.zeros((rows, 4, 3000, 3), np.int32),
        "face_valid": np.zeros((rows, 4, 3000), bool),
    }  # fmt: skip
    for row, place in enumerate(batch["index"]):
        d = 0
        for n, (kind, shape) in enumerate(source.shapes(int(place)) if place >= 0 else ()):
            shape = change(n, shape)
            for _ in range(repeat):
                vertices = shape.vertices * 2  # the picture is seen twice as large
                out["boxes"][row, d] = [*vertices.min(0)[:2], *vertices.max(0)[:2]]
                out["scores"][row, d], out["classes"][row, d], out["valid"][row, d] = 0.9 - 0.1 * d, kind, True
                out["vertices"][row, d, : len(vertices)] = vertices
                out["faces"][row, d, : len(shape.faces)] = shape.faces
                out["face_valid"][row, d, : len(shape.faces)] = True
                d += 1
    return out


def scored(**how):
    source = Solids("val", length=5)
    metric = mesh_metric(source.shapes, source.things)
    state = metric.init()
    for batch in eval_batches(source, Resize((128, 128)), batch_size=2):
        state = metric.update(state, predictions_of(batch, source, **how), batch)
    assert len(state) == 5
    return metric.compute(state)


def test_the_truth_itself_in_a_larger_picture():
    scores = scored()
    assert scores["mesh_f1@0.3"] > 0.99
    assert scores["mesh_found"] == scores["mesh_ap"] == 1
    assert scores["mesh_chamfer"] < 0.02
    assert all(ap == 1 for ap in scores["mesh_ap_of"].values())


def test_twice_found_is_once_right():
    scores = scored(repeat=2)
    assert scores["mesh_f1@0.3"] > 0.99
    assert 0.4 < scores["mesh_ap"] < 1


def test_what_is_elsewhere_or_flat_is_not_found():
    gone = scored(change=lambda n, shape: Shape(shape.vertices + np.array([200, 0, 0]), shape.faces))
    assert gone["mesh_found"] == gone["mesh_f1@0.5"] == gone["mesh_ap"] == 0
    assert np.isnan(gone["mesh_chamfer"])
    without_faces = scored(change=lambda n, shape: Shape(shape.vertices, shape.faces[:0]))
    assert without_faces["mesh_found"] == 1
    assert without_faces["mesh_f1@0.5"] == without_faces["mesh_ap"] == 0
