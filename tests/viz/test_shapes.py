"""Meshes as pictures."""

import numpy as np
import trimesh

from jaxseg import viz
from jaxseg.data import Solids
from jaxseg.metrics import Shape


def test_a_mesh_covers_what_its_mask_covers():
    source = Solids("val", length=3)
    for i in range(3):
        picture = viz.draw_shapes([shape for _, shape in source.shapes(i)], (64, 64), width=128)
        covered = (picture != 255).any(-1).reshape(64, 2, 64, 2).mean((1, 3)) > 0.5
        mask = source[i]["instances"]["masks"].any(0)
        assert (covered & mask).sum() / (covered | mask).sum() > 0.9


def test_the_nearest_is_seen_and_turning_changes_the_view():
    """A plate before a ball hides it; from the side it does not."""
    plate = trimesh.creation.box(extents=(30, 30, 1))
    ball = trimesh.creation.icosphere(radius=8)
    plate.apply_translation([32, 32, -20])
    ball.apply_translation([32, 32, 0])
    shapes = [Shape(np.array(m.vertices), np.array(m.faces)) for m in (ball, plate)]
    front, alone = (viz.draw_shapes(s, (64, 64)) for s in (shapes, shapes[1:]))
    assert (front[32, 32] != 255).any()
    np.testing.assert_array_equal(front[..., 0] != 255, alone[..., 0] != 255)
    side = viz.draw_shapes(shapes[1:], (64, 64), turn=90.0)
    assert (side != 255).any(-1).sum() < 0.2 * (alone != 255).any(-1).sum()
