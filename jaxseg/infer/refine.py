"""Predictions refined by a dense CRF, so that labels end where the picture's colours do (DeepLab, Chen et al. 2015)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.config import Experiment
from jaxseg.infer.bands import label_map
from jaxseg.infer.predictor import Ensemble, Predictor
from jaxseg.ops import Bilateral, Gaussian, dense_crf, unary_from_probabilities
from jaxseg.train.checkpoint import write_json
from jaxseg.types import Array, Batch, JaxsegError

FILE = "crf.json"
"""Where a run's folder keeps the settings that a search found best."""


@dataclass(frozen=True)
class CRF:
    """Settings of the refinement, with pydensecrf's usual values: a bilateral term of ``sxy`` pixels, ``srgb`` steps of
    colour and ``weight``, a Gaussian one of ``smooth_sxy`` pixels and ``smooth_weight``, and ``iterations``."""

    sxy: float = 80.0
    srgb: float = 13.0
    weight: float = 10.0
    smooth_sxy: float = 3.0
    smooth_weight: float = 3.0
    iterations: int = 5

    def __call__(self, probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
        """``[H, W, K]`` and ``image [H, W, 3]`` in 0..255 -> refined probabilities ``[H, W, K]`` float32."""
        crf = dense_crf(
            unary_from_probabilities(jnp.asarray(probabilities)),
            jnp.asarray(image),
            iterations=self.iterations,
            gaussian=Gaussian(self.smooth_sxy, self.smooth_weight),
            bilateral=Bilateral(self.sxy, self.srgb, self.weight),
        )
        return np.asarray(crf.q)

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "CRF":
        """Raises JaxsegError where the file is not there or holds something else."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise JaxsegError(
                f"{path} holds no settings of a CRF ({error}); expected JSON with {', '.join(asdict(cls()))}"
            ) from None


@dataclass(frozen=True)
class Refined:
    """A predictor (or several) and a CRF after it. It needs the whole picture at once: about 600 bytes a pixel."""

    predictor: Predictor | Ensemble
    crf: CRF

    @property
    def classes(self) -> tuple[str, ...]:
        return self.predictor.classes

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours of the classes."""
        return self.predictor.palette

    def __call__(self, image: np.ndarray, watch: Callable[[int], None] | None = None) -> np.ndarray:
        """``image [H, W, 3]`` uint8 -> classes ``[H, W]`` int32. ``watch`` is told how many rows are done."""
        return label_map(self.bands(image), image.shape[:2], watch)

    def bands(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """As :meth:`Predictor.bands`, all in one."""
        yield self.crf(np.concatenate(list(self.predictor.bands(image))), image)


def probabilities_of(model: nn.Module) -> Callable[[Any, Any], Array]:
    """``(variables, images [B, H, W, 3]) -> [B, H, W, K]`` of a model that scores every pixel, as a CRF needs it."""

    @jax.jit
    def probabilities(variables: Any, images: Array) -> Array:
        outputs: Any = model.apply(variables, images, train=False)
        logits = outputs["logits"]
        if logits.shape[:-1] != images.shape[:-1]:
            raise JaxsegError(f"the model scores {logits.shape[1:3]} of {images.shape[1:3]} pixels; a CRF needs all")
        return jax.nn.softmax(logits.astype(jnp.float32))

    return probabilities


def refined_eval_step(experiment: Experiment, crf: CRF) -> Callable[[Any, Any, Batch], tuple[Any, Any]]:
    """``(variables, metric state, batch) -> (metric state, predictions)`` of semantic segmentation, each image refined
    at the size that it is scored at; for :func:`jaxseg.train.evaluate.evaluate`."""
    probabilities, update = probabilities_of(experiment.model), jax.jit(experiment.task.metric.update)

    def step(variables: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        scores, images, sizes = (
            np.asarray(x) for x in (probabilities(variables, batch["image"]), batch["image"], batch["size"])
        )
        label = scores.argmax(-1).astype(np.int32)
        for i in np.flatnonzero(batch["valid"]):
            h, w = sizes[i]
            label[i, :h, :w] = crf(scores[i, :h, :w], 255 * images[i, :h, :w]).argmax(-1)
        predictions = {"label": jnp.asarray(label)}
        if experiment.task.metric.on_host:
            return state, predictions
        return update(state, predictions, batch), predictions

    return step
