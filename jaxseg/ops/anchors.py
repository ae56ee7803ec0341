"""Anchors: the boxes that a detector begins from, the same at every place of a feature map."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxseg.types import Array, JaxsegError


def anchor_cells(
    sizes: Sequence[float], ratios: Sequence[float], *, rounded: bool = False, ratios_fastest: bool = False
) -> np.ndarray:
    """The anchors of one place, around (0, 0): one for each ratio and size, of area size^2 (Ren et al. 2015).

    Args:
      sizes: square roots of areas, in pixels.
      ratios: heights over widths.
      rounded: to whole pixels, half to even, as torchvision has them; detectron2 does not round.
      ratios_fastest: the order, which the scores of trained weights have: all ratios of the first size come first, as
        in detectron2; else all sizes of the first ratio, as in torchvision. The same where either has length 1.

    Returns:
      ``[len(ratios) * len(sizes), 4]`` float32.
    """
    _check_positive("anchor_cells", sizes=sizes, ratios=ratios)
    h = np.sqrt(np.asarray(ratios, np.float32))
    w = 1 / h
    order = "F" if ratios_fastest else "C"
    w, h = (np.outer(x, np.asarray(sizes, np.float32)).ravel(order) for x in (w, h))
    cells = np.stack([-w, -h, w, h], axis=1) / 2
    return np.round(cells) if rounded else cells


def grid_anchors(
    cells: np.ndarray, grid: tuple[int, int], stride: tuple[float, float], *, offset: float = 0.0
) -> np.ndarray:
    """``cells [A, 4]`` at each place (y, x) of a feature map: around ``(x + offset) * stride``, in pixels.

    Args:
      cells: of :func:`anchor_cells`.
      grid: height and width of the feature map.
      stride: pixels from place to place, down and across.
      offset: 0 as in torchvision and detectron2 (centres on the first corner of a place's pixels), 0.5 for their
        middle.

    Returns:
      ``[H * W * A, 4]`` float32, row by row, the cells of a place together: the order of a head's scores [H, W, A].
    """
    (h, w), (down, across) = grid, stride
    y, x = np.meshgrid((np.arange(h) + offset) * down, (np.arange(w) + offset) * across, indexing="ij")
    places = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (places + np.asarray(cells)[None]).reshape(-1, 4).astype(np.float32)


def multibox_anchors(
    grid: tuple[int, int], image_size: tuple[int, int], sizes: Sequence[float], ratios: Sequence[float]
) -> np.ndarray:
    """Few anchors at many places: of n sizes and m ratios only the pairs with the first size or the first ratio, n + m
    - 1 at each place, ``H W (n + m - 1)`` in all (Liu et al. 2016, "SSD"; Zhang et al., "Dive into deep learning",
    14.4).

    Args:
      grid: height and width of the feature map (the image's own for anchors at every pixel).
      image_size: height and width, in pixels.
      sizes: parts of the image's height, 0 to 1: a square of the first ratio 1 has sides ``size * height``.
      ratios: widths over heights.

    Returns:
      ``[H * W * (n + m - 1), 4]`` float32 in pixels, centred on the places; first all sizes with the first ratio, then
      the first size with the other ratios. They may reach out of the image.
    """
    _check_positive("multibox_anchors", sizes=sizes, ratios=ratios)
    pairs = [(s, ratios[0]) for s in sizes] + [(sizes[0], r) for r in ratios[1:]]
    side = np.asarray([s * image_size[0] for s, _ in pairs])
    root = np.sqrt([r for _, r in pairs])
    w, h = side * root, side / root
    cells = np.stack([-w, -h, w, h], axis=1) / 2
    stride = (image_size[0] / grid[0], image_size[1] / grid[1])
    return grid_anchors(cells, grid, stride, offset=0.5)


def feature_levels(
    boxes: Array,
    *,
    first: int = 2,
    last: int = 5,
    canonical_size: float = 224.0,
    canonical_level: int = 4,
    epsilon: float = 1e-6,
    epsilon_inside: bool = False,
) -> Array:
    """The level of a feature pyramid that a box is read from (Lin et al. 2017, "Feature pyramid networks", equation 1):

        floor(k0 + log2(sqrt(area) / 224) + epsilon),  clamped to first..last

    Args:
      boxes: ``[..., 4]``.
      epsilon, epsilon_inside: 1e-6 is added to the logarithm by torchvision; detectron2 adds 1e-8 inside of it.

    Returns:
      ``[...]`` int32. A box without area has the first level.
    """
    side = jnp.sqrt(jnp.maximum((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]), 0))
    inside, outside = (epsilon, 0.0) if epsilon_inside else (0.0, epsilon)
    ratio = jnp.maximum(side / canonical_size + inside, 1e-12)
    level = jnp.floor(canonical_level + jnp.log2(ratio) + outside)
    return jnp.clip(level, first, last).astype(jnp.int32)


def _check_positive(name: str, **values: Sequence[float]) -> None:
    for key, given in values.items():
        if not len(given) or min(given) <= 0:
            raise JaxsegError(f"{name}: {key} are {list(given)}; expected at least one, each above 0")
