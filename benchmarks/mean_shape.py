"""How well a mean shape does in place of Mesh R-CNN: of each class the voxels that most training solids fill, in the
true object's own box and depth, compared with the true shape as ``jaxseg.metrics.mesh_metric`` compares.

    python -m benchmarks.mean_shape [--workdir RUN]

It knows what the network has to find: class, box and depth. Beside it, the most that voxels can do: the surface of the
true ones. With ``--workdir``, a run of Mesh R-CNN, also its meshes, and mean shapes of its classes in the boxes and
depths of its meshes: what the run's shapes add to where they are.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from jaxseg import ops
from jaxseg.data import Solids
from jaxseg.infer import Found, InstancePredictor
from jaxseg.metrics import Shape, compare_shapes
from jaxseg.metrics.precision import box_iou


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=500, help="pictures that the means are taken of")
    parser.add_argument("--val", type=int, default=200, help="pictures that are judged")
    parser.add_argument("--voxels", type=int, default=12, help="a side of the true voxels")
    parser.add_argument("--workdir", help="a run whose meshes are judged too")
    arguments = parser.parse_args()
    train, val = Solids("train", length=arguments.train), Solids("val", length=arguments.val)
    shapes = [surface(voxels) for voxels in mean_voxels(train)]
    report("mean shapes, told where", val, lambda i: [placed(shapes[k - 1], *frame(true)) for k, true in val.shapes(i)])
    coarse = dataclasses.replace(val, voxels=arguments.voxels)

    def true_voxels(i: int) -> list[Shape]:
        both = zip(coarse[i]["instances"]["voxels"], val.shapes(i), strict=True)
        return [placed(surface(voxels), *frame(true)) for voxels, (_, true) in both]

    report(f"true voxels, {arguments.voxels} a side", val, true_voxels)
    if arguments.workdir:
        predictor = InstancePredictor.load(arguments.workdir, min_score=0.05)
        found = [predictor(val[i]["image"]) for i in range(len(val))]
        report("the run", val, lambda i: best(found[i], val.shapes(i), lambda shape, _: shape))
        report(
            "mean shapes where the run's are",
            val,
            lambda i: best(found[i], val.shapes(i), lambda shape, kind: placed(shapes[kind - 1], *frame(shape))),
        )


def report(name: str, val: Solids, guesses: Callable[[int], Sequence[Shape | None]]) -> None:
    """The mean over all true shapes of how well the guess for each does; with none, F1 is 0."""
    scores = []
    for i in range(len(val)):
        for guess, (_, true) in zip(guesses(i), val.shapes(i), strict=True):
            scores.append({} if guess is None else compare_shapes(guess, true))
    known = [s for s in scores if s]
    means = {key: np.sum([s[key] for s in known]) / len(scores if key[:2] == "f1" else known) for key in known[0]}
    print(f"{name:32}", "  ".join(f"{key} {value:.3f}" for key, value in means.items()))


@partial(jax.jit, static_argnames="squares")
def _smooth(voxels: jax.Array, squares: int) -> ops.Mesh:
    return ops.cubify(voxels, threshold=0.5, squares=squares, smooth=True)


def surface(voxels: np.ndarray) -> Shape:
    """Of the cube of -1 to 1."""
    mesh = jax.device_get(_smooth(voxels.astype(np.float32), 6 * len(voxels) ** 2))
    return Shape(mesh.vertices, mesh.faces[mesh.face_valid])


def best(found: Found, truth: list[tuple[int, Shape]], made: Callable[[Shape, int], Shape]) -> list[Shape | None]:
    """For each true shape what is ``made`` of the detection that lies on it best, by boxes, if at 0.5 or more."""
    shapes, guesses = found.shapes or (), []
    for _, true in truth:
        low, high = frame(true)
        overlaps = box_iou(found.boxes, np.concatenate([low[:2], high[:2]]))[:, 0]
        near = [n for n, shape in enumerate(shapes) if overlaps[n] >= 0.5 and len(shape.faces)]
        n = max(near, key=lambda n: overlaps[n], default=None)
        guesses.append(None if n is None else made(shapes[n], int(found.classes[n])))
    return guesses


def frame(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the box around it."""
    vertices = shape.vertices[np.unique(shape.faces)]
    return vertices.min(0), vertices.max(0)


def placed(shape: Shape, low: np.ndarray, high: np.ndarray) -> Shape:
    """A shape of the cube of -1 to 1 between two corners."""
    return Shape((low + high) / 2 + shape.vertices * (high - low) / 2, shape.faces)


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
