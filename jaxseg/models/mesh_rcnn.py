"""Mesh R-CNN (Gkioxari, Malik & Johnson 2019): Mask R-CNN that tells of each object its shape in space.

Followed: a voxel branch scores a grid of G^3 cells, its depth in the channels of a map, by four 3x3 convolutions, a
transposed one and a 1x1 (section 3.2.1); its surface is a mesh (:func:`jaxseg.ops.cubify`), which three stages refine,
each by reading the region's features where its vertices lie, three graph convolutions ``relu(W0 f_i + sum_j W1 f_j)``
and a move of every vertex, ``tanh(W [f_i, v_i])`` (3.2.2); losses of voxels and, on points drawn from the surfaces of
all stages, chamfer, normals and edges (3.3); how deep the object is, relative to its height, by two layers of 1024
(appendix). Layers begin as in the authors' code.

An object's space is its box: x and y of -1 to 1 across it, and z, away from the viewer, of -1 to 1 over its depth. So
what the network learns depends on no camera, as in the paper, where it is a frustum. Predicted vertices are in pixels
in all three directions: what is z pixels behind another lies as far behind it as z pixels are wide at the object.

Departs: one RoIAlign of 12x12 serves voxels, vertices and depth, where the paper has one of 12, 14 and 7. Nothing is
known beyond the box that a region has, so of objects cut off by it the rest is not learnt.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import losses, ops
from jaxseg.models.faster_rcnn import faster_rcnn
from jaxseg.models.mask_rcnn import MaskHead
from jaxseg.models.region_heads import RegionHeads
from jaxseg.nn import ResNet50, ResNet101
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.layers import Conv, ConvTranspose, NormKind
from jaxseg.nn.rcnn_config import GKIOXARI_2019, RCNNConfig
from jaxseg.nn.roi_heads import TwoFC, flattened
from jaxseg.types import Array, example_indices

MOST_DEPTH = 62.5  # times an object's height; as transforms of boxes have it


class GraphConv(nn.Module):
    """``W0 f_i + b0 + sum_j (W1 f_j + b1)`` over neighbours j: ``[V, C]`` and ``[V, N]`` -> ``[V, features]``."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, neighbors: Array) -> Array:
        dense = partial(nn.Dense, self.features, dtype=self.dtype, kernel_init=nn.initializers.normal(0.01))
        return dense(name="own")(x) + ops.neighbor_sum(dense(name="neighbors")(x), neighbors)


class Refinement(nn.Module):
    """A stage: vertices ``[V, 3]`` and what the stage before knew of them -> vertices, and what is known now."""

    convs: int
    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, region: Array, vertices: Array, known: Array | None, neighbors: Array) -> tuple[Array, Array]:
        dense = partial(nn.Dense, dtype=self.dtype)
        seen = ops.vertex_align(region.astype(jnp.float32), vertices).astype(self.dtype)
        seen = nn.relu(dense(self.features, kernel_init=nn.initializers.normal(0.01), name="bottleneck")(seen))
        place = vertices.astype(self.dtype)
        x = jnp.concatenate([seen, place] if known is None else [known, seen, place], axis=-1)
        known = seen
        for i in range(self.convs):
            known = nn.relu(GraphConv(self.features, self.dtype, name=f"graph_conv{i}")(x, neighbors))
            x = jnp.concatenate([known, place], axis=-1)
        move = dense(3, kernel_init=nn.initializers.zeros_init(), name="offset")(x)
        return vertices + jnp.tanh(move.astype(jnp.float32)), known


class MeshHead(nn.Module):
    """Tells the shape of what is in a region ``[R, h, h, C]``; one of :class:`jaxseg.models.RegionHeads`.

    Predicts of D objects ``vertices [B, D, V, 3]`` in pixels, z from 0 in the middle of its depth, ``faces [B, D, F,
    3]``, ``face_valid [B, D, F]`` and ``vertex_valid [B, D, V]``. In training, what
    :func:`jaxseg.losses.mesh_losses` takes, for which targets hold ``voxels [B, N, M, M, M]`` (z, y, x), which fill
    ``frames [B, N, 4]``, boxes, and ``depths [B, N]``, in pixels; ``points`` and ``normals [B, N, m, 3]``.

    ``squares``: how large a surface there is room for (:func:`jaxseg.ops.cubify`); by default that of a solid cube.
    ``samples``: points drawn from each surface. Regions whose true points lie farther than ``farthest`` from the middle
    of the region's box count for nothing (the authors' GT_COORD_THRESH). ``smooth``: see ``cubify``. ``learnt``: of an
    image's regions that hold an object, all of which other heads learn from, so many are learnt from; by default all.
    """

    num_classes: int
    convs: int = 4
    channels: int = 256
    stages: int = 3
    graph_convs: int = 3
    graph_features: int = 128
    depth_features: int = 1024
    threshold: float = 0.2
    squares: int | None = None
    smooth: bool = False
    samples: int = 5000
    farthest: float = 5.0
    learnt: int | None = None
    dtype: Any = jnp.float32
    region_size: int = 12

    def setup(self) -> None:
        side = 2 * self.region_size
        self.room = self.squares or 6 * side**2
        self.voxel_convs = [ConvNorm(self.channels, norm="none", dtype=self.dtype) for _ in range(self.convs)]
        self.voxel_up = ConvTranspose(self.channels, 2, 2, dtype=self.dtype)
        self.voxel_scores = Conv(side, 1, dtype=self.dtype, kernel_init=nn.initializers.normal(0.001))
        self.depth_layers = TwoFC(self.depth_features, dtype=self.dtype)
        self.depth_scores = nn.Dense(self.num_classes, dtype=self.dtype, kernel_init=nn.initializers.normal(0.001))
        self.refinements = [Refinement(self.graph_convs, self.graph_features, self.dtype) for _ in range(self.stages)]

    def training(
        self, regions: Array, positives: dict[str, Array], targets: Any, config: RCNNConfig
    ) -> dict[str, Array]:
        del config
        regions, positives = jax.tree.map(lambda x: x[:, : self.learnt], (regions, positives))
        voxels, depth = flattened(partial(self._voxels_and_depth, train=True), regions, positives["classes"].ravel())
        meshes = self._meshes(regions, voxels)
        b, p = positives["valid"].shape
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("sampling"), example_indices(b))
        keys = jax.vmap(lambda key: jax.random.split(key, p))(keys)
        sample = jax.vmap(jax.vmap(partial(ops.sample_surface, count=self.samples)))
        drawn = [sample(keys, mesh) for mesh, _ in meshes]
        edges = [jax.vmap(jax.vmap(losses.edge_loss))(mesh.vertices, neighbors) for mesh, neighbors in meshes]
        true = jax.vmap(partial(mesh_targets, side=voxels.shape[-1]))(targets, positives["boxes"], positives["match"])
        near = jnp.max(jnp.abs(true["true_points"]), axis=(2, 3)) <= self.farthest
        return {
            "voxels": voxels,
            "depth": depth,
            "points": jnp.stack([points for points, _ in drawn]),
            "normals": jnp.stack([normals for _, normals in drawn]),
            "edges": jnp.stack(edges),
            "valid": positives["valid"],
            "found": meshes[0][0].face_valid.any(-1) & near,
            **true,
        }

    def predictions(self, regions: Array, found: dict[str, Array], size: tuple[int, ...]) -> dict[str, Array]:
        del size
        voxels, depth = flattened(partial(self._voxels_and_depth, train=False), regions, found["classes"].ravel())
        mesh, _ = self._meshes(regions, voxels)[-1]
        height = found["boxes"][..., 3] - found["boxes"][..., 1]
        depth = height * jnp.exp(jnp.minimum(depth, jnp.log(MOST_DEPTH)))
        vertices = jax.vmap(jax.vmap(from_box))(mesh.vertices, found["boxes"], depth)
        seen = found["valid"][..., None]
        return {
            "vertices": jnp.where((seen & mesh.vertex_valid)[..., None], vertices, 0),
            "faces": mesh.faces,
            "face_valid": seen & mesh.face_valid,
            "vertex_valid": seen & mesh.vertex_valid,
        }

    def _voxels_and_depth(self, x: Array, classes: Array, *, train: bool) -> tuple[Array, Array]:
        """Of regions ``[R, h, h, C]`` logits ``[R, G, G, G]`` (z, y, x), and of their classes the logarithm ``[R]`` of
        depth over height."""
        y = x
        for conv in self.voxel_convs:
            y = conv(y, train)
        voxels = self.voxel_scores(nn.relu(self.voxel_up(y))).astype(jnp.float32)
        depths = self.depth_scores(self.depth_layers(x, train)).astype(jnp.float32)
        depth = jnp.take_along_axis(depths, jnp.maximum(classes - 1, 0)[:, None], axis=1)[:, 0]
        return voxels.transpose(0, 3, 1, 2), depth

    def _meshes(self, regions: Array, voxels: Array) -> list[tuple[ops.Mesh, Array]]:
        """Each stage's meshes ``[B, P, ...]`` in their boxes' space, with their neighbours ``[B, P, V, N]``."""
        make = partial(ops.cubify, threshold=self.threshold, squares=self.room, smooth=self.smooth)
        over_regions = lambda f: jax.vmap(jax.vmap(f))
        mesh = over_regions(make)(nn.sigmoid(voxels))
        count = mesh.vertices.shape[2]
        neighbors = over_regions(partial(ops.mesh_neighbors, count=count))(mesh.faces, mesh.face_valid)
        known, meshes = None, []
        for stage in self.refinements:
            vertices, known = self._refined(stage, regions, mesh.vertices, known, neighbors)
            mesh = mesh._replace(vertices=jnp.where(mesh.vertex_valid[..., None], vertices, 0))
            meshes.append((mesh, neighbors))
        return meshes

    def _refined(
        self, stage: Refinement, regions: Array, vertices: Array, known: Array | None, neighbors: Array
    ) -> tuple[Array, Array]:
        """``stage`` of every region ``[B, P, ...]``, its parameters shared."""
        axes: Any = (0, 0, None if known is None else 0, 0)
        shared = partial(nn.vmap, variable_axes={"params": None}, split_rngs={"params": False}, in_axes=axes)
        mapped: Any = shared(shared(lambda module, *x: module(*x)))
        return mapped(stage, regions, vertices, known, neighbors)


def mesh_targets(targets: Any, boxes: Array, match: Array, *, side: int) -> dict[str, Array]:
    """Of one image, for ``boxes [P, 4]`` and the instances ``match [P]``: ``true_voxels [P, G, G, G]``,
    ``true_depth [P]``, and ``true_points`` and ``true_normals [P, m, 3]`` in the boxes' space."""
    cut = partial(ops.crop_masks, aligned=True)
    over_depth = jax.vmap(lambda slices: cut(slices, targets["frames"], boxes, match, side))
    voxels = over_depth(targets["voxels"].astype(jnp.float32).swapaxes(0, 1)).swapaxes(0, 1)  # [P, M, G, G]
    depths = targets["depths"].astype(jnp.float32)[match]
    height = boxes[:, 3] - boxes[:, 1]
    ratio = jnp.where((depths > 0) & (height > 0), depths / jnp.where(height > 0, height, 1), 1)
    points = jax.vmap(to_box)(targets["points"][match], boxes, depths)
    half = jnp.concatenate([(boxes[:, 2:] - boxes[:, :2]) / 2, depths[:, None] / 2], axis=1)
    return {
        "true_voxels": (_resampled(voxels, side) >= 0.5).astype(jnp.float32),
        "true_depth": jnp.log(ratio),
        "true_points": points,
        "true_normals": ops.unit(targets["normals"][match] * half[:, None]),
    }


def _resampled(voxels: Array, side: int) -> Array:
    """``[P, M, G, G]`` -> ``[P, G, G, G]``, linearly along the depth."""
    if voxels.shape[1] == side:
        return voxels
    resize = lambda v: ops.resize_bilinear(v.reshape(v.shape[0], -1, 1), (side, v.shape[1] * v.shape[2]))
    return jax.vmap(lambda v: resize(v).reshape(side, *v.shape[1:]))(voxels)


def to_box(points: Array, box: Array, depth: Array) -> Array:
    """``[n, 3]`` in pixels -> -1 to 1 across ``box [4]`` and over ``depth``."""
    half, middle = _space(box, depth)
    return (points - middle[None]) / jnp.where(half > 0, half, 1)[None]


def from_box(points: Array, box: Array, depth: Array) -> Array:
    """The inverse of :func:`to_box`."""
    half, middle = _space(box, depth)
    return points * half[None] + middle[None]


def _space(box: Array, depth: Array) -> tuple[Array, Array]:
    half = jnp.append((box[2:] - box[:2]) / 2, depth / 2)
    return half, jnp.append((box[2:] + box[:2]) / 2, jnp.zeros((), half.dtype))


def mesh_rcnn(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = GKIOXARI_2019,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> RegionHeads:
    """The paper's network for Pix3D: boxes, masks and meshes."""
    heads = {"mask": MaskHead(num_classes, normal=config.normal_predictor, dtype=dtype)}
    heads |= {"mesh": MeshHead(num_classes, dtype=dtype)}
    return RegionHeads(faster_rcnn(num_classes, resnet, config, norm=norm, dtype=dtype), heads)


MeshRCNNResNet50 = partial(mesh_rcnn, resnet=ResNet50)
MeshRCNNResNet101 = partial(mesh_rcnn, resnet=ResNet101)
