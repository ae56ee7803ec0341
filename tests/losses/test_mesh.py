"""Losses of meshes against a k-d tree and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree

from jaxseg import losses, ops
from jaxseg.types import JaxsegError


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    draw = lambda n: (rng.normal(size=(n, 3)).astype(np.float32), unit(rng.normal(size=(n, 3))))
    return (*draw(40), *draw(25))


def by_tree(p, n, q, m):
    near, back = KDTree(q).query(p)[1], KDTree(p).query(q)[1]
    far = ((p - q[near]) ** 2).sum(1).mean() + ((q - p[back]) ** 2).sum(1).mean()
    cosine = lambda a, b: 1 - np.abs((a * b).sum(1))
    return far, cosine(n, m[near]).mean() + cosine(m, n[back]).mean()


def test_chamfer_and_normals(clouds):
    found = jax.jit(losses.chamfer_loss)(*clouds)
    np.testing.assert_allclose(found, by_tree(*clouds), rtol=1e-5)
    gradient = jax.grad(lambda p: losses.chamfer_loss(p, *clouds[1:])[0])(jnp.asarray(clouds[0]))
    d = np.random.default_rng(1).normal(size=gradient.shape).astype(np.float32)
    ends = [by_tree(clouds[0].astype(np.float64) + s * 1e-4 * d, *clouds[1:])[0] for s in (1, -1)]
    np.testing.assert_allclose(np.vdot(gradient, d), (ends[0] - ends[1]) / 2e-4, rtol=1e-3)
    same = losses.chamfer_loss(*clouds[:2], *clouds[:2])
    np.testing.assert_allclose(same, 0, atol=1e-5)


def test_edges_of_a_cube():
    """Of one voxel: twelve sides of length 2 and six diagonals."""

    @jax.jit
    def loss(voxels):
        mesh = ops.cubify(voxels, squares=10)
        return losses.edge_loss(mesh.vertices, ops.mesh_neighbors(mesh.faces, mesh.face_valid, len(mesh.vertices)))

    np.testing.assert_allclose(loss(np.ones((1, 1, 1), np.float32)), (12 * 4 + 6 * 8) / 18, rtol=1e-6)
    assert losses.edge_loss(np.zeros((4, 3), np.float32), np.full((4, 5), 4)) == 0


def batch(valid, found):
    rng = np.random.default_rng(0)
    b, p, g, n, stages = 2, 3, 4, 10, 2
    return {
        "voxels": rng.normal(size=(b, p, g, g, g)).astype(np.float32),
        "true_voxels": (rng.random((b, p, g, g, g)) > 0.5).astype(np.float32),
        "depth": rng.normal(size=(b, p)).astype(np.float32),
        "true_depth": rng.normal(size=(b, p)).astype(np.float32),
        "points": rng.normal(size=(stages, b, p, n, 3)).astype(np.float32),
        "normals": unit(rng.normal(size=(stages, b, p, n, 3))),
        "edges": rng.random((stages, b, p)).astype(np.float32),
        "true_points": rng.normal(size=(b, p, n + 2, 3)).astype(np.float32),
        "true_normals": unit(rng.normal(size=(b, p, n + 2, 3))),
        "valid": valid,
        "found": found,
    }


VALID = np.array([[True, True, False], [False, True, True]])
FOUND = np.array([[True, False, True], [True, True, True]])


def test_means_over_regions():
    given = batch(VALID, FOUND)
    terms = jax.jit(losses.mesh_losses)(**given)
    x, t = (given[k][VALID].astype(np.float64) for k in ("voxels", "true_voxels"))
    np.testing.assert_allclose(terms["voxel"], (np.log1p(np.exp(x)) - t * x).mean(), rtol=1e-5)
    d = np.abs(given["depth"] - given["true_depth"])[VALID]
    np.testing.assert_allclose(terms["depth"], np.where(d < 1, d * d / 2, d - 0.5).mean(), rtol=1e-5)
    there = np.argwhere(VALID & FOUND)
    pairs = np.array(
        [[by_tree(given["points"][s][*i], given["normals"][s][*i], given["true_points"][*i], given["true_normals"][*i])
          for s in range(2)] for i in there]
    )  # fmt: skip
    np.testing.assert_allclose([terms["chamfer"], terms["normal"]], pairs.sum(1).mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["edge"], given["edges"][:, VALID & FOUND].sum(0).mean(), rtol=1e-6)


def test_regions_that_are_none_change_nothing():
    given = batch(VALID, FOUND)
    spoilt = given | {
        key: np.where(VALID.reshape(2, 3, *[1] * (given[key].ndim - 2)), given[key], np.nan)
        for key in ("voxels", "depth", "true_points")
    }
    jax.tree.map(np.testing.assert_array_equal, losses.mesh_losses(**spoilt), losses.mesh_losses(**given))
    nothing = batch(np.zeros((2, 3), bool), FOUND) | {"voxels": np.full((2, 3, 4, 4, 4), np.nan, np.float32)}
    total = lambda v, p: sum(losses.mesh_losses(**nothing | {"voxels": v, "points": p}).values())
    given = (jnp.asarray(nothing["voxels"]), jnp.asarray(nothing["points"]))
    value, gradients = jax.value_and_grad(total, (0, 1))(*given)
    assert value == 0
    assert not any(np.asarray(g).any() for g in gradients)


def test_shapes_are_told(clouds):
    with pytest.raises(JaxsegError, match=r"chamfer_loss: points \(40, 3\) with normals \(25, 3\)"):
        losses.chamfer_loss(clouds[0], clouds[3], *clouds[2:])
