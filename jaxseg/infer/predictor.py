"""From trained runs to predictions for pictures of any size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.config import Experiment
from jaxseg.data import Pad
from jaxseg.infer.augment import average_views
from jaxseg.infer.bands import enlarged, label_map, mean
from jaxseg.infer.tiles import Tiles, tiled
from jaxseg.train.evaluate import load_run
from jaxseg.types import Array, JaxsegError


@dataclass(frozen=True)
class Predictor:
    """Class maps for pictures of any size, from an experiment and its variables.

    The whole picture at once (``tiles`` None): it goes through the experiment's ``prepare`` transform, so the network
    sees the scale it was trained on; the scores are cut free of padding and enlarged bilinearly to the picture's own
    size. Or in :class:`Tiles`, at its own resolution, without ``prepare``; ``scales=(0.5,)`` then shows the network
    each tile at half its size. A picture for which ``prepare`` has no room (:class:`jaxseg.data.Pad`) goes in tiles of
    its size unasked. Either way one compiled program serves every size of picture.

    ``scales`` and ``flip`` average the probabilities of several views (:func:`average_views`).
    """

    experiment: Experiment
    variables: Any
    tiles: Tiles | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    @classmethod
    def load(cls, workdir: str | Path, which: str = "best", **options: Any) -> "Predictor":
        """The predictor of what ``jaxseg train`` left in ``workdir``: its best (or latest) checkpoint. The data it was
        trained on need not be there. ``options``: the fields from ``tiles`` on."""
        experiment, variables, _ = load_run(workdir, which)
        return cls(experiment, variables, **options)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.experiment.data.val.classes)

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours of the classes."""
        return np.asarray(self.experiment.data.val.palette, np.uint8)

    def __call__(self, image: np.ndarray, watch: Callable[[int], None] | None = None) -> np.ndarray:
        """``image [H, W, 3]`` uint8 -> classes ``[H, W]`` int32. ``watch`` is told how many rows are done."""
        return label_map(self.bands(image), image.shape[:2], watch)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """``image [H, W, 3]`` uint8 -> ``[H, W, K]`` float32, which sum to 1 at every pixel."""
        return np.concatenate(list(self.bands(image)))

    def bands(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """The probabilities as bands of rows ``[h, W, K]``, from the top down: little memory for large pictures."""
        tiles = self.tiles or _needed_tiles(self.experiment.data.prepare, image.shape[:2])
        if tiles is not None:
            return tiled(partial(self._probabilities, self.variables), image, tiles)
        prepared = self.experiment.data.prepare({"image": image, "name": ""}, np.random.default_rng(0))
        pixels = np.asarray(prepared["image"], np.float32)
        scores = self._log_probabilities(self.variables, pixels[None])[0]
        if scores.shape[:2] != pixels.shape[:2]:
            given, scored = ("x".join(map(str, x.shape[:2])) for x in (pixels, scores))
            raise JaxsegError(f"the model scores only the middle {scored} of {given} pixels; predict in tiles")
        h, w = (int(side) for side in prepared.get("size", pixels.shape[:2]))
        return enlarged(scores, (h, w), image.shape[:2])

    @cached_property
    def _log_probabilities(self) -> Callable[[Any, Any], Array]:
        def log_probabilities(variables: Any, images: Array) -> Array:
            def logits(x: Array) -> Array:
                outputs: Any = self.experiment.model.apply(variables, x, train=False)
                return outputs["logits"]

            return average_views(logits, scales=self.scales, flip=self.flip)(images)

        return jax.jit(log_probabilities)

    @cached_property
    def _probabilities(self) -> Callable[[Any, Any], Array]:
        return jax.jit(lambda variables, images: jnp.exp(self._log_probabilities(variables, images)))


def _needed_tiles(prepare: Any, size: tuple[int, ...]) -> Tiles | None:
    """For a picture of ``size`` that ``prepare`` neither scales nor has room for."""
    room = prepare.size if isinstance(prepare, Pad) else None
    return None if room is None or all(n <= most for n, most in zip(size, room)) else Tiles(room)


@dataclass(frozen=True)
class Ensemble:
    """Several predictors as one: the mean of their probabilities (DeconvNet, Noh et al. 2015, section 4.4, joins
    itself and FCN-8s so). Each sees the picture as its own experiment prepares it. All must have the same classes.
    """

    predictors: tuple[Predictor, ...]

    def __post_init__(self) -> None:
        for other in self.predictors[1:]:
            if other.classes != self.classes:
                raise JaxsegError(
                    f"an ensemble needs the same classes in the same order; one has {', '.join(self.classes)} and "
                    f"another {', '.join(other.classes)}"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.predictors[0].classes

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours of the classes: those of the first predictor."""
        return self.predictors[0].palette

    def __call__(self, image: np.ndarray, watch: Callable[[int], None] | None = None) -> np.ndarray:
        """``image [H, W, 3]`` uint8 -> classes ``[H, W]`` int32. ``watch`` is told how many rows are done."""
        return label_map(self.bands(image), image.shape[:2], watch)

    def bands(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """As :meth:`Predictor.bands`."""
        return mean([predictor.bands(image) for predictor in self.predictors])
