"""Keypoints of regions: from places in the image to places in a heat map (He et al. 2017, section 5), and back."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import vary_alike
from jaxseg.types import Array, JaxsegError

KeypointRule = Literal["resize", "parabola"]

_TILE = 64  # pixels of a region enlarged at once, down and across


def keypoint_targets(keypoints: Array, boxes: Array, side: int) -> tuple[Array, Array]:
    """In which of the ``side x side`` cells of its box each keypoint lies.

    Args:
      keypoints: ``[R, P, 3]``, (x, y, visibility), of the instance that each box is of.
      boxes: ``[R, 4]``, in the same pixels.

    Returns:
      ``[R, P]`` int32, row times ``side`` plus column, and ``[R, P]`` bool: whether it counts: labelled (visibility
      above 0), and within the box, whose right and lower edges belong to its last cells. 0 where it does not.
    """
    r, p = keypoints.shape[:2]
    if keypoints.shape != (r, p, 3) or boxes.shape != (r, 4):
        raise JaxsegError(
            f"keypoint_targets: keypoints {keypoints.shape}, boxes {boxes.shape}; expected [R, P, 3], [R, 4]"
        )
    keypoints, boxes = keypoints.astype(jnp.float32), boxes.astype(jnp.float32)[:, None]
    sides = boxes[..., 2:] - boxes[..., :2]
    at = keypoints[..., :2]
    cell = jnp.floor((at - boxes[..., :2]) * (side / jnp.where(sides > 0, sides, 1)))
    cell = jnp.where(at == boxes[..., 2:], side - 1, cell)
    counts = (keypoints[..., 2] > 0) & jnp.all((cell >= 0) & (cell < side) & (sides > 0), axis=-1)
    cell = jnp.where(counts[..., None], cell, 0).astype(jnp.int32)
    return cell[..., 1] * side + cell[..., 0], counts


def keypoints_from_heat_maps(
    logits: Array, boxes: Array, size: tuple[int, int], *, rule: KeypointRule = "resize"
) -> tuple[Array, Array]:
    """Where each keypoint of a region most likely is.

    Args:
      logits: ``[D, M, M, P]``.
      boxes: ``[D, 4]`` in pixels of the image; 1 pixel wide and high at least.
      size: height and width of the image: no box may be larger.
      rule: ``"resize"``: the heat map is enlarged to the box's own pixels, bicubically, and the highest of these
        taken, at its middle (torchvision, detectron2); in tiles, of which none holds more than 64 x 64 of them.
        ``"parabola"``: the highest cell, moved toward its higher neighbours to the summit of the parabola through the
        three, along each axis: as fine, and one look at the map, whatever the size of the box.

    Returns:
      ``[D, P, 2]`` (x, y) in pixels, and ``[D, P]`` scores, the logit there. Without gradient.
    """
    d, m, _, p = logits.shape
    if logits.shape != (d, m, m, p) or boxes.shape != (d, 4) or rule not in get_args(KeypointRule):
        raise JaxsegError(
            f"keypoints_from_heat_maps: logits {logits.shape}, boxes {boxes.shape} and rule {rule!r}; expected "
            "[D, M, M, P], [D, 4] and resize or parabola"
        )
    logits, boxes = (lax.stop_gradient(x).astype(jnp.float32) for x in (logits, boxes))
    sides = jnp.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    if rule == "parabola":
        at, score = jax.vmap(_summit)(logits)
    else:
        enlarge = partial(_highest_pixel, size=size)

        def one_by_one(*regions: Array) -> tuple[Array, Array]:
            return lax.map(of_one, regions)

        def of_one(region: tuple[Array, Array]) -> tuple[Array, Array]:
            return enlarge(*region)

        at, score = lax.platform_dependent(logits, sides, cpu=one_by_one, default=jax.vmap(enlarge))
    return at * sides[:, None] + boxes[:, None, :2], score


def _summit(logits: Array) -> tuple[Array, Array]:
    """Of one region: places ``[P, 2]``, the box being 1 wide and high, and logits ``[P]`` of the highest cells."""
    m, _, p = logits.shape
    score, index = lax.top_k(logits.reshape(m * m, p).T, 1)
    row, column = index[:, 0] // m, index[:, 0] % m
    padded = jnp.pad(logits, ((1, 1), (1, 1), (0, 0)), mode="edge")
    which = lax.iota(jnp.int32, p)

    def look(i: int, j: int) -> Array:
        return padded[row + 1 + i, column + 1 + j, which]

    def offset(before: Array, after: Array, inside: Array) -> Array:
        bend = before + after - 2 * score[:, 0]
        return jnp.where(inside & (bend < 0), (before - after) / jnp.where(bend < 0, 2 * bend, -1), 0)

    x = offset(look(0, -1), look(0, 1), (column > 0) & (column < m - 1))
    y = offset(look(-1, 0), look(1, 0), (row > 0) & (row < m - 1))
    place = jnp.stack([column, row], axis=-1).astype(jnp.float32)
    return (place + jnp.stack([x, y], axis=-1) + 0.5) / m, score[:, 0]


def _highest_pixel(logits: Array, sides: Array, *, size: tuple[int, int]) -> tuple[Array, Array]:
    """As :func:`_summit`, of the map enlarged to ``sides`` (width, height) pixels, rounded up, at most ``size``."""
    m, _, p = logits.shape
    pixels = jnp.clip(jnp.ceil(sides), 1, jnp.array([size[1], size[0]], jnp.float32))
    maps = logits.transpose(2, 0, 1)  # [P, M, M]
    across, down = (jnp.ceil(n / _TILE).astype(jnp.int32) for n in pixels)

    def tile(number: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        highest, place = best
        row, column = number // across * _TILE, number % across * _TILE
        rows, columns = (_cubic(first, n, m) for first, n in ((row, pixels[1]), (column, pixels[0])))
        enlarged = jnp.einsum("hm,pmn,wn->phw", rows, maps, columns, precision="highest")
        wide, high = pixels.astype(jnp.int32)
        beyond = (row + _IN_TILE >= high)[:, None] | (column + _IN_TILE >= wide)[None]
        flat = jnp.where(beyond, -jnp.inf, enlarged).reshape(p, -1)
        value, index = lax.top_k(flat, 1)
        index = index[:, 0]
        found = jnp.stack([column + index % _TILE, row + index // _TILE], axis=-1)
        # Of equal values the first in the order of rows counts.
        first = found[:, 1] * size[1] + found[:, 0] < place[:, 1] * size[1] + place[:, 0]
        better = (value[:, 0] > highest) | ((value[:, 0] == highest) & first)
        return jnp.where(better, value[:, 0], highest), jnp.where(better[:, None], found, place)

    *nothing, _ = vary_alike(jnp.full(p, -jnp.inf), jnp.zeros((p, 2), jnp.int32), logits)
    highest, place = lax.fori_loop(0, across * down, tile, tuple(nothing))
    return (place.astype(jnp.float32) + 0.5) / pixels[None], highest


_IN_TILE = np.arange(_TILE, dtype=np.int32)


def _cubic(first: Array, pixels: Array, m: int) -> Array:
    """``[64, M]``: weights of the map's values at 64 pixels from ``first`` on, of ``pixels`` in all (Keys 1981, a =
    -3/4; the border repeats)."""
    at = ((first + _IN_TILE).astype(jnp.float32) + 0.5) * (m / pixels) - 0.5
    low = jnp.floor(at)
    weights = jnp.zeros((_TILE, m))
    for tap in range(-1, 3):
        distance = jnp.abs(at - (low + tap))
        near = ((1.25 * distance - 2.25) * distance) * distance + 1
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
        weight = jnp.where(distance <= 1, near, jnp.where(distance < 2, far, 0))
        place = jnp.clip(low + tap, 0, m - 1)
        weights += jnp.where(place[:, None] == np.arange(m, dtype=np.float32)[None], weight[:, None], 0)
    return weights
