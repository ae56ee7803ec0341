"""Search of the CRF's settings on validation images, as DeepLab did it: the network's weights stay as they are.

``python -m jaxseg.infer.crf_search --workdir RUN [--images 20] [--sxy 30 50 80] [--srgb 3 5 13] [--weight 1 3 5 10]
[--smooth-sxy 3] [--smooth-weight 3]``

Scores the first validation images with every combination of the bilateral term's width in pixels, its width in colour
and its weight, prints mIoU from the best down, the network's own among them, and writes the best settings to
``RUN/crf.json``, where ``jaxseg predict --crf`` and ``jaxseg eval --crf`` find them. (Chen et al. 2015, section 5.1:
100 images, weight 5 to 10, sxy 50 to 100, srgb 3 to 10, the Gaussian term fixed at 3 pixels and 3, 10 iterations.)
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.infer.refine import CRF, FILE, probabilities_of
from jaxseg.metrics import segmentation_metric
from jaxseg.ops import Bilateral, Gaussian, dense_crf, unary_from_probabilities
from jaxseg.train.evaluate import load_run
from jaxseg.types import JaxsegError


def search(
    experiment: Experiment,
    variables: Any,
    *,
    sxy: Sequence[float],
    srgb: Sequence[float],
    weight: Sequence[float],
    images: int,
    crf: CRF = CRF(),  # noqa: B008 (immutable)
) -> dict[CRF | None, float]:
    """mIoU of the first ``images`` validation images by the bilateral term's settings, all else as in ``crf``; under
    None what the network reaches by itself."""
    metric = segmentation_metric(len(experiment.data.val.classes))
    update = jax.jit(metric.update)
    states: dict[CRF | None, Any] = {}

    def count(settings: CRF | None, truth: np.ndarray, label: np.ndarray) -> None:
        predictions, batch = {"label": jnp.asarray(label[None], jnp.int32)}, {"label": jnp.asarray(truth[None])}
        states[settings] = update(states.get(settings, metric.init()), predictions, batch)

    total = min(images, len(experiment.data.val))
    for image, truth, probabilities in track(_scored(experiment, variables, total), "refining", total=total):
        count(None, truth, probabilities.argmax(-1))
        for wide in sxy:
            for coloured in srgb:
                # One lattice serves all weights, which are tried at once.
                settings = replace(crf, sxy=wide, srgb=coloured)
                labels = _refined_by_weight(probabilities, image, settings, weight)
                for w, label in zip(weight, labels):
                    count(replace(settings, weight=w), truth, label)
    return {settings: metric.compute(state)["miou"] for settings, state in states.items()}


def _scored(e: Experiment, variables: Any, images: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image in 0..255, truth and the network's probabilities, without padding."""
    probabilities = probabilities_of(e.model)
    batches = pipeline.eval_batches(
        e.data.val, e.data.prepare, batch_size=e.eval_batch_size, num_threads=e.data.num_threads
    )
    done = 0
    for batch in batches:
        scores = np.asarray(probabilities(variables, jnp.asarray(batch["image"])))
        for i in np.flatnonzero(batch["valid"])[: images - done]:
            h, w = batch["size"][i]
            yield 255 * batch["image"][i, :h, :w], batch["label"][i, :h, :w], scores[i, :h, :w]
            done += 1
        if done == images:
            return


def _refined_by_weight(scores: np.ndarray, image: np.ndarray, crf: CRF, weights: Sequence[float]) -> np.ndarray:
    """Labels by weight, [number of weights, H, W]."""
    unary, pixels = unary_from_probabilities(jnp.asarray(scores)), jnp.asarray(image)
    gaussian = Gaussian(crf.smooth_sxy, crf.smooth_weight)

    def refine(weight: Any) -> Any:
        bilateral = Bilateral(crf.sxy, crf.srgb, weight)
        refined = dense_crf(unary, pixels, iterations=crf.iterations, gaussian=gaussian, bilateral=bilateral)
        return jnp.argmax(refined.logits, axis=-1)

    return np.asarray(jax.vmap(refine)(jnp.asarray(weights, jnp.float32)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command above; returns the exit code: 0, or 2 where the run cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="the folder that train was given")
    parser.add_argument("--images", type=int, default=20, help="validation images (%(default)s)")
    grid = {"sxy": (30.0, 50.0, 80.0), "srgb": (3.0, 5.0, 13.0), "weight": (1.0, 3.0, 5.0, 10.0)}
    for name, values in grid.items():
        text = f"the bilateral term's {name} ({' '.join(f'{v:g}' for v in values)})"
        parser.add_argument(f"--{name}", type=float, nargs="+", default=values, help=text)
    parser.add_argument("--smooth-sxy", type=float, default=3.0, help="the Gaussian term's width (%(default)g)")
    parser.add_argument("--smooth-weight", type=float, default=3.0, help="the Gaussian term's weight (%(default)g)")
    parser.add_argument("--iterations", type=int, default=10, help="of the CRF (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        experiment, variables, _ = load_run(options.workdir)
        tried = {name: getattr(options, name) for name in grid}
        fixed = {name: getattr(options, name) for name in ("smooth_sxy", "smooth_weight", "iterations")}
        scores = search(experiment, variables, **tried, images=options.images, crf=CRF(**fixed))
    except JaxsegError as error:
        print(f"jaxseg: {error}", file=sys.stderr)
        return 2
    ranked = sorted(scores, key=lambda settings: -scores[settings])
    table = Table(box=None, header_style="bold")
    for heading in ("mIoU", "sxy", "srgb", "weight"):
        table.add_column(heading)
    for s in ranked:
        row = ("no CRF", "", "") if s is None else (f"{s.sxy:g}", f"{s.srgb:g}", f"{s.weight:g}")
        table.add_row(f"{scores[s]:.4f}", *row)
    Console().print(table)
    best = next(s for s in ranked if s is not None)
    best.write(options.workdir / FILE)
    print(f"wrote {options.workdir / FILE}: {best}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
