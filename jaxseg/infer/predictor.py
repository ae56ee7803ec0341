"""From a trained run to predictions for pictures of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import ops
from jaxseg.config import Experiment
from jaxseg.train.evaluate import load_run


@dataclass(frozen=True)
class Predictor:
    """Class maps for pictures of any size, from an experiment and its variables.

    A picture goes through the experiment's ``prepare`` transform (so the network sees the scale it was trained on, and
    one compiled program serves every size); the logits are cut free of padding, enlarged bilinearly to the picture's
    own size, and the class of the highest is taken.
    """

    experiment: Experiment
    variables: Any

    @classmethod
    def load(cls, workdir: str | Path, which: str = "best") -> "Predictor":
        """The predictor of what ``jaxseg train`` left in ``workdir``: its best (or latest) checkpoint."""
        experiment, variables, _ = load_run(workdir, which)
        return cls(experiment, variables)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``image [H, W, 3]`` uint8 -> classes ``[H, W]`` int32."""
        return np.asarray(jnp.argmax(self.logits(image), axis=-1).astype(jnp.int32))

    def logits(self, image: np.ndarray) -> jax.Array:
        """``image [H, W, 3]`` uint8 -> logits ``[H, W, K]`` float32, at the picture's own size."""
        prepared = self.experiment.data.prepare({"image": image, "name": ""}, np.random.default_rng(0))
        pixels = np.asarray(prepared["image"], np.float32)
        logits = self._apply(self.variables, pixels[None])[0]
        h, w = prepared.get("size", pixels.shape[:2])
        return ops.resize_bilinear(logits[: int(h), : int(w)], image.shape[:2])

    @cached_property
    def _apply(self) -> Callable[[Any, Any], jax.Array]:
        def logits(variables: Any, images: jax.Array) -> jax.Array:
            outputs: Any = self.experiment.model.apply(variables, images, train=False)
            return outputs["logits"]

        return jax.jit(logits)
