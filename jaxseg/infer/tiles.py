"""Sliding-window inference: a picture of any size, tile by tile, through one compiled program.

The overlap-tile strategy of U-Net (Ronneberger et al. 2015, section 2 and figure 2): what a tile lacks of context at
the picture's border is mirrored, and a network whose scores are smaller than its image is given that much more on every
side. Tiles overlap and are blended by weights that fall off towards their borders, where a network knows least
(nnU-Net, Isensee et al. 2021: a Gaussian of an eighth of the tile, half of each tile shared with the next). The weights
have no floor: with MONAI's of 0.001 a tile's corner would count as much as the middle of the border of the next.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.data import prefetch_to_device
from jaxseg.data.photometric import to_float
from jaxseg.types import Array, JaxsegError

TileFunction = Callable[[Any], Array]
"""``images [B, h, w, 3]`` float32 in [0, 1] -> ``[B, h', w', K]``: any jitted function; h' <= h, w' <= w, centred."""


@dataclass(frozen=True)
class Tiles:
    """How a picture is cut.

    Args:
        size: (height, width) of a tile, in pixels. It may exceed the picture, which is then mirrored outwards.
        overlap: least part of a tile that it shares with the next, 0 <= overlap < 1.
        blend: weights of overlapping tiles: ``"gaussian"`` of standard deviation ``size / 8``, or ``"mean"``.
        batch: tiles that go through the network at once; the last batch is filled up.
    """

    size: tuple[int, int] = (512, 512)
    overlap: float = 0.5
    blend: Literal["gaussian", "mean"] = "gaussian"
    batch: int = 1

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise JaxsegError(f"a tile of {self.size[0]}x{self.size[1]} pixels; give a side of at least 1, say 512")
        if not 0 <= self.overlap < 1:
            raise JaxsegError(f"tiles can't overlap by {self.overlap}; give a part of the tile from 0 to below 1")
        if self.blend not in ("gaussian", "mean"):
            raise JaxsegError(f"tiles are blended by {self.blend!r}; it can be gaussian or mean")
        if self.batch < 1:
            raise JaxsegError(f"{self.batch} tiles at once; give at least 1")


class _Axis(NamedTuple):
    """Where the tiles lie along one side of the picture: what they see ``[n, size]`` (indices of pixels), where their
    scores start ``[n]``, and with which weights ``[n, scored]`` these enter; at each pixel the weights sum to 1."""

    seen: np.ndarray
    starts: list[int]
    weights: np.ndarray


def tiled(function: TileFunction, image: np.ndarray, tiles: Tiles) -> Iterator[np.ndarray]:
    """Weighted mean of ``function`` over all tiles that hold a pixel: ``y[p] = sum_t w_t[p] f_t[p] / sum_t w_t[p]``.

    Yields bands of finished rows, ``[h, W, K]`` float32, from the top down, so that neither the device nor the host
    ever holds the scores of the whole picture: two batches of tiles there, two tile heights of rows here. A function of
    each pixel alone gives what it gives without tiles, up to rounding.

    Args:
        function: see :data:`TileFunction`.
        image: [H, W, 3], uint8 or float32 in [0, 1].
        tiles: how to cut it.

    Raises:
        JaxsegError: scores that are larger than the tile.
    """
    like = jax.ShapeDtypeStruct((tiles.batch, *tiles.size, image.shape[2]), jnp.float32)
    scored = jax.eval_shape(function, like).shape
    rows, columns = (_axis(n, s, o, tiles) for n, s, o in zip(image.shape[:2], tiles.size, scored[1:3]))
    (height, width), top = image.shape[:2], 0
    canvas = np.zeros((scored[1], width, scored[3]), np.float32)
    for (i, j), scores in _scores(function, image, rows, columns, tiles.batch):
        if rows.starts[i] > top:
            done, top = rows.starts[i] - top, rows.starts[i]
            yield canvas[:done]
            canvas = np.concatenate([canvas[done:], np.zeros_like(canvas[:done])])
        left = columns.starts[j]
        canvas[:, left : left + scored[2]] += scores[:, : width - left]
    yield canvas[: height - top]


def _scores(
    function: TileFunction, image: np.ndarray, rows: _Axis, columns: _Axis, batch: int
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """((row, column), weighted scores [h', w', K]) of every tile; the device works while the caller adds up."""
    places = [(i, j) for i in range(len(rows.starts)) for j in range(len(columns.starts))]

    def run(chosen: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], Array]:
        i, j = np.array((chosen * batch)[:batch]).T  # the last batch is filled up with what nobody will read
        pixels = np.stack([to_float(image[np.ix_(rows.seen[a], columns.seen[b])]) for a, b in zip(i, j)])
        return chosen, _weighted(function(pixels), rows.weights[i], columns.weights[j])

    batches = (places[first : first + batch] for first in range(0, len(places), batch))
    for chosen, scores in prefetch_to_device(batches, run, size=1):
        yield from zip(chosen, np.asarray(scores))


@jax.jit
def _weighted(scores: Array, rows: Array, columns: Array) -> Array:
    """``scores [B, h', w', K]`` times the weights of their rows ``[B, h']`` and columns ``[B, w']``."""
    return scores.astype(jnp.float32) * rows[:, :, None, None] * columns[:, None, :, None]


def _axis(length: int, size: int, scored: int, tiles: Tiles) -> _Axis:
    """Tiles of ``size``, whose middle ``scored`` pixels are scored, over ``length`` pixels: as few as ``overlap``
    allows, evenly spaced, the last ending where the picture ends."""
    if scored > size:
        raise JaxsegError(f"the scores of a tile of {size} pixels have {scored}; they can be as large at most")
    step = max(1, math.floor(scored * (1 - tiles.overlap)))
    count = max(0, math.ceil((length - scored) / step)) + 1
    starts = [round(k * (length - scored) / max(1, count - 1)) if count > 1 else 0 for k in range(count)]
    at = (np.arange(scored) + 0.5) / scored - 0.5  # of the tile, from its centre
    one = np.exp(-0.5 * (at * 8) ** 2) if tiles.blend == "gaussian" else np.ones(scored)
    total = np.zeros(max(length, scored))
    for start in starts:
        total[start : start + scored] += one
    weights = np.stack([one / total[start : start + scored] for start in starts]).astype(np.float32)
    seen = np.array(starts)[:, None] - (size - scored) // 2 + np.arange(size)
    return _Axis(_mirrored(seen, length), starts, weights)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Indices reflected at the first and the last pixel, as often as needed: ``2 1 | 0 1 2 3 | 2 1 0 1``."""
    period = max(1, 2 * (length - 1))
    return np.minimum(index % period, period - index % period)
