"""A picture's probabilities as bands of rows from the top down, ``[h, W, K]`` float32 each: for a photograph of 24
million pixels and 21 classes the whole would be 2 GB."""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.types import Array, JaxsegError

BLOCK = (256, 512)  # pixels that are enlarged at once: one program for pictures of every size


def enlarged(scores: Array, size: tuple[int, int], new_size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Bands of the softmax of ``scores`` enlarged (or shrunk) bilinearly, as :func:`jaxseg.ops.resize_bilinear` does.

    Args:
        scores: [H, W, K] logits or log-probabilities, of which ``size`` from the top left count.
        size: (height, width) <= (H, W).
        new_size: that of the picture.
    """
    rows, columns = (_taps(n, m, b) for n, m, b in zip(size, new_size, BLOCK))
    for y, row in enumerate(rows):
        blocks = [np.asarray(_block(scores, row, column)) for column in columns]
        band = np.concatenate(blocks, axis=1)
        yield band[: new_size[0] - y * BLOCK[0], : new_size[1]]


def mean(members: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """The mean of several predictions of one picture, band by band."""
    for bands in zip(*members, strict=True):
        if len({band.shape for band in bands}) > 1:
            raise JaxsegError(
                f"predictions of {' and '.join(str(band.shape) for band in bands)} can't be averaged; give all the "
                "same classes and the same tiles"
            )
        yield reduce(np.add, bands) / len(bands)


def label_map(
    bands: Iterator[np.ndarray], size: tuple[int, int], watch: Callable[[int], None] | None = None
) -> np.ndarray:
    """The most probable class of every pixel, ``[H, W]`` int32. ``watch`` is told how many rows are done."""
    label, top = np.empty(size, np.int32), 0
    for band in bands:
        label[top : top + len(band)] = band.argmax(-1)
        top += len(band)
        if watch:
            watch(top)
    return label


def _taps(size: int, new_size: int, block: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each block of output pixels the two inputs ``[2, block]`` that each lies between, and their weights; the last
    block is filled up."""
    at = (np.arange(-(-new_size // block) * block) + 0.5) * size / new_size - 0.5
    at = np.clip(at, 0, size - 1)
    low = np.floor(at)
    index = np.stack([low, np.minimum(low + 1, size - 1)]).astype(np.int32)
    weight = np.stack([1 - (at - low), at - low]).astype(np.float32)
    return [(index[:, k : k + block], weight[:, k : k + block]) for k in range(0, len(at), block)]


@jax.jit
def _block(scores: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    (y, y_weight), (x, x_weight) = rows, columns
    tall = sum(scores[y[t]] * y_weight[t][:, None, None] for t in (0, 1))
    wide = sum(jnp.take(tall, x[t], axis=1) * x_weight[t][None, :, None] for t in (0, 1))
    return jax.nn.softmax(wide, axis=-1)
