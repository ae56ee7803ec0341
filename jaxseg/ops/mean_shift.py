"""Clusters as the peaks of a density: mean shift, the classical segmentation in the space of position and colour."""

from functools import reduce
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.types import Array, JaxsegError

Weighting = Literal["flat", "gaussian"]

_BLOCK = 256  # seeds that are moved at once


class MeanShift(NamedTuple):
    """The peaks, those with most points first, and the peak of every point. ``S`` rows, of which ``valid`` count."""

    modes: Array  # [S, d]
    density: Array  # [S] points within the bandwidth ("flat"), or the sum of their weights
    valid: Array  # [S]
    labels: Array  # [N] int32, the nearest valid mode


def mean_shift(
    points: Array,
    *,
    bandwidth: float | Array,
    kernel: Weighting = "flat",
    iterations: int = 50,
    seeds: Array | None = None,
) -> MeanShift:
    """Move each seed to the mean of the points around it, again and again, and merge what comes together.

        s <- sum_i w(|x_i - s|) x_i / sum_i w(|x_i - s|),    w(r) = [r <= bandwidth]  or  exp(-r^2 / (2 bandwidth^2))

    Then, from the seed with the highest density on, every seed within the bandwidth of one that stays is dropped. The
    rule is scikit-learn's, but that the number of steps is fixed: a seed that has arrived stays where it is. O(S N)
    time a step, O(S + N) memory. (Comaniciu and Meer, 2002, "Mean shift: a robust approach toward feature space
    analysis".)

    Args:
      points: ``[N, d]`` floating point: of an image, say, position and colour of each pixel, each over its own width.
      bandwidth: positive, in units of the points.
      kernel: "flat" or "gaussian".
      iterations: steps.
      seeds: ``[S, d]`` where to begin; None: at every point. An image needs only every tenth pixel or so.

    Returns:
      A :class:`MeanShift`.

    Raises:
      JaxsegError: shapes that do not fit each other, a bandwidth that is not positive, another kernel.
    """
    if points.ndim != 2 or not points.shape[0] or not jnp.issubdtype(points.dtype, jnp.floating):
        raise JaxsegError(f"points are {points.dtype} of shape {points.shape}; expected floating point [N, d]")
    if seeds is not None and (seeds.ndim != 2 or seeds.shape[1] != points.shape[1] or not seeds.shape[0]):
        raise JaxsegError(f"seeds have shape {seeds.shape}; expected [S, {points.shape[1]}]")
    if kernel not in get_args(Weighting):
        raise JaxsegError(f"kernel is {kernel!r}; it can be flat or gaussian")
    if not isinstance(bandwidth, jax.Array) and bandwidth <= 0:
        raise JaxsegError(f"bandwidth is {bandwidth}; it must be positive")
    points = points.astype(jnp.float32)
    width = jnp.asarray(bandwidth, jnp.float32)
    at = points if seeds is None else seeds.astype(jnp.float32)
    modes, density = _climb(points, at, width, kernel, iterations)
    order = jnp.lexsort((*modes.T[::-1], density))[::-1]  # by density, then by coordinates, falling
    modes, density = modes[order], density[order]
    valid = _peaks(modes, width) & (density > 0)
    return MeanShift(modes, density, valid, _nearest(points, modes, valid))


def _climb(points: Array, seeds: Array, width: Array, kernel: str, iterations: int) -> tuple[Array, Array]:
    """Where the seeds end, and the density of the last step."""

    def step(seeds: Array) -> tuple[Array, Array]:
        squares = _squares(seeds, points)
        inside = (squares <= width**2).astype(jnp.float32)
        weights = inside if kernel == "flat" else jnp.exp(-0.5 * squares / width**2)
        density = jnp.sum(weights, axis=1)
        means = jnp.matmul(weights, points, precision="highest") / jnp.maximum(density, 1e-30)[:, None]
        return jnp.where(density[:, None] > 0, means, seeds), density

    def climb(seeds: Array) -> tuple[Array, Array]:
        top, _ = lax.scan(lambda s, _: (step(s)[0], None), seeds, None, length=iterations)
        return top, step(top)[1]

    n, block = len(seeds), min(_BLOCK, len(seeds))
    blocks = jnp.pad(seeds, ((0, -n % block), (0, 0))).reshape(-1, block, seeds.shape[1])
    modes, density = lax.map(climb, blocks)
    return modes.reshape(-1, seeds.shape[1])[:n], density.reshape(-1)[:n]


def _peaks(modes: Array, width: Array) -> Array:
    """Which of the modes, highest first, lie within the width of none that stays."""

    def keep(i: Array, alive: Array) -> Array:
        near = _squares(modes[i][None], modes)[0] <= width**2
        return jnp.where(alive[i], (alive & ~near).at[i].set(True), alive)

    return lax.fori_loop(0, len(modes), keep, jnp.ones(len(modes), bool))


def _nearest(points: Array, modes: Array, valid: Array) -> Array:
    def near(part: Array) -> Array:
        return jnp.argmin(jnp.where(valid[None], _squares(part, modes), jnp.inf), axis=1)

    n, block = len(points), min(_BLOCK, len(points))
    blocks = jnp.pad(points, ((0, -n % block), (0, 0))).reshape(-1, block, points.shape[1])
    return lax.map(near, blocks).reshape(-1)[:n].astype(jnp.int32)


def _squares(a: Array, b: Array) -> Array:
    """Squared distances [A, B], by differences, so that near points keep their digits."""
    return reduce(jnp.add, [jnp.square(a[:, k, None] - b[None, :, k]) for k in range(a.shape[1])])
