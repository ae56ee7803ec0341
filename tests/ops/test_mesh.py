"""Meshes: cubes counted one by one, volumes and areas by formula, neighbours by sets, distances by a k-d tree."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from jaxseg import ops
from jaxseg.types import JaxsegError
from tests.ops.jitted import value_and_gradients

G = 5


def blob(seed, share=0.5):
    return (np.random.default_rng(seed).random((G, G + 1, G - 1)) < share).astype(np.float32)


def voxel_by_voxel(solid):
    """Squares as frozensets of lattice corners (z, y, x), of every solid voxel's six those with nothing behind."""
    padded = np.pad(solid > 0.2, 1)
    squares = []
    for z, y, x in np.argwhere(solid > 0.2):
        for axis in range(3):
            for side in (0, 1):
                behind = [z + 1, y + 1, x + 1]
                behind[axis] += 2 * side - 1
                if padded[tuple(behind)]:
                    continue
                ends = [(v, v + 1) for v in (z, y, x)]
                ends[axis] = (ends[axis][side],)
                squares.append(frozenset((a, b, c) for a in ends[0] for b in ends[1] for c in ends[2]))
    return squares


def parts(mesh):
    """Vertices and faces without those that are none."""
    v, f, vertex_valid, face_valid = (np.asarray(x) for x in mesh)
    count = vertex_valid.sum()
    assert vertex_valid[:count].all()
    assert f[face_valid].max(initial=-1) < count
    return v[:count].astype(np.float64), f[face_valid]


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.sum(np.cross(a, b) * c) / 6


cubify = jax.jit(partial(ops.cubify, squares=400))
surface_squares = jax.jit(ops.surface_squares)


@pytest.mark.parametrize("seed", range(6))
def test_squares_are_those_found_voxel_by_voxel(seed):
    solid = blob(seed, 0.2 + 0.1 * seed)
    expected = voxel_by_voxel(solid)
    vertices, faces = parts(cubify(solid))
    sides = np.array(solid.shape)
    lattice = np.rint((vertices[:, ::-1] + 1) / 2 * sides).astype(int)
    np.testing.assert_allclose(lattice / sides * 2 - 1, vertices[:, ::-1], atol=1e-6)
    quads = faces.reshape(-1, 2, 3)
    np.testing.assert_array_equal(quads[:, 0, 0], quads[:, 1, 0])
    np.testing.assert_array_equal(quads[:, 0, 2], quads[:, 1, 1])
    found = [frozenset(map(tuple, lattice[np.unique(q)].tolist())) for q in quads]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    assert len(np.unique(lattice, axis=0)) == len(lattice) == len(set().union(*expected))
    assert surface_squares(solid) == len(expected)


@pytest.mark.parametrize("seed", range(6))
def test_closed_and_turned_outward(seed):
    """Every edge is gone along as often one way as the other, and the volume is that of the voxels."""
    solid = blob(seed)
    vertices, faces = parts(cubify(solid))
    ways = {}
    for a, b in np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist():
        ways[a, b] = ways.get((a, b), 0) + 1
    assert all(ways.get((b, a)) == n for (a, b), n in ways.items())
    assert volume(vertices, faces) == pytest.approx(solid.sum() * 8 / solid.size, rel=1e-5)


def euler(mesh):
    vertices, faces = parts(mesh)
    edges = {frozenset(e) for f in faces.tolist() for e in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    return len(vertices) - len(edges) + len(faces)


def test_eulers_characteristic():
    one, ring, two = np.zeros((3, 5, 5, 5), np.float32)
    one[2, 2, 2] = 1
    ring[2, 1:4, 1:4] = 1
    ring[2, 2, 2] = 0
    two[0, 0, 0] = two[4, 4, 4] = 1
    assert [euler(cubify(x)) for x in (one, ring, two)] == [2, 0, 4]
    vertices, faces = parts(cubify(one))
    assert (len(vertices), len(faces)) == (8, 12)


def test_what_there_is_no_room_for_is_left_out():
    solid = np.ones((4, 4, 4), np.float32)
    few = jax.jit(partial(ops.cubify, squares=20))
    mesh = few(solid)
    assert 20 < np.sum(mesh.face_valid) <= 40
    assert mesh.faces.shape == (40, 3)
    assert surface_squares(solid) == 96
    scattered = np.indices((6, 6, 6)).sum(0) % 2 == 0  # of 648 squares, none of which share more than corners
    mesh = jax.jit(partial(ops.cubify, squares=216))(scattered.astype(np.float32))
    assert np.max(mesh.faces) < len(mesh.vertices) == 288
    assert np.sum(mesh.face_valid) > 100
    parts(mesh)
    empty = few(np.zeros_like(solid))
    assert not np.any(empty.face_valid)
    assert not np.any(empty.vertices)


def ball(side, radius=0.7):
    z, y, x = (np.indices((side,) * 3) + 0.5) / side * 2 - 1
    return np.clip(0.5 + (radius - np.sqrt(x**2 + y**2 + z**2)) * 2, 0, 1).astype(np.float32)


def test_smooth_vertices_lie_on_the_surface_of_the_threshold():
    mesh = jax.jit(partial(ops.cubify, threshold=0.5, squares=2000, smooth=True))(ball(16))
    vertices, faces = parts(mesh)
    distance = np.linalg.norm(vertices, axis=1)
    assert np.abs(distance - 0.7).max() < 0.02  # a sixth of a voxel
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.05)
    rough, _ = parts(jax.jit(partial(ops.cubify, threshold=0.5, squares=2000))(ball(16)))
    assert np.abs(np.linalg.norm(rough, axis=1) - 0.7).max() > 0.05


def test_smooth_vertices_move_with_the_probabilities():
    """The gradient of a mesh's size is the slope of it, and without smoothing there is none."""

    def size(x, smooth):
        mesh = ops.cubify(x, threshold=0.5, squares=500, smooth=smooth)
        return jnp.sum(mesh.vertices**2)

    x, rng = ball(8), np.random.default_rng(0)
    d = rng.normal(size=x.shape).astype(np.float32) * ((x > 0.05) & (x < 0.45) | (x > 0.55) & (x < 0.95))
    run = jax.jit(jax.value_and_grad(size), static_argnames="smooth")
    slope = (run(x + 1e-2 * d, smooth=True)[0] - run(x - 1e-2 * d, smooth=True)[0]) / 2e-2
    _, gradient = run(x, smooth=True)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(np.vdot(gradient, d), slope, rtol=2e-2)
    assert not np.any(run(x, smooth=False)[1])


def test_many_at_once():
    batch = np.stack([blob(seed) for seed in range(3)])
    many = jax.jit(jax.vmap(partial(ops.cubify, squares=400)))(batch)
    for i in range(3):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(np.asarray(a)[i], b, atol=1e-6), many, cubify(batch[i]))  # noqa: B023


def sets_of_neighbors(faces, count):
    near = [set() for _ in range(count)]
    for f in faces.tolist():
        for i in range(3):
            near[f[i]] |= {f[(i + 1) % 3], f[(i + 2) % 3]}
    return near


@pytest.mark.parametrize("seed", range(3))
def test_neighbors_are_those_of_sets(seed):
    mesh = cubify(blob(seed))
    count = len(mesh.vertices)
    table = np.asarray(jax.jit(partial(ops.mesh_neighbors, count=count))(mesh.faces, mesh.face_valid))
    expected = sets_of_neighbors(np.asarray(mesh.faces)[np.asarray(mesh.face_valid)], count)
    for row, near in zip(table, expected):
        there = row[row < count].tolist()
        assert set(there) == near
        assert len(there) == len(near)


def test_the_sum_over_neighbors_and_its_gradient():
    mesh = cubify(blob(1))
    count = len(mesh.vertices)
    neighbors = jax.jit(partial(ops.mesh_neighbors, count=count))(mesh.faces, mesh.face_valid)
    adjacent = np.zeros((count, count), np.float32)
    for i, near in enumerate(sets_of_neighbors(np.asarray(mesh.faces)[np.asarray(mesh.face_valid)], count)):
        adjacent[i, list(near)] = 1
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(2, count, 7)).astype(np.float32)
    total, (gradient,) = value_and_gradients(lambda x: ops.neighbor_sum(x, neighbors), (features,), weights)
    np.testing.assert_allclose(total, adjacent @ features, atol=1e-5)
    np.testing.assert_allclose(gradient, adjacent.T @ weights, atol=1e-5)


def test_features_where_vertices_lie():
    """Against PyTorch's grid_sample, the border repeated."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 9, 4)).astype(np.float32)
    vertices = rng.uniform(-1.3, 1.3, (50, 3)).astype(np.float32)
    weights = rng.normal(size=(50, 4)).astype(np.float32)
    f = torch.tensor(features.transpose(2, 0, 1)[None], requires_grad=True)
    v = torch.tensor(vertices, requires_grad=True)
    theirs = torch.nn.functional.grid_sample(f, v[None, None, :, :2], padding_mode="border", align_corners=False)
    theirs = theirs[0, :, 0].T
    (theirs * torch.tensor(weights)).sum().backward()
    found, ours = value_and_gradients(ops.vertex_align, (features, vertices), weights)
    np.testing.assert_allclose(found, theirs.detach(), atol=1e-5)
    np.testing.assert_allclose(ours[0], f.grad[0].numpy().transpose(1, 2, 0), atol=1e-5)
    inside = (np.abs(vertices[:, 0]) < 1 - 1 / 9) & (np.abs(vertices[:, 1]) < 1 - 1 / 6)
    np.testing.assert_allclose(np.asarray(ours[1])[inside], v.grad.numpy()[inside], atol=1e-4)


def test_points_are_spread_evenly_over_the_surface():
    """On a solid box of sides 2, 1 and 0.5: as many on each side as its area says, all on the surface, normals out."""
    solid = np.zeros((8, 8, 8), np.float32)
    solid[3:5, 2:6, 0:8] = 1
    mesh = cubify(solid)
    points, normals = jax.jit(partial(ops.sample_surface, count=40_000))(jax.random.key(0), mesh)
    points, normals = np.asarray(points), np.asarray(normals)
    half = np.array([1, 0.5, 0.25])
    side = np.argmax(np.abs(points) / half, axis=1)
    np.testing.assert_allclose(np.abs(points[np.arange(len(points)), side]), half[side], atol=1e-5)
    outward = np.sign(points[np.arange(len(points)), side])
    np.testing.assert_allclose(normals, np.eye(3)[side] * outward[:, None], atol=1e-6)
    areas = np.array([0.5, 1.0, 2.0]) * 2
    counts = np.bincount(side, minlength=3) / len(points)
    np.testing.assert_allclose(counts, areas / areas.sum(), atol=0.01)
    top = points[(side == 2) & (points[:, 2] > 0)][:, :2]
    cells = np.histogram2d(top[:, 0], top[:, 1], bins=4, range=[[-1, 1], [-0.5, 0.5]])[0]
    assert cells.std() / cells.mean() < 0.08


def test_points_move_with_the_vertices():
    mesh = cubify(blob(2))
    loss = lambda v: jnp.sum(ops.sample_surface(jax.random.key(3), mesh._replace(vertices=v), 50)[0] ** 2)
    run, vertices = jax.jit(jax.value_and_grad(loss)), np.asarray(mesh.vertices)
    d = np.random.default_rng(0).normal(size=vertices.shape).astype(np.float32) * np.float32(1e-3)
    # Areas must not change which faces are drawn: every vertex moves alike.
    d = np.broadcast_to(d[:1], d.shape)
    slope = (run(vertices + d)[0] - run(vertices - d)[0]) / 2
    np.testing.assert_allclose(np.vdot(run(vertices)[1], d), slope, rtol=1e-2)


def test_a_mesh_of_nothing_gives_points_of_nothing():
    mesh = cubify(np.zeros_like(blob(0)))
    f = lambda v: ops.sample_surface(jax.random.key(0), mesh._replace(vertices=v), 5)
    ones = (np.ones((5, 3), np.float32),) * 2
    found, (gradient,) = value_and_gradients(f, (mesh.vertices,), ones)
    assert not np.any(found)
    assert not np.any(gradient)


@pytest.mark.parametrize(("p", "q", "block"), [(7, 5, 1024), (300, 200, 64), (1, 1, 4)])
def test_the_nearest_is_that_of_a_kd_tree(p, q, block):
    rng = np.random.default_rng(p)
    points, others = rng.normal(size=(p, 3)).astype(np.float32), rng.normal(size=(q, 3)).astype(np.float32)
    distance, _ = cKDTree(others).query(points)
    near = np.asarray(jax.jit(partial(ops.nearest_points, block=block))(points, others))
    np.testing.assert_allclose(np.linalg.norm(points - others[near], axis=1), distance, atol=1e-5)


def test_what_is_no_grid_is_told():
    with pytest.raises(JaxsegError, match=r"cubify: probabilities of shape \(4, 4\) and 10 squares"):
        ops.cubify(np.zeros((4, 4), np.float32), squares=10)
    with pytest.raises(JaxsegError, match="65536 vertices; it knows up to 65535"):
        ops.mesh_neighbors(np.zeros((1, 3), np.int32), np.ones(1, bool), 65536)


def test_neighbors_of_the_largest_mesh():
    last = 65534
    neighbors = jax.jit(partial(ops.mesh_neighbors, count=last + 1, most=3))
    found = np.asarray(neighbors(np.array([[0, 1, last]]), np.ones(1, bool)))
    np.testing.assert_array_equal(found[np.array([0, 1, last])], [[1, last, 65535], [0, last, 65535], [0, 1, 65535]])
    assert (np.delete(found, [0, 1, last], axis=0) == 65535).all()
