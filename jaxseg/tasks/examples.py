"""What drawings of every task walk over."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from jaxseg import viz
from jaxseg.types import Batch, Predictions


def examples(batch: Batch, predictions: Predictions) -> Iterator[tuple[Batch, Predictions]]:
    """Of each image of ``batch`` that counts, what the batch holds of it and what is predicted of it, as numpy."""
    batch, predictions = jax.device_get((dict(batch), dict(predictions)))
    for i in np.flatnonzero(batch["valid"]):
        yield jax.tree.map(lambda x, i=i: x[i], (batch, predictions))


def sheet_of(
    views: Callable[[Batch, Predictions, int], list[dict[str, np.ndarray]]],
    width: int,
    batch: Batch,
    predictions: Predictions,
) -> np.ndarray:
    """A contact sheet of a task's ``views``, ``width`` pixels wide each; one row an image."""
    return viz.contact_sheet(views(batch, predictions, width), (), panel_width=width)
