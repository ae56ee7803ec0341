"""Mesh R-CNN: its graph convolutions against matrices, its targets against the shapes, and that its parts learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config, losses, ops
from jaxseg.data import eval_batches
from jaxseg.models.mesh_rcnn import GraphConv, MeshHead, Refinement, from_box, mesh_targets, to_box
from tests.helpers import variables_of


@pytest.fixture(scope="module")
def setting():
    e = config.load_config("mesh_rcnn_solids", tiny=True)
    batch = next(iter(eval_batches(e.data.val, e.data.prepare, batch_size=4, max_instances=2, mask_side=28)))
    return e, batch


@partial(jax.jit, static_argnames=("threshold", "squares"))
def mesh_and_neighbors(voxels, **settings):
    mesh = ops.cubify(voxels, **settings)
    return mesh, ops.mesh_neighbors(mesh.faces, mesh.face_valid, len(mesh.vertices))


def test_a_graph_convolution_is_a_product_with_the_adjacency():
    mesh, neighbors = mesh_and_neighbors(np.random.default_rng(0).random((4, 4, 4)), threshold=0.6, squares=200)
    count = len(mesh.vertices)
    adjacent = np.zeros((count, count + 1))
    for i, row in enumerate(np.asarray(neighbors)):
        adjacent[i, row] = 1
    adjacent = adjacent[:, :count]
    x = np.random.default_rng(1).normal(size=(count, 6)).astype(np.float32)
    layer = GraphConv(5)
    p = jax.eval_shape(layer.init, jax.random.key(0), x, neighbors)["params"]
    p = jax.tree.map(lambda a: np.random.default_rng(2).normal(size=a.shape).astype(np.float32), p)
    own, other = ({k: np.float64(v) for k, v in p[name].items()} for name in ("own", "neighbors"))
    expected = x @ own["kernel"] + own["bias"] + adjacent @ (x @ other["kernel"] + other["bias"])
    found = np.asarray(jax.jit(layer.apply)({"params": p}, x, neighbors))
    there = np.asarray(mesh.vertex_valid)
    np.testing.assert_allclose(found[there], expected[there], atol=1e-4)


def test_a_stage_begins_without_a_move_and_moves_by_one_at_most():
    region = np.random.default_rng(0).normal(size=(4, 4, 6)).astype(np.float32)
    mesh, neighbors = mesh_and_neighbors(np.ones((2, 2, 2), np.float32), squares=24)
    vertices = np.asarray(mesh.vertices)
    stage = Refinement(2, 8)
    variables = jax.jit(stage.init)(jax.random.key(0), region, vertices, None, neighbors)
    apply = jax.jit(stage.apply)
    np.testing.assert_array_equal(apply(variables, region, vertices, None, neighbors)[0], vertices)
    wild = jax.tree.map(lambda a: np.asarray(a) + 5, variables)
    moved, _ = apply(wild, region, vertices, None, neighbors)
    assert 0.5 < np.abs(moved - vertices).max() <= 1


def test_targets_of_the_true_box_are_the_shape_itself(setting):
    """In its own frame a solid fills -1 to 1, its voxels are the source's, its normals of length 1."""
    e, batch = setting
    truth = {k: jnp.asarray(v[0]) for k, v in batch["instances"].items()}
    side = truth["voxels"].shape[-1]
    found = jax.jit(partial(mesh_targets, side=side))(truth, truth["frames"], jnp.arange(2))
    n = int(truth["valid"].sum())
    shapes = e.data.val.shapes(0)
    for i in range(n):
        np.testing.assert_array_equal(found["true_voxels"][i], truth["voxels"][i])
        assert np.abs(found["true_points"][i]).max() < 1.0001
        vertices = shapes[i][1].vertices
        low, high = vertices.min(0), vertices.max(0)
        middle, half = (low + high) / 2, (high - low) / 2
        expected = (np.asarray(truth["points"][i]) - middle) / half
        np.testing.assert_allclose(found["true_points"][i], expected, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(found["true_normals"][i], axis=1), 1, atol=1e-5)
        ratio = (high[2] - low[2]) / (high[1] - low[1])
        np.testing.assert_allclose(found["true_depth"][i], np.log(ratio), atol=1e-4)
        # A plane keeps its points: a normal is at right angles to what lies on its face, in the new space too.
        tangent = np.cross(np.asarray(truth["normals"][i]), [0.3, 0.5, 0.7])
        np.testing.assert_allclose(np.sum(tangent / half * np.asarray(found["true_normals"][i]), axis=1), 0, atol=1e-5)


def test_half_a_box_sees_half_the_shape(setting):
    _, batch = setting
    truth = {k: v[0] for k, v in batch["instances"].items()}
    x1, y1, x2, y2 = truth["frames"][0]
    half = np.float32([[x1, y1, (x1 + x2) / 2, y2]])
    found = jax.jit(partial(mesh_targets, side=12))(truth, half, np.zeros(1, np.int32))
    whole = np.asarray(truth["voxels"][0])
    side = whole.shape[-1]
    left = whole[:, :, : side // 2].astype(float)
    blocks = left.reshape(12, side // 12, 12, side // 12, 12, side // 24).mean((1, 3, 5))
    agree = (np.asarray(found["true_voxels"][0]) > 0.5) == (blocks >= 0.5)
    assert agree.mean() > 0.9
    assert np.asarray(found["true_points"]).max() == pytest.approx(3, abs=0.1)


def test_into_a_box_and_back():
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    box, depth = jnp.array([3.0, 5.0, 23.0, 15.0]), jnp.float32(8.0)
    np.testing.assert_allclose(to_box(from_box(points, box, depth), box, depth), points, atol=1e-5)
    np.testing.assert_allclose(from_box(np.float32([[-1, 1, 1]]), box, depth), [[3, 15, 4]])


def test_every_part_of_the_head_learns_and_nothing_without_objects(setting):
    """The head by itself, on regions of noise and the true boxes, three times each."""
    e, batch = setting
    head, truth = e.model.heads["mesh"], batch["instances"]
    regions = np.random.default_rng(0).normal(size=(4, 6, 3, 3, 8)).astype(np.float32)
    positives = {k: np.tile(truth[k], (1, 3) + (1,) * (truth[k].ndim - 2)) for k in ("boxes", "classes", "valid")}
    found, positives["match"] = positives.copy(), np.tile(np.int32([0, 1]), (4, 3))
    predict = partial(head.apply, size=batch["image"].shape[1:3], method="predictions")

    class Fed:
        def init(self, key, x, train):
            return head.init(key, x, found, size=(64, 64), method="predictions")

    variables = variables_of(Fed(), regions)  # none is 0, behind which nothing would learn in the first step

    def loss(variables, regions, positives):
        rngs = {"sampling": jax.random.key(1)}
        outputs = head.apply(
            variables, regions, positives, truth, e.model.detector.config, rngs=rngs, method="training"
        )
        assert outputs["valid"].shape == (4, 2)  # MeshHead.learnt, of 6 regions of objects
        terms = losses.mesh_losses(**outputs)
        return sum(terms.values()), terms

    learn = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, terms), gradient = learn(variables, regions, positives)
    assert set(terms) == {"voxel", "depth", "chamfer", "normal", "edge"}
    assert all(float(term) > 0 for term in terms.values())
    for path, g in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.any(np.asarray(g)), jax.tree_util.keystr(path)
    (nothing, _), gradient = learn(variables, regions, {**positives, "valid": np.zeros_like(positives["valid"])})
    assert nothing == 0
    assert not any(np.asarray(g).any() for g in jax.tree.leaves(gradient))
    found["valid"][:, 4:] = False
    shapes = jax.jit(predict)(variables, regions, found)
    squares = 6 * 6**2
    assert shapes["faces"].shape == (4, 6, 2 * squares, 3)
    assert shapes["vertices"].shape == (4, 6, squares * 4 // 3, 3)
    assert np.isfinite(shapes["vertices"]).all()
    assert not np.asarray(shapes["face_valid"])[~found["valid"]].any()


@pytest.mark.slow
def test_all_parts_learn_and_nothing_without_objects(setting):
    e, batch = setting
    image, sizes, instances = e.task.inputs(batch)
    variables = variables_of(e.model, image)  # none is 0, behind which nothing would learn in the first step
    params = variables["params"]

    def loss(params, instances):
        outputs, _ = e.model.apply(
            {**variables, "params": params}, image, sizes, instances, train=True, mutable=["batch_stats"],
            rngs={"sampling": jax.random.key(1)},
        )  # fmt: skip
        assert outputs["mesh"]["valid"].shape == (len(image), 2)  # MeshHead.learnt, of 6 regions of objects
        terms = losses.mesh_losses(**outputs["mesh"])
        return sum(terms.values()), terms

    learn = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, terms), gradient = learn(params, instances)
    assert set(terms) == {"voxel", "depth", "chamfer", "normal", "edge"}
    assert all(float(term) > 0 for term in terms.values())
    for path, g in jax.tree_util.tree_leaves_with_path(gradient["heads_mesh"]):
        assert np.any(np.asarray(g)), jax.tree_util.keystr(path)
    (nothing, _), gradient = learn(params, {**instances, "valid": np.zeros_like(instances["valid"])})
    assert nothing == 0
    assert not any(np.asarray(g).any() for g in jax.tree.leaves(gradient))
    found = jax.jit(lambda p: e.model.apply({**variables, "params": p}, image, sizes))(params)
    squares = 6 * 6**2
    assert found["faces"].shape == (4, 4, 2 * squares, 3)
    assert found["vertices"].shape == (4, 4, squares * 4 // 3, 3)
    assert np.isfinite(found["vertices"]).all()
    assert not np.asarray(found["face_valid"])[~np.asarray(found["valid"])].any()


def test_the_papers_head():
    head = MeshHead(9)
    regions = jax.ShapeDtypeStruct((1, 2, 12, 12, 256), np.float32)
    found = {
        "boxes": jax.ShapeDtypeStruct((1, 2, 4), np.float32), "classes": jax.ShapeDtypeStruct((1, 2), np.int32),
        "valid": jax.ShapeDtypeStruct((1, 2), bool),
    }  # fmt: skip
    made = partial(head.init_with_output, jax.random.key(0), method="predictions", size=(64, 64))
    out, variables = jax.eval_shape(made, regions, found)
    assert out["faces"].shape == (1, 2, 2 * 6 * 24**2, 3)
    p = variables["params"]
    assert p["voxel_scores"]["kernel"].shape == (1, 1, 256, 24)
    assert p["refinements_1"]["graph_conv0"]["own"]["kernel"].shape == (128 + 128 + 3, 128)
    assert p["refinements_0"]["graph_conv0"]["own"]["kernel"].shape == (128 + 3, 128)
