"""How well a mean shape does in place of Mesh R-CNN: of each class the voxels that most training solids fill, in the
true object's own box and depth, compared with the true shape as ``jaxseg.metrics.mesh_metric`` compares.

    python -m benchmarks.mean_shape

What it knows that the network has to find: class, box and depth.
"""

import argparse
from functools import partial

import jax
import numpy as np

from jaxseg import ops
from jaxseg.data import Solids
from jaxseg.metrics import Shape, compare_shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=500, help="pictures that the means are taken of")
    parser.add_argument("--val", type=int, default=200, help="pictures that are judged")
    arguments = parser.parse_args()
    train, val = Solids("train", length=arguments.train), Solids("val", length=arguments.val)
    means = mean_voxels(train)
    side = train.voxels
    surface = jax.jit(partial(ops.cubify, threshold=0.5, squares=6 * side**2, smooth=True))
    meshes = [jax.device_get(surface(voxels)) for voxels in means]
    scores = []
    for i in range(len(val)):
        for kind, truth in val.shapes(i):
            mesh = meshes[kind - 1]
            low, high = truth.vertices.min(0), truth.vertices.max(0)
            vertices = (low + high) / 2 + mesh.vertices * (high - low) / 2
            scores.append(compare_shapes(Shape(vertices, mesh.faces[mesh.face_valid]), truth))
    for name in scores[0]:
        print(f"{name:8} {np.mean([s[name] for s in scores]):.4f}")


def mean_voxels(source: Solids) -> np.ndarray:
    """``[K, M, M, M]``: of each class the share of its solids that fill each voxel of their own box."""
    sums, counts = np.zeros((len(source.things), *[source.voxels] * 3)), np.zeros(len(source.things))
    for i in range(len(source)):
        instances = source[i]["instances"]
        for kind, voxels in zip(instances["classes"], instances["voxels"]):
            sums[kind - 1] += voxels
            counts[kind - 1] += 1
    return (sums / np.maximum(counts, 1)[:, None, None, None]).astype(np.float32)


if __name__ == "__main__":
    main()
