"""From a trained detector to the instances in pictures of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import viz
from jaxseg.config import Experiment
from jaxseg.data import Cutouts, eval_batches
from jaxseg.metrics.detections import coco_keypoints, original_boxes, original_keypoints
from jaxseg.metrics.mesh import Shape, original_shapes
from jaxseg.metrics.paste import paste_mask
from jaxseg.metrics.rle import encode_rle
from jaxseg.train.evaluate import load_run
from jaxseg.types import Batch


class Found(NamedTuple):
    """The instances in a picture, best first: ``boxes [N, 4]`` in its own pixels, ``scores [N]``, ``classes [N]`` from
    1 and, of models that find them, ``masks``, :class:`jaxseg.data.Cutouts`, ``keypoints [N, P, 3]``, (x, y, 1), a
    caption each, and ``shapes``, meshes in the picture's pixels."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: Cutouts | None
    keypoints: np.ndarray | None = None
    captions: tuple[str, ...] | None = None
    shapes: tuple[Shape, ...] | None = None

    def above(self, score: float) -> "Found":
        """Those of that score or more."""
        count = int(np.sum(self.scores >= score))
        parts: Any = [None if part is None else part[:count] for part in self]
        return Found(*parts)


@dataclass(frozen=True)
class InstancePredictor:
    """Instances in pictures of any size, from an experiment and its variables.

    The picture goes through the experiment's ``prepare`` transform; boxes and masks come back to its own pixels. One
    compiled program serves every size (with :class:`jaxseg.data.ByAspect` one a canvas). ``min_score``: detections
    below it are left out.
    """

    experiment: Experiment
    variables: Any
    min_score: float = 0.5

    @classmethod
    def load(cls, workdir: str | Path, which: str = "best", **options: Any) -> "InstancePredictor":
        """The predictor of what ``jaxseg train`` left in ``workdir``: its best (or latest) checkpoint."""
        experiment, variables, _ = load_run(workdir, which)
        return cls(experiment, variables, **options)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names; class k of an instance is ``classes[k - 1]``."""
        return tuple(self.experiment.data.val.things)

    def __call__(self, image: np.ndarray) -> Found:
        """``image [H, W, 3]`` uint8 -> what is in it."""
        batch = one_picture(self.experiment, image)
        predictions = jax.device_get(self._predict(self.variables, batch))
        predictions["valid"] = predictions["valid"] & (predictions["scores"] >= self.min_score)
        seen = predictions["valid"][0]
        boxes = original_boxes(predictions["boxes"][0][seen], batch["matrix"][0])
        size = (image.shape[0], image.shape[1])
        masks = None
        if "masks" in predictions:
            pasted = [paste_mask(m, b, size) for m, b in zip(predictions["masks"][0][seen], boxes, strict=True)]
            masks = Cutouts(size, np.array([corner for _, corner in pasted]), [bitmap for bitmap, _ in pasted])
        clipped = np.clip(boxes, 0, [size[1], size[0]] * 2).astype(np.float32)
        points = predictions.get("keypoints")
        points = None if points is None else original_keypoints(points[0][seen], batch["matrix"][0])
        captions = shapes = None
        if "tokens" in predictions:
            decode = self.experiment.data.val.vocabulary.decode
            captions = tuple(decode(tokens) for tokens in predictions["tokens"][0][seen])
        if "vertices" in predictions:
            first = {key: value[0] for key, value in predictions.items()}
            shapes = tuple(detected.shape for detected in original_shapes(first, batch["matrix"][0]))
        scores, classes = predictions["scores"][0][seen], predictions["classes"][0][seen]
        return Found(clipped, scores, classes, masks, points, captions, shapes)

    def draw(self, image: np.ndarray, found: Found, width: int | None = None) -> np.ndarray:
        """The picture with what was found in it, of its own ``width`` or another."""
        names = found.captions or [self.classes[k - 1] for k in found.classes]
        names = [f"{name} {score:.2f}" for name, score in zip(names, found.scores, strict=True)]
        return viz.draw_instances(image, found.boxes, found.masks, names, keypoints=found.keypoints, width=width)

    def entries(self, found: Found) -> list[dict[str, Any]]:
        """What was found as a file's worth of plain values: class, score, ``bbox`` (xywh), ``segmentation`` (COCO's
        run lengths), ``keypoints`` (x, y and 1 of each, as COCO has them) and ``caption``."""
        entries = []
        for n, (box, score, kind) in enumerate(zip(found.boxes, found.scores, found.classes, strict=True)):
            x1, y1, x2, y2 = (float(v) for v in box)
            entry = {"class": self.classes[kind - 1], "score": float(score), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            if found.masks is not None:
                corner = (int(found.masks.corners[n, 0]), int(found.masks.corners[n, 1]))
                entry["segmentation"] = encode_rle(found.masks.bitmaps[n], corner, found.masks.size)
            if found.keypoints is not None:
                entry["keypoints"] = coco_keypoints(found.keypoints[n])
            if found.captions is not None:
                entry["caption"] = found.captions[n]
            entries.append(entry)
        return entries

    @cached_property
    def _predict(self) -> Callable[[Any, Any], Any]:
        return prediction_program(self.experiment)


def one_picture(experiment: Experiment, image: np.ndarray) -> Batch:
    """The batch that ``image [H, W, 3]`` uint8 alone makes."""
    sample = {"image": image, "name": ""}
    return next(eval_batches([sample], experiment.data.prepare, batch_size=1, num_threads=0))


def prediction_program(experiment: Experiment) -> Callable[[Any, Any], Any]:
    """``(variables, batch) -> predictions``, compiled."""

    def predict(variables: Any, batch: Any) -> Any:
        outputs: Any = experiment.model.apply(variables, *experiment.task.inputs(batch), train=False)
        return experiment.task.predict(outputs, batch)

    return jax.jit(predict)
