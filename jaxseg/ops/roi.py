"""Features of regions: RoIAlign (He et al. 2017) and RoIPool (Girshick 2015).

RoIAlign is here a sum over taps: a bin's mean of S x S bilinear samples is separable, so it weighs 2S rows and 2S
columns of the feature map. Written as (2S)^2 weighted gathers of rows of C channels, one after another, XLA makes one
loop of them that stores nothing but the result. The gradient is written by hand: it goes through a few boxes at a time,
so that it, too, needs no more memory than its results.

Letters: N boxes, P and Q bins down and across, S samples of a bin along an axis, T = 2S taps, C channels, L levels.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.types import Array, JaxsegError

Reduction = Literal["mean", "max"]

_BOXES_AT_ONCE = 4  # whose gradients are added up at once


def roi_align(
    features: Array,
    boxes: Array,
    output_size: int | tuple[int, int],
    *,
    spatial_scale: float,
    sampling_ratio: int = 2,
    aligned: bool = True,
    reduction: Reduction = "mean",
    max_samples: int = 4,
) -> Array:
    """Each box cut into bins, each bin the mean (or maximum) of regular bilinear samples of the features. Nothing is
    rounded: features lie where the box says, and the result is differentiable in both.

    Samples follow torchvision's rule at the border: within one place outside of the map they have its nearest value,
    further out 0.

    Args:
      features: ``[H, W, C]`` floating point.
      boxes: ``[N, 4]`` in pixels of the image.
      output_size: P, or (P, Q), bins down and across.
      spatial_scale: features a pixel, 1 / stride.
      sampling_ratio: S; 0 for as many as make samples about one place apart, ``ceil(side / P)``, by box and axis.
      aligned: a place's value lies at its middle, as pixels' do. False for weights trained with the first version, half
        a place off (torchvision's), where a box moreover has sides of one place at least.
      reduction: "mean", or "max" of the samples.
      max_samples: what the adaptive S is limited to, so that shapes are known.

    Returns:
      ``[N, P, Q, C]``, dtype of ``features``. A box that is not finite gives 0.

    Raises:
      JaxsegError: shapes or options that do not fit.
    """
    level = jnp.zeros(len(boxes), jnp.int32)
    align = partial(multilevel_roi_align, sampling_ratio=sampling_ratio, aligned=aligned, max_samples=max_samples)
    return align([features], boxes, level, output_size, spatial_scales=(spatial_scale,), reduction=reduction)


def multilevel_roi_align(
    features: Sequence[Array],
    boxes: Array,
    level: Array,
    output_size: int | tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 2,
    aligned: bool = True,
    reduction: Reduction = "mean",
    max_samples: int = 4,
) -> Array:
    """:func:`roi_align` of each box on its own level of a feature pyramid.

    Args:
      features: L arrays ``[H_l, W_l, C]``.
      level: ``[N]`` integers, 0 for the first of ``features`` (see :func:`jaxseg.ops.feature_levels`).
      spatial_scales: L, one a level; the rest as in :func:`roi_align`.
    """
    p, q = _sides(output_size)
    _check(features, boxes, level, spatial_scales, sampling_ratio, max_samples, reduction)
    h, w = (np.asarray([f.shape[axis] for f in features], np.int32) for axis in (0, 1))
    begins = np.concatenate([[0], np.cumsum(h * w)[:-1]]).astype(np.int32)
    flat = jnp.concatenate([f.reshape(-1, f.shape[-1]) for f in features])
    level = jnp.clip(level, 0, len(features) - 1)
    scaled = boxes.astype(jnp.float32) * jnp.asarray(spatial_scales, jnp.float32)[level][:, None]
    axis = partial(bin_taps, ratio=sampling_ratio, most=max_samples, aligned=aligned)
    x, wx = axis(scaled[:, 0], scaled[:, 2], q, jnp.asarray(w)[level])
    y, wy = axis(scaled[:, 1], scaled[:, 3], p, jnp.asarray(h)[level])
    rows = jnp.asarray(begins)[level][:, None, None] + y * jnp.asarray(w)[level][:, None, None]
    pool = _mean if reduction == "mean" else _max
    return pool(flat, rows, wy, x, wx)


def bin_taps(
    start: Array, end: Array, bins: int, size: Array, *, ratio: int, most: int, aligned: bool
) -> tuple[Array, Array]:
    """The places along an axis that each bin reads, ``[N, bins, 2S]`` int32, two a sample, and their weights."""
    start, length = (start - 0.5, end - start) if aligned else (start, jnp.maximum(end - start, 1.0))
    step = (length / bins)[:, None, None]
    samples = ratio or most
    ceiling = lax.stop_gradient(jnp.ceil(step))
    count = jnp.full_like(step, ratio) if ratio else jnp.clip(ceiling, 0, most)
    bin_, sample = np.arange(bins, dtype=np.float32), np.arange(samples, dtype=np.float32)
    at = start[:, None, None] + (bin_[None, :, None] + (sample[None, None] + 0.5) / jnp.maximum(count, 1)) * step
    size = size[:, None, None].astype(jnp.float32)
    counts = (at >= -1) & (at <= size) & (sample[None, None] < count)
    at = jnp.clip(jnp.where(counts, at, 0), 0, size - 1)
    low = lax.stop_gradient(jnp.floor(at))
    weight = jnp.where(counts, 1 / jnp.maximum(count, 1), 0)
    places = jnp.stack([low, jnp.minimum(low + 1, size - 1)], axis=-1).astype(jnp.int32)
    weights = jnp.stack([(1 - (at - low)) * weight, (at - low) * weight], axis=-1)
    return places.reshape(*places.shape[:2], -1), weights.reshape(*weights.shape[:2], -1)


@jax.custom_vjp
def _mean(flat: Array, rows: Array, wy: Array, cols: Array, wx: Array) -> Array:
    """``sum_ab wy[n, p, a] wx[n, q, b] flat[rows[n, p, a] + cols[n, q, b]]``, [N, P, Q, C]."""
    terms = (
        flat[rows[:, :, None, a] + cols[:, None, :, b]].astype(jnp.float32)
        * (wy[:, :, None, a] * wx[:, None, :, b])[..., None]
        for a in range(rows.shape[-1])
        for b in range(cols.shape[-1])
    )
    return sum(terms, start=jnp.zeros(())).astype(flat.dtype)


def _mean_forward(flat: Array, *taps: Array) -> tuple[Array, tuple[Array, ...]]:
    return _mean(flat, *taps), (flat, *taps)


def _mean_backward(saved: tuple[Array, ...], g: Array) -> tuple[Array | None, ...]:
    """Two walks through the boxes, a few at a time: what XLA finds unused of the two it leaves out."""
    flat, *taps = saved
    chunk = min(_BOXES_AT_ONCE, len(g))
    chunks = [
        jnp.pad(x, ((0, -len(x) % chunk),) + ((0, 0),) * (x.ndim - 1)).reshape(-1, chunk, *x.shape[1:])
        for x in (g.astype(jnp.float32), *taps)
    ]
    pairs = [(a, b) for a in range(taps[0].shape[-1]) for b in range(taps[2].shape[-1])]

    def spread(total: Array, boxes: list[Array]) -> tuple[Array, None]:
        g, rows, wy, cols, wx = boxes
        for a, b in pairs:
            weight = wy[:, :, None, a] * wx[:, None, :, b]
            total = total.at[rows[:, :, None, a] + cols[:, None, :, b]].add(g * weight[..., None])
        return total, None

    def toward_weights(_: None, boxes: list[Array]) -> tuple[None, tuple[Array, Array]]:
        g, rows, wy, cols, wx = boxes
        dots = jnp.stack(
            [
                jnp.sum(flat[rows[:, :, None, a] + cols[:, None, :, b]].astype(jnp.float32) * g, axis=-1)
                for a, b in pairs
            ],
            axis=-1,
        ).reshape(*g.shape[:3], wy.shape[-1], wx.shape[-1])
        return None, (
            jnp.einsum("npqab,nqb->npa", dots, wx, precision="highest"),
            jnp.einsum("npqab,npa->nqb", dots, wy, precision="highest"),
        )

    toward_flat, _ = lax.scan(spread, jnp.zeros(flat.shape, jnp.float32), chunks)
    _, (dy, dx) = lax.scan(toward_weights, None, chunks)
    dy, dx = (d.reshape(-1, *d.shape[2:])[: len(g)] for d in (dy, dx))
    return toward_flat.astype(flat.dtype), None, dy, None, dx


_mean.defvjp(_mean_forward, _mean_backward)


def _max(flat: Array, rows: Array, wy: Array, cols: Array, wx: Array) -> Array:
    """The largest of the samples, each of which is two taps down by two across."""
    largest = None
    # A mean's weights hold 1 / S; a maximum's samples are whole.
    wy, wx = (_whole(w) for w in (wy, wx))
    for a in range(0, rows.shape[-1], 2):
        for b in range(0, cols.shape[-1], 2):
            taps = (x[..., i : i + 2] for x, i in ((rows, a), (wy, a), (cols, b), (wx, b)))
            sample = cast(Array, _mean(flat, *taps))
            largest = sample if largest is None else jnp.where(sample > largest, sample, largest)
    assert largest is not None
    return largest


def _whole(weights: Array) -> Array:
    pairs = weights.reshape(*weights.shape[:-1], -1, 2)
    total = lax.stop_gradient(pairs.sum(-1, keepdims=True))
    return (pairs / jnp.where(total > 0, total, 1)).reshape(weights.shape)


def roi_pool(features: Array, boxes: Array, output_size: int | tuple[int, int], *, spatial_scale: float) -> Array:
    """Fast R-CNN's pooling: the box is snapped to whole places, cut into bins that are snapped again, and each bin is
    the maximum of its places; what lies outside of the map is left out, and a bin of nothing is 0.

    Differentiable in the features (of equal maxima one has the gradient), not in the boxes; up to a place off the box.
    By maxima of windows of 1, 2, 4, ... places down and across, of which any bin is four: time and memory are
    ``log(H) log(W)`` feature maps and 4 P Q N rows of C, not a walk through each bin.

    Args:
      features, boxes, output_size, spatial_scale: as in :func:`roi_align`.

    Returns:
      ``[N, P, Q, C]``.

    Girshick 2015, "Fast R-CNN", section 2.1; the snapping is Caffe's and torchvision's, but that they find the ends of
    bins in float32, so that at a few lengths the last bin has one place more (57 places in 7 bins).
    """
    p, q = _sides(output_size)
    _check([features], boxes, jnp.zeros(len(boxes), jnp.int32), (spatial_scale,), 1, 1, "max")
    h, w, _ = features.shape
    scaled = lax.stop_gradient(boxes.astype(jnp.float32)) * spatial_scale
    # Away from zero at a half, as C's round.
    snapped = (jnp.sign(scaled) * jnp.floor(jnp.abs(scaled) + 0.5)).astype(jnp.int32)
    y0, y1 = _bins(snapped[:, 1], snapped[:, 3], p, h)
    x0, x1 = _bins(snapped[:, 0], snapped[:, 2], q, w)
    tables = [features]
    ky, kx = h.bit_length(), w.bit_length()
    for i in range(1, ky):
        tables.append(_windows(tables[-1], 1 << (i - 1), 0))
    rows = [tables]
    for i in range(1, kx):
        rows.append([_windows(t, 1 << (i - 1), 1) for t in rows[-1]])
    flat = jnp.concatenate([t.reshape(h * w, -1) for row in rows for t in row])  # by (kx, ky), place
    (level_y, *ys), (level_x, *xs) = _two_windows(y0, y1), _two_windows(x0, x1)
    table = (level_x[:, None, :] * ky + level_y[:, :, None]) * (h * w)  # [N, P, Q]
    parts = [flat[table + y[:, :, None] * w + x[:, None, :]] for y in ys for x in xs]
    largest = parts[0]
    for part in parts[1:]:
        largest = jnp.where(part > largest, part, largest)
    empty = (y1 <= y0)[:, :, None] | (x1 <= x0)[:, None, :]
    return jnp.where(empty[..., None], 0, largest)


def _bins(start: Array, end: Array, bins: int, size: int) -> tuple[Array, Array]:
    """First and past-the-last place of each bin, ``[N, bins]``, within the map."""
    length = jnp.maximum(end - start + 1, 1)
    number = np.arange(bins + 1, dtype=np.int32)[None]
    first, last = number[:, :-1] * length[:, None] // bins, -(-number[:, 1:] * length[:, None] // bins)
    return jnp.clip(first + start[:, None], 0, size), jnp.clip(last + start[:, None], 0, size)


def _windows(table: Array, shift: int, axis: int) -> Array:
    """``max(table[i], table[i + shift])``; the last ones, which no bin reads, stay."""
    after = jnp.concatenate(
        [lax.slice_in_dim(table, shift, None, axis=axis), lax.slice_in_dim(table, 0, shift, axis=axis)], axis=axis
    )
    return jnp.where(after > table, after, table)


def _two_windows(first: Array, last: Array) -> tuple[Array, Array, Array]:
    """The power of two, and where two windows of so many places begin that together are ``first..last``."""
    length = jnp.maximum(last - first, 1)
    power = 31 - lax.clz(length)
    begin = jnp.minimum(first, last - 1)
    return power, jnp.maximum(begin, 0), jnp.maximum(last - (1 << power), 0)


def _sides(output_size: int | tuple[int, int]) -> tuple[int, int]:
    return (output_size, output_size) if isinstance(output_size, int) else output_size


def _check(
    features: Sequence[Array],
    boxes: Array,
    level: Array,
    scales: Sequence[float],
    ratio: int,
    most: int,
    reduction: str,
) -> None:
    shapes = [list(f.shape) for f in features]
    if not features or any(f.ndim != 3 or f.shape[-1] != features[0].shape[-1] for f in features):
        raise JaxsegError(f"features have shapes {shapes}; expected [H, W, C] each, of one C: one image, without batch")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or level.shape != boxes.shape[:1]:
        raise JaxsegError(f"boxes have shape {boxes.shape} and level {level.shape}; expected [N, 4] and [N]")
    if len(scales) != len(features):
        raise JaxsegError(f"there are {len(features)} levels of features and {len(scales)} scales; expected one each")
    if ratio < 0 or most < 1 or reduction not in get_args(Reduction):
        raise JaxsegError(
            f"sampling_ratio is {ratio}, max_samples {most} and reduction {reduction!r}; expected 0 or more, 1 or "
            "more, and mean or max"
        )
