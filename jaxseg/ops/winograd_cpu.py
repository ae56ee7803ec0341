"""Winograd's form of the 3x3 convolution at stride 1, F(2x2, 3x3), as it is fast on a CPU.

``Y = A^T ((G K G^T) * (B^T X B)) A`` for each tile X of 4x4 pixels and Y of 2x2 outputs: 16 products, each a matrix
product over all tiles, in place of 36. Dilation d is d^2 images, of each d-th pixel.

Tiles are 4 times the image. So that they stay in the cache, the image is cut into bands of rows, which overlap, and few
of these are taken at a time: 256 maps of 14x14, 256 channels, take 200 ms so, and 320 ms all at once (XLA's own 440).

Source: Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", section 4.1.
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.arguments import known, vary_alike
from jaxseg.types import Array

BLOCK = 1_000_000  # pixels times channels taken at once: the fastest of those tried from 0.1 to 10 million

IMAGE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # B^T
KERNEL = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2  # G
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])  # A^T

_PLACES = tuple(np.ndindex(4, 4))


class Tiling(NamedTuple):
    """How images of ``rows`` x ``columns`` outputs are cut: into ``bands`` of ``down`` x ``right`` tiles for each phase
    of the dilation; a block is one band, or ``images`` whole ones. What is too much at the ends sees zeros and is
    cut off.
    """

    rows: int
    columns: int
    dilation: tuple[int, int]
    before: tuple[int, int]  # zeros above and to the left of the image
    down: int
    right: int
    bands: int
    images: int
    blocks: int

    @classmethod
    def of(
        cls, batch: int, size: tuple[int, int], dilation: tuple[int, int], before: tuple[int, int], channels: int
    ) -> "Tiling":
        """For ``batch`` images of ``size`` outputs."""
        down, right = tiles(size, dilation)
        numbers = 4 * down * right * dilation[0] * dilation[1] * channels
        fit, need = max(BLOCK // numbers, 1), min(-(-numbers // BLOCK), down)
        # Without a rest, where that is near: a rest is cut off, which copies all.
        bands = next((n for n in range(need, 2 * need) if down % n == 0), need)
        images = next((n for n in range(fit, fit // 2, -1) if batch % n == 0), min(fit, batch)) if known(batch) else 1
        blocks = -(-batch // images)
        return cls(*size, dilation, before, -(-down // bands), right, bands, images, blocks * bands)

    def cut(self, x: Array, halo: int) -> Callable[[Array | int], Array]:
        """``i ->`` the i-th block of ``x [B, H, W, C]``, ``[images, 2 down + halo, d, 2 right + halo, d', C]``.

        The grid may end before the image does: no output sees those pixels. Rows are gathered, not cut from a padded
        copy, which takes 1.5 to 2 times as long (2x128x128 of 128 and 256 channels).
        """
        _, h, w, c = x.shape
        (spread_h, spread_w), (top, left) = self.dilation, self.before if halo else (0, 0)
        height, width = 2 * self.down + halo, 2 * self.right + halo
        columns = (left, width * spread_w - w - left)

        def block(i: Array | int) -> Array:
            images = i * self.images // self.bands + np.arange(self.images)
            rows = i % self.bands * 2 * self.down * spread_h + np.arange(height * spread_h) - top
            rows = jnp.where(rows < 0, h, rows)  # beyond the image, as those after it
            seen = jnp.asarray(x).at[images[:, None], rows[None]].get(mode="fill", fill_value=0)
            seen = lax.pad(seen, jnp.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), (*columns, 0), (0, 0, 0)))
            return seen.reshape(-1, height, spread_h, width, spread_w, c)

        return block


def tiles(size: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """How many tiles down and across cover the outputs of one phase of the dilation."""
    down, right = (-(-n // (2 * d)) for n, d in zip(size, dilation))
    return down, right


def conv(
    x: Array,
    kernel: Array,
    size: tuple[int, int],
    *,
    dilation: tuple[int, int],
    before: tuple[int, int],
    turned: bool = False,
) -> Array:
    """The convolution ``[B, *size, O]`` of ``x [B, H, W, C]`` with ``before`` zeros above and to the left; ``turned``:
    with the turned kernel, its channels swapped."""
    tiling = Tiling.of(x.shape[0], size, dilation, before, max(kernel.shape[2:]))
    taps = [[kernel[u, v] for v in range(3)] for u in range(3)]  # each is cut out once
    taps = [row[::-1] for row in taps[::-1]] if turned else taps
    weights = {(i, j): _weighted(KERNEL, i, j, lambda u, v: taps[u][v]) for i, j in _PLACES}
    contract = (((1,), (1 if turned else 0,)), ((), ()))
    block = tiling.cut(x, 2)

    def of_block(i: Array | int) -> Array:
        pixels = _pixels(tiling, block(i))
        products = {place: lax.dot_general(pixels(*place), weights[place], contract) for place in _PLACES}
        y = jnp.stack([_weighted(OUTPUT, i, j, lambda p, q: products[p, q]) for i in (0, 1) for j in (0, 1)])
        y = y.reshape(2, 2, -1, tiling.down, dilation[0], tiling.right, dilation[1], y.shape[-1])
        return y.transpose(2, 3, 0, 4, 5, 1, 6, 7)

    one = known(tiling.blocks) and tiling.blocks == 1
    y = of_block(0) if one else lax.map(of_block, lax.iota(jnp.int32, tiling.blocks))
    height, width = 2 * tiling.down * tiling.bands * dilation[0], 2 * tiling.right * dilation[1]
    return y.reshape(-1, height, width, y.shape[-1])[: x.shape[0], : tiling.rows, : tiling.columns]


def kernel_gradient(x: Array, g: Array, *, dilation: tuple[int, int], before: tuple[int, int]) -> Array:
    """The transpose of :func:`conv` in the kernel, ``[3, 3, C, O]``, as many products; ``g [B, rows, columns, O]``."""
    c, o = x.shape[-1], g.shape[-1]
    tiling = Tiling.of(len(x), (g.shape[1], g.shape[2]), dilation, before, max(c, o))
    # Two rows and columns more than tiles need: of equal grids XLA would make one for both passes, and keep it.
    block, wanted = tiling.cut(x, 4), tiling.cut(g, 0)

    def products(n: Array | int) -> list[Array]:
        pixels, ours = _pixels(tiling, block(n)), wanted(n)

        def product(i: int, j: int) -> Array:
            outputs = _weighted(OUTPUT.T, i, j, lambda p, q: ours[:, p::2, :, q::2]).reshape(-1, o)
            return lax.dot_general(pixels(i, j), outputs, (((0,), (0,)), ((), ())))

        return [product(*place) for place in _PLACES]

    def add(n: Array, total: list[Array]) -> list[Array]:
        return [t + product for t, product in zip(total, products(n))]

    nothing = [vary_alike(jnp.zeros((c, o), x.dtype), x)[0]] * len(_PLACES)
    total = cast(list[Array], lax.fori_loop(0, tiling.blocks, add, nothing)) if tiling.blocks > 1 else products(0)
    by_place = dict(zip(_PLACES, total))
    taps = [_weighted(KERNEL.T, u, v, lambda i, j: by_place[i, j]) for u, v in np.ndindex(3, 3)]
    return jnp.stack(taps).reshape(3, 3, c, o)


def _pixels(tiling: Tiling, grid: Array) -> Callable[[int, int], Array]:
    """``(i, j) -> `` that place of ``B^T X B`` for all tiles of a block, ``[tiles, C]``."""
    down, right = 2 * tiling.down, 2 * tiling.right

    def pixels(i: int, j: int) -> Array:
        def at(p: int, q: int) -> Array:
            return grid[:, p : p + down : 2, :, q : q + right : 2]

        return _weighted(IMAGE, i, j, at).reshape(-1, grid.shape[-1])

    return pixels


def _weighted(factors: np.ndarray, i: int, j: int, term: Callable[[int, int], Array]) -> Array:
    """``sum_{p, q} factors[i, p] factors[j, q] term(p, q)``."""
    pairs = ((p, q, factors[i, p] * factors[j, q]) for p, q in np.ndindex(2 * factors.shape[1:]))
    return reduce(jnp.add, (float(f) * term(p, q) for p, q, f in pairs if f))
