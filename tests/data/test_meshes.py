"""Drawn solids, Pix3D and mesh files: what is drawn, filled and sampled is one shape."""

import json

import numpy as np
import pytest
import trimesh
from scipy.io import savemat
from scipy.spatial import KDTree

from jaxseg.data import Augment, Pix3D, Resize, Solids, apply_warp, read_mesh, write_mesh, write_png
from jaxseg.data.warp import Warp, affine
from jaxseg.metrics import Shape
from jaxseg.types import JaxsegError


def signed_volume(points, normals):
    """Of the body within sampled points, by the divergence theorem, in units of area over count: above 0 if the normals
    point outward."""
    return np.mean(np.sum((points - points.mean(0)) * normals, axis=1))


def test_solids_are_drawn_filled_and_sampled_as_one():
    source = Solids("val", length=24, points=300)
    kinds = set()
    for i in range(len(source)):
        sample, shapes = source[i], source.shapes(i)
        assert len(shapes) == len(sample["instances"]["classes"])
        kinds |= {kind for kind, _ in shapes}
        for n, (_, shape) in enumerate(shapes):
            mesh = trimesh.Trimesh(shape.vertices, shape.faces)
            low, high = mesh.bounds
            instances = sample["instances"]
            assert mesh.is_watertight
            np.testing.assert_allclose(instances["frames"][n], [*low[:2], *high[:2]], atol=1e-3)
            np.testing.assert_allclose(instances["boxes"][n], [*low[:2], *high[:2]], atol=1.5)
            filled = instances["voxels"][n].mean() * np.prod(high - low)
            assert filled == pytest.approx(mesh.volume, rel=0.05)
            points, normals = instances["points"][n], instances["normals"][n]
            assert signed_volume(points, normals) > 0
            dense = KDTree(mesh.sample(20_000))
            assert dense.query(points)[0].max() < 1.5
            inside = instances["masks"][n][points[:, 1].astype(int), points[:, 0].astype(int)]
            assert inside.mean() > 0.8  # the rest lies on the outline
    assert len(kinds) == 5
    again = Solids("val", length=24, points=300)[3]
    np.testing.assert_array_equal(again["image"], source[3]["image"])
    np.testing.assert_array_equal(again["instances"]["points"], source[3]["instances"]["points"])


def test_a_mirror_and_another_size_take_the_shape_along():
    source = Solids("val", length=4, points=200)
    sample = source[1]
    seen = apply_warp(sample, Warp(affine(sx=-2, sy=1.5, tx=128, ty=3), (110, 128)))["instances"]
    for n, (_, shape) in enumerate(source.shapes(1)):
        moved = shape.vertices * np.array([-2, 1.5, np.sqrt(3)]) + np.array([128, 3, 0])
        low, high = moved.min(0), moved.max(0)
        np.testing.assert_allclose(seen["frames"][n], [*low[:2], *high[:2]], atol=1e-3)
        np.testing.assert_allclose(seen["depths"][n], high[2] - low[2], rtol=1e-4)
        assert signed_volume(seen["points"][n], seen["normals"][n]) > 0
        np.testing.assert_allclose(np.linalg.norm(seen["normals"][n], axis=1), 1, atol=1e-5)
        # Voxels: the middle of each filled cell, mirrored too.
        z, y, x = np.nonzero(seen["voxels"][n])
        cells = low + (np.stack([x, y, z], axis=1) + 0.5) / 24 * (high - low)
        mass = trimesh.Trimesh(moved, shape.faces[:, ::-1]).center_mass
        np.testing.assert_allclose(cells.mean(0), mass, atol=0.5)
    with pytest.raises(JaxsegError, match="scaled, moved and mirrored only"):
        Augment(size=(64, 64), rotate=30.0)(sample, np.random.default_rng(0))
    assert Resize((32, 32))(sample)["instances"]["voxels"].shape == sample["instances"]["voxels"].shape


@pytest.mark.parametrize("ending", ["obj", "ply"])
def test_meshes_are_written_and_read(ending, tmp_path):
    """The box of a picture, y down and z away, has y up and z toward the viewer in the file."""
    _, shape = Solids("val", length=1).shapes(0)[0]
    loose = Shape(np.concatenate([shape.vertices, np.full((3, 3), 999.0)]), shape.faces)
    read = read_mesh(write_mesh(tmp_path / f"a.{ending}", loose))
    np.testing.assert_allclose(read.vertices, shape.vertices * [1, -1, -1], atol=1e-4)
    np.testing.assert_array_equal(read.faces, shape.faces)
    assert trimesh.Trimesh(*read).volume > 0
    with pytest.raises(JaxsegError, match=r"written as \.obj or \.ply"):
        write_mesh(tmp_path / "a.txt", shape)
    (tmp_path / "bad.obj").write_text("nothing")
    with pytest.raises(JaxsegError, match=r"bad\.obj"):
        read_mesh(tmp_path / "bad.obj")


@pytest.fixture
def pix3d(tmp_path):
    """One chair of two boxes, before a camera turned by 30 degrees."""
    seat, back = trimesh.creation.box(extents=(0.6, 0.1, 0.6)), trimesh.creation.box(extents=(0.6, 0.5, 0.1))
    back.apply_translation([0, 0.3, 0.25])
    model = trimesh.util.concatenate([seat, back])
    model.export(tmp_path / "model.obj")
    low, high = model.bounds
    steps = [low[i] + (np.arange(64) + 0.5) / 64 * (high[i] - low[i]) for i in range(3)]
    # As the file has it: x left, y outward (the model's -z), z up.
    x, outward, up = np.meshgrid(steps[0], -steps[2][::-1], steps[1], indexing="ij")
    p = np.stack([x, up, -outward], axis=-1).reshape(-1, 3)
    inside = np.any([np.all((p > m.bounds[0]) & (p < m.bounds[1]), axis=1) for m in (seat, back)], axis=0)
    savemat(tmp_path / "voxel.mat", {"voxel": inside.reshape(64, 64, 64).astype(np.uint8)})
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    entry = {
        "img": "a.png", "mask": "mask.png", "model": "model.obj", "voxel": "voxel.mat", "category": "chair",
        "img_size": [160, 120], "focal_length": 35.0, "rot_mat": turn.tolist(), "trans_mat": [0.1, -0.05, 2.0],
        "truncated": False,
    }  # fmt: skip
    (tmp_path / "pix3d.json").write_text(json.dumps([entry, {**entry, "truncated": True}]))
    write_png(tmp_path / "a.png", np.zeros((120, 160, 3), np.uint8))
    mask = np.zeros((120, 160), np.uint8)
    mask[40:80, 50:90] = 255
    write_png(tmp_path / "mask.png", mask)
    return tmp_path, model, turn


def test_pix3d(pix3d):
    root, model, turn = pix3d
    source = Pix3D(root, points=500)
    assert len(source) == 1
    assert len(Pix3D(root, chosen=(0, 1))) == 2
    sample = source[0]
    ((kind, shape),) = source.shapes(0)
    assert source.things[kind - 1] == "chair"
    # By hand: the model's corner (0.3, 0.55, 0.3) through the camera.
    corner = turn @ [0.3, 0.55, 0.3] + [0.1, -0.05, 2.0]
    focal = 35 / 32 * 160
    n = np.argmin(np.linalg.norm(model.vertices - [0.3, 0.55, 0.3], axis=1))
    expected = [80 - focal * corner[0] / corner[2], 60 - focal * corner[1] / corner[2]]
    np.testing.assert_allclose(shape.vertices[n, :2], expected, atol=1e-6)
    assert trimesh.Trimesh(*shape).volume > 0  # faces still point outward
    instances = sample["instances"]
    low, high = shape.vertices.min(0), shape.vertices.max(0)
    np.testing.assert_allclose(instances["frames"][0], [*low[:2], *high[:2]], atol=1e-4)
    z, y, x = np.nonzero(instances["voxels"][0])
    cells = low + (np.stack([x, y, z], axis=1) + 0.5) / 24 * (high - low)
    dense = trimesh.Trimesh(*shape).sample(20_000)
    assert KDTree(dense).query(cells)[0].max() < 6  # thin boards: no filled cell is far from a surface
    covered = KDTree(cells).query(dense)[0]
    assert covered.max() < np.linalg.norm((high - low) / 24) * 1.01
    np.testing.assert_array_equal(instances["boxes"], [[50, 40, 90, 80]])


def test_what_is_wrong_with_pix3d_is_told(pix3d):
    root, _, _ = pix3d
    entries = json.loads((root / "pix3d.json").read_text())
    entries[0]["category"] = "ship"
    (root / "pix3d.json").write_text(json.dumps(entries))
    with pytest.raises(JaxsegError, match="category 'ship'; known are bed"):
        Pix3D(root)[0]
    (root / "pix3d.json").write_text("{}")
    with pytest.raises(JaxsegError, match="expected Pix3D's list of entries"):
        len(Pix3D(root, chosen=(0,)))
