"""Shapes in space compared: F1, chamfer distance and normal consistency of points on their surfaces."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.metrics.detections import original_boxes
from jaxseg.metrics.precision import average_precision, box_iou
from jaxseg.types import Batch, JaxsegError, Metric, Predictions

F1_AT = (0.1, 0.3, 0.5)
LONGEST = 10.0  # what the longest side of the true shape's box is made
SAMPLES = 10_000
RIGHT = 0.5  # F1 at 0.3 above which a detection is right


class Shape(NamedTuple):
    """A mesh on the host: ``vertices [V, 3]`` and ``faces [F, 3]``, places among them."""

    vertices: np.ndarray
    faces: np.ndarray


def surface_points(shape: Shape, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points ``[count, 3]`` evenly spread over the surface, and the unit normals ``[count, 3]`` of their faces.

    Raises JaxsegError of a shape without area.
    """
    v1, v2, v3 = (np.asarray(shape.vertices, np.float64)[shape.faces[:, i]] for i in range(3))
    across = np.cross(v2 - v1, v3 - v1)
    area = np.linalg.norm(across, axis=1)
    if not area.sum() > 0:
        raise JaxsegError(f"a shape of {len(shape.faces)} faces has no surface to draw points from")
    face = rng.choice(len(area), count, p=area / area.sum())
    a, b = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    points = (1 - a) * v1[face] + a * (1 - b) * v2[face] + a * b * v3[face]
    return points, across[face] / area[face][:, None]


def compare_shapes(found: Shape, truth: Shape, *, samples: int = SAMPLES, seed: int = 0) -> dict[str, float]:
    """``f1@0.1``, ``f1@0.3``, ``f1@0.5``, ``chamfer`` and ``normals`` of two shapes.

    Both are scaled so that the longest side of the true one's box is 10; ``samples`` points are drawn from each. F1 is
    the harmonic mean of the shares of points that lie within so much of the other surface's points; chamfer the sum of
    both mean square distances to the nearest; normals the mean of both mean |cosines| with the nearest one's normal
    (Gkioxari et al. 2019, section 4.1). A found shape without surface: F1 of 0, the others NaN.
    """
    from scipy.spatial import KDTree

    sides = truth.vertices[np.unique(truth.faces)]
    scale = LONGEST / np.max(np.ptp(sides, axis=0))
    rng = np.random.default_rng(seed)
    try:
        sampled = [surface_points(shape, samples, rng) for shape in (found, truth)]
    except JaxsegError:
        if not _has_surface(truth):
            raise
        return dict.fromkeys((f"f1@{t}" for t in F1_AT), 0.0) | {"chamfer": np.nan, "normals": np.nan}
    (points, normals), (true_points, true_normals) = sampled
    there, near = KDTree(true_points).query(points)
    back, near_back = KDTree(points).query(true_points)
    there, back = there * scale, back * scale
    scores = {}
    for t in F1_AT:
        precision, recall = np.mean(there < t), np.mean(back < t)
        scores[f"f1@{t}"] = float(2 * precision * recall / max(precision + recall, 1e-12))
    cosines = [np.abs(np.sum(n * m, axis=1)).mean() for n, m in
               ((normals, true_normals[near]), (true_normals, normals[near_back]))]  # fmt: skip
    return scores | {"chamfer": float(np.mean(there**2) + np.mean(back**2)), "normals": float(np.mean(cosines))}


def _has_surface(shape: Shape) -> bool:
    v1, v2, v3 = (shape.vertices[shape.faces[:, i]] for i in range(3))
    return bool(np.any(np.cross(v2 - v1, v3 - v1)))


def mesh_metric(truth: Callable[[int], Sequence[tuple[int, Shape]]], things: Sequence[str]) -> Metric:
    """How well shapes are found, in the original images' pixels.

    It runs on the host. ``update`` reads of the predictions ``boxes``, ``scores``, ``classes``, ``valid``, ``vertices``
    [B, D, V, 3], ``faces`` and ``face_valid`` [B, D, F, ...], of the batch ``index`` and ``matrix``. ``compute`` gives
    the means of :func:`compare_shapes` over all true shapes, each with the detection that lies on it best (an IoU of
    boxes of 0.5 or more; where there is none its F1 is 0 and the others know nothing of it), as ``mesh_f1@0.3`` and so
    on; ``mesh_found``, the share that has one; and ``mesh_ap``, the mean over classes of AP, a detection being right if
    its class is, and its F1 at 0.3 with a true shape that has no better is above 0.5 (section 4.2).

    Args:
        truth: of an image's place in the source: class, from 1, and shape of each object, in pixels.
    """

    def update(state: dict[int, Any], predictions: Predictions, batch: Batch) -> dict[int, Any]:
        judged = {}
        for row, place in enumerate(np.asarray(batch["index"]).tolist()):
            if place >= 0:
                part = {key: np.asarray(predictions[key][row]) for key in _KEYS}
                judged[place] = _judged(original_shapes(part, np.asarray(batch["matrix"][row])), truth(place))
        return state | judged

    return Metric(dict, update, lambda a, b: a | b, lambda state: _scores(list(state.values()), things), on_host=True)


_KEYS = ("boxes", "scores", "classes", "valid", "vertices", "faces", "face_valid")


class Detected(NamedTuple):
    """A detection with its shape, in the original image's pixels."""

    score: float
    kind: int
    box: np.ndarray
    shape: Shape


def original_shapes(part: dict[str, np.ndarray], matrix: np.ndarray) -> list[Detected]:
    """The valid detections of one image, best first."""
    boxes, (scale, shift) = original_boxes(part["boxes"], matrix), _move(matrix)
    found = []
    for n in np.flatnonzero(part["valid"]):
        faces = part["faces"][n][part["face_valid"][n]]
        shape = Shape((part["vertices"][n] - shift) / scale, faces)
        found.append(Detected(float(part["scores"][n]), int(part["classes"][n]), boxes[n], shape))
    return sorted(found, key=lambda d: -d.score)


def moved_shape(shape: Shape, matrix: np.ndarray) -> Shape:
    """A shape in the original image's pixels, in those of the image that ``matrix [2, 3]`` makes of it."""
    scale, shift = _move(matrix)
    return Shape(shape.vertices * scale + shift, shape.faces)


def _move(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By what x, y and z are scaled, depth as width and height are on average, and then shifted."""
    scale = np.array([matrix[0, 0], matrix[1, 1], np.sqrt(abs(matrix[0, 0] * matrix[1, 1]))])
    return scale, np.array([matrix[0, 2], matrix[1, 2], 0])


def _judged(found: list[Detected], truth: Sequence[tuple[int, Shape]]) -> Any:
    """Of one image: the numbers of each true shape, its class, and score, class and rightness of each detection."""
    compared = [[_compared(d, shape) for _, shape in truth] for d in found]
    numbers = []
    for t in range(len(truth)):
        overlaps = [iou for iou, _ in (row[t] for row in compared)]
        best = int(np.argmax(overlaps)) if overlaps and max(overlaps) >= 0.5 else None
        numbers.append(None if best is None else compared[best][t][1])
    records, used = [], set()
    for d, row in zip(found, compared):
        f1 = [s["f1@0.3"] if s and kind == d.kind else 0.0 for (_, s), (kind, _) in zip(row, truth, strict=True)]
        best = int(np.argmax(f1)) if f1 else -1
        right = best >= 0 and f1[best] > RIGHT and best not in used
        used |= {best} if right else set()
        records.append((d.score, d.kind, right))
    return numbers, [kind for kind, _ in truth], records


def _compared(found: Detected, truth: Shape) -> tuple[float, dict[str, float] | None]:
    """IoU of boxes and, where they meet, :func:`compare_shapes`."""
    frame = np.concatenate([truth.vertices.min(0)[:2], truth.vertices.max(0)[:2]])
    iou = float(box_iou(found.box, frame)[0, 0])
    return iou, compare_shapes(found.shape, truth) if iou > 0 else None


def _scores(images: list[Any], things: Sequence[str]) -> dict[str, Any]:
    numbers = [one for image in images for one in image[0]]
    kinds = [kind for image in images for kind in image[1]]
    records = sorted((record for image in images for record in image[2]), key=lambda record: -record[0])
    there = [one for one in numbers if one is not None]
    mean = lambda values: float(np.mean(values)) if len(values) else float("nan")
    scores: dict[str, Any] = {
        f"mesh_f1@{t}": mean([0.0 if one is None else one[f"f1@{t}"] for one in numbers]) for t in F1_AT
    }
    for name in ("chamfer", "normals"):
        scores[f"mesh_{name}"] = mean([one[name] for one in there if np.isfinite(one[name])])
    scores["mesh_found"] = len(there) / len(numbers) if numbers else float("nan")
    of = {}
    for k, name in enumerate(things, start=1):
        if k in kinds:
            right = np.array([right for _, kind, right in records if kind == k], bool)
            of[name] = average_precision(right, ~right, kinds.count(k), 101)
    return scores | {"mesh_ap": mean(list(of.values())), "mesh_ap_of": of}
