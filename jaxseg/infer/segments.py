"""From a trained panoptic network to the segments of pictures of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import viz
from jaxseg.config import Experiment
from jaxseg.data.panoptic import segments_info
from jaxseg.infer.instances import one_picture, prediction_program
from jaxseg.metrics.panoptic import Panoptic, original_panoptic
from jaxseg.train.evaluate import load_run


class FoundSegments(NamedTuple):
    """The segments of a picture, in its own pixels: ``panoptic``, and of each id its score (1 of stuff)."""

    panoptic: Panoptic
    scores: dict[int, float]


@dataclass(frozen=True)
class SegmentPredictor:
    """Segments of pictures of any size, from an experiment and its variables, as
    :class:`jaxseg.infer.InstancePredictor` finds instances."""

    experiment: Experiment
    variables: Any

    @classmethod
    def load(cls, workdir: str | Path, which: str = "best") -> "SegmentPredictor":
        """The predictor of what ``jaxseg train`` left in ``workdir``: its best (or latest) checkpoint."""
        experiment, variables, _ = load_run(workdir, which)
        return cls(experiment, variables)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of stuff and then things."""
        source = self.experiment.data.val
        return (*source.stuff, *source.things)

    def __call__(self, image: np.ndarray) -> FoundSegments:
        """``image [H, W, 3]`` uint8 -> what it is made of."""
        batch = one_picture(self.experiment, image)
        predictions = jax.device_get(self._predict(self.variables, batch))
        first = {key: predictions[key][0] for key in ("segments", "segment_classes", "segment_scores")}
        found = original_panoptic(first, {key: batch[key][0] for key in ("matrix", "original")})
        return FoundSegments(found, {i: float(first["segment_scores"][i - 1]) for i in found.classes})

    def draw(self, image: np.ndarray, found: FoundSegments, width: int | None = None) -> np.ndarray:
        """The picture with its segments, of its own ``width`` or another."""
        source, last = self.experiment.data.val, max(found.scores, default=0)
        kinds = [found.panoptic.classes.get(i, 0) for i in range(1, last + 1)]
        scores = [found.scores.get(i, 0.0) for i in range(1, last + 1)]
        names = {"stuff": source.stuff, "things": source.things, "palette": source.palette}
        return viz.draw_segments(image, found.panoptic.ids, kinds, scores, **names, width=width)

    def entries(self, found: FoundSegments) -> list[dict[str, Any]]:
        """COCO's ``segments_info``, with the name and the score of each; category ids count classes from 1."""
        entries = segments_info(found.panoptic, range(1, len(self.classes) + 1))
        return [{**e, "class": self.classes[e["category_id"] - 1], "score": found.scores[e["id"]]} for e in entries]

    @cached_property
    def _predict(self) -> Callable[[Any, Any], Any]:
        return prediction_program(self.experiment)
