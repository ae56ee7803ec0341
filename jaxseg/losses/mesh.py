"""Losses of meshes, between points on two surfaces (Gkioxari et al. 2019, section 3.3)."""

import jax
import jax.numpy as jnp

from jaxseg import ops
from jaxseg.losses.box import smooth_l1
from jaxseg.losses.reduce import weighted_mean
from jaxseg.types import Array, JaxsegError


def chamfer_loss(points: Array, normals: Array, true_points: Array, true_normals: Array) -> tuple[Array, Array]:
    """Of one mesh: how far each point is from the nearest of the other surface's, and how the normals there differ.

    ``chamfer = mean_p |p - near(p)|^2 + mean_q |q - near(q)|^2`` (equation 2) and ``normal = mean_p (1 - |n_p . n|) +
    mean_q (1 - |n_q . n|)`` (equation 3, but for a constant), n the normal of the nearest.

    Args:
      points, normals: ``[P, 3]``; true_points, true_normals: ``[Q, 3]``. Normals are of length 1.
    """
    if points.shape != normals.shape or true_points.shape != true_normals.shape or points.ndim != 2:
        raise JaxsegError(
            f"chamfer_loss: points {points.shape} with normals {normals.shape}, true points {true_points.shape} with "
            f"normals {true_normals.shape}; expected [P, 3] twice and [Q, 3] twice"
        )
    total = [jnp.zeros(()), jnp.zeros(())]
    sides = ((points, normals), (true_points, true_normals))
    for (here, turned), (there, facing) in (sides, sides[::-1]):
        near = ops.nearest_points(here, there)
        total[0] += jnp.mean(jnp.sum((here - there[near]) ** 2, axis=1))
        total[1] += jnp.mean(1 - jnp.abs(jnp.sum(turned * facing[near], axis=1)))
    return total[0], total[1]


def edge_loss(vertices: Array, neighbors: Array) -> Array:
    """The mean square length of a mesh's edges (equation 4): keeps faces from degenerating.

    Args:
      vertices: ``[V, 3]``; neighbors: ``[V, N]``, V for none (:func:`jaxseg.ops.mesh_neighbors`).
    """
    there = neighbors < len(vertices)
    other = vertices[jnp.minimum(neighbors, len(vertices) - 1)]
    square = jnp.where(there, jnp.sum((vertices[:, None] - other) ** 2, axis=-1), 0)
    return jnp.sum(square) / jnp.maximum(jnp.sum(there.astype(jnp.float32)), 1)


def mesh_losses(
    voxels: Array,
    true_voxels: Array,
    depth: Array,
    true_depth: Array,
    points: Array,
    normals: Array,
    edges: Array,
    true_points: Array,
    true_normals: Array,
    valid: Array,
    found: Array,
) -> dict[str, Array]:
    """The losses of :class:`jaxseg.models.MeshHead`, each a mean over valid regions: ``voxel``, binary cross-entropy;
    ``depth``, smooth L1; ``chamfer``, ``normal`` and ``edge``, sums over S stages of refinement.

    Args:
      voxels, true_voxels: ``[B, P, G, G, G]``, logits and 0 to 1.
      depth, true_depth: ``[B, P]``, logarithms.
      points, normals: ``[S, B, P, n, 3]``, of each stage's surface; edges: ``[S, B, P]``, :func:`edge_loss`.
      true_points, true_normals: ``[B, P, m, 3]``.
      valid: ``[B, P]``: positive RoIs; found: ``[B, P]``: those of them that have a surface.
    """
    v = valid[..., None, None, None]
    z, t = (jnp.where(v, x, 0).astype(jnp.float32) for x in (voxels, true_voxels))
    terms = {
        "voxel": weighted_mean(jnp.mean(jax.nn.softplus(z) - t * z, axis=(2, 3, 4)), valid),
        "depth": smooth_l1(depth[..., None], true_depth[..., None], valid),
    }
    counts = (valid & found)[..., None, None]
    points, normals = (jnp.where(counts[None], x, 0) for x in (points, normals))
    true_points, true_normals = (jnp.where(counts, x, 0) for x in (true_points, true_normals))
    over_stages = jax.vmap(jax.vmap(jax.vmap(chamfer_loss)), in_axes=(0, 0, None, None))
    far, turned = over_stages(points, normals, true_points, true_normals)
    edges = jnp.where(counts[None, ..., 0, 0], edges, 0)
    for name, value in (("chamfer", far), ("normal", turned), ("edge", edges)):
        terms[name] = weighted_mean(jnp.sum(value, axis=0), valid & found)
    return terms
