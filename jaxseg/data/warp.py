"""One geometric map for everything in a sample: image, labels, masks, boxes and points.

A :class:`Warp` holds one affine matrix from source to output, in continuous pixels (the centre of the first
pixel is at 0.5), and for elastic deformation a smooth displacement of the output. Everything is sampled
**once**. The image is interpolated bilinearly; labels and masks take the nearest pixel, and no argument
here can make it otherwise.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np

from jaxseg.data.cutouts import Cutouts, Masks, cut_out, tight_box
from jaxseg.types import VOID, JaxsegError

MEAN_COLOUR = (124, 116, 104)
"""Mean of ImageNet, RGB: after the usual normalisation it is 0, as a convolution's own padding is."""
Fill = tuple[int, int, int] | Literal["reflect"]


@dataclasses.dataclass(frozen=True, eq=False)
class Warp:
    """Where every point goes.

    Args:
        matrix: [2, 3] float64; a source point (x, y) lands at ``matrix @ (x, y, 1)``, in output pixels.
        size: (H, W) of the output.
        shift: [H, W, 2] float32 or None; output pixel ``q`` shows what the matrix alone would show at
            ``q + shift(q)``.
    """

    matrix: np.ndarray
    size: tuple[int, int]
    shift: np.ndarray | None = None

    @property
    def mirrored(self) -> bool:
        """True where left and right change places."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def upright(self) -> bool:
        """True where the sides of boxes stay parallel to the axes: neither rotated nor bent."""
        return self.shift is None and self.matrix[0, 1] == 0 and self.matrix[1, 0] == 0

    @functools.cached_property
    def inverse(self) -> np.ndarray:
        """[2, 3] float64 from output to source, before ``shift``."""
        return invert(self.matrix)


def invert(matrix: np.ndarray) -> np.ndarray:
    """Inverse [2, 3] of an affine matrix [2, 3]."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1)


def compose(*matrices: np.ndarray) -> np.ndarray:
    """Affine matrix [2, 3] that applies the given ones in the order written."""
    total = np.eye(3)
    for m in matrices:
        total = np.concatenate([m, [[0.0, 0.0, 1.0]]]) @ total
    return total[:2]


def affine(sx: float = 1, sy: float = 1, tx: float = 0, ty: float = 0, degrees: float = 0) -> np.ndarray:
    """[2, 3] matrix: scale by (sx, sy), turn clockwise as seen (y points down), move by (tx, ty)."""
    c, s = (1.0, 0.0) if degrees == 0 else (np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)))
    return np.array([[c * sx, -s * sy, tx], [s * sx, c * sy, ty]], np.float64)


def elastic_shift(size: tuple[int, int], sd: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random displacements [H, W, 2] float32 in pixels (x, y).

    A 3 by 3 grid of vectors, each normal with standard deviation ``sd`` pixels, interpolated bicubically
    (Ronneberger et al. 2015, section 3.1). The nodes are the centres of a 3 by 3 division of the output.
    """
    nodes = rng.normal(0.0, sd, (3, 3, 2)).astype(np.float32)
    return cv2.resize(nodes, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def warp_image(image: np.ndarray, warp: Warp, *, fill: Fill = MEAN_COLOUR) -> np.ndarray:
    """Image [H, W, C] uint8 or float32, sampled bilinearly; of the same dtype.

    Where it shrinks it is first averaged over the area that becomes one pixel, so that fine texture does
    not alias. Outside the source it shows ``fill``: a colour in the image's own units, or ``"reflect"``.
    """
    image, matrix = _shrink(image, warp.matrix)
    if warp.upright and np.array_equal(matrix[:, :2], np.eye(2)) and np.array_equal(matrix, np.round(matrix)):
        return _shift_whole_pixels(image, matrix, warp.size, fill)
    border = cv2.BORDER_REFLECT_101 if fill == "reflect" else cv2.BORDER_CONSTANT
    if warp.upright and fill != "reflect":
        # The image's own edge is repeated for the half pixel beyond its last centres; what lies farther is
        # filled.
        out = _sample(image, matrix, warp, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE, (0, 0, 0))
        top, bottom, left, right = _covered(matrix, image.shape[:2], warp.size)
        for outside in (np.s_[:top], np.s_[bottom:], np.s_[:, :left], np.s_[:, right:]):
            out[outside] = fill
        return out
    return _sample(image, matrix, warp, cv2.INTER_LINEAR, border, (0, 0, 0) if fill == "reflect" else fill)


def warp_labels(labels: np.ndarray, warp: Warp, *, fill: int = VOID) -> np.ndarray:
    """Integer map [H, W] (uint8, int16, uint16 or int32), nearest pixel; ``fill`` outside the source.

    Which pixel that is, is the same for every dtype.
    """
    # cv2 samples int16, int32 and two channels in coarser steps than uint8, uint16 and four channels of bytes, and at
    # ties takes other pixels.
    as_bytes = labels.dtype.itemsize == 4
    bits = np.ascontiguousarray(labels).view(np.uint8 if as_bytes or labels.dtype.itemsize == 1 else np.uint16)
    outside = tuple(np.array([fill], labels.dtype).view(bits.dtype).tolist())
    bits = bits.reshape(*labels.shape, 4) if as_bytes else bits
    moved = _sample(bits, warp.matrix, warp, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, outside)
    return np.ascontiguousarray(moved).view(labels.dtype).reshape(warp.size)


def warp_masks(masks: Masks, warp: Warp) -> Masks:
    """Masks [N, H, W] bool to [N, H', W'] bool, nearest pixel; False outside the source. Cutouts give Cutouts.

    Each is looked at only where it can have gone, so N costs little; the pixels are those that
    :func:`warp_labels` gives of each mask as a uint8 map.
    """
    cutouts = cut_out(masks)
    shown = _shown(cutouts.size, warp)
    reach = 2 if warp.shift is None else 2 + int(np.ceil(np.abs(warp.shift).max()))
    sides = np.array([bitmap.shape[::-1] for bitmap in cutouts.bitmaps]).reshape(-1, 2)
    boxes = np.concatenate([cutouts.corners, cutouts.corners + sides], axis=1)
    corners = warp_boxes(boxes, dataclasses.replace(warp, shift=None)) + reach * np.array([-1, -1, 1, 1])
    windows = np.clip(corners, 0, warp.size[::-1] * 2).astype(int)
    bitmaps = []
    for n, (x1, y1, x2, y2) in enumerate(windows):
        moved = _look_up(cutouts.bitmaps[n], cutouts.corners[n], shown[y1:y2, x1:x2], cutouts.size[1])
        left, top, right, bottom = tight_box(moved)
        windows[n, :2] = (x1 + left, y1 + top) if right else (0, 0)
        bitmaps.append(moved[top:bottom, left:right].copy())
    out = Cutouts(warp.size, windows[:, :2], bitmaps)
    return out if isinstance(masks, Cutouts) else out.whole()


def warp_points(points: np.ndarray, warp: Warp) -> np.ndarray:
    """Points [..., 2] in source pixels to output pixels, float32."""
    flat = np.asarray(points, np.float64).reshape(-1, 2)
    target = flat @ warp.matrix[:, :2].T + warp.matrix[:, 2]
    if warp.shift is not None and len(flat):
        found = target
        for _ in range(12):  # q + shift(q) = target, by iteration: the displacement is smooth
            found = target - _shift_at(warp.shift, found)
        target = found
    return target.reshape(np.shape(points)).astype(np.float32)


def warp_boxes(boxes: np.ndarray, warp: Warp) -> np.ndarray:
    """Boxes [N, 4] to the upright boxes that hold them, [N, 4] float32, not clipped.

    Exact where the warp is upright. Where it turns or bends, the box round the box: loose (tighten with the
    mask).
    """
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    xm, ym = (x1 + x2) / 2, (y1 + y2) / 2
    xs = np.stack([x1, xm, x2, x1, x2, x1, xm, x2], axis=1)
    ys = np.stack([y1, y1, y1, ym, ym, y2, y2, y2], axis=1)
    points = warp_points(np.stack([xs, ys], axis=-1), warp)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32)


def warp_keypoints(keypoints: np.ndarray, warp: Warp, flip_pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Keypoints [N, P, 3] to [N, P, 3]; in a mirror the pairs change places. All 0 outside the output."""
    points = warp_points(keypoints[..., :2], warp)
    height, width = warp.size
    inside = ((points >= 0) & (points < np.array([width, height], np.float32))).all(-1)
    seen = np.where(inside, keypoints[..., 2], 0).astype(np.float32)
    out = np.concatenate([np.where(seen[..., None] > 0, points, 0), seen[..., None]], axis=-1).astype(np.float32)
    if warp.mirrored:
        order = np.arange(out.shape[1])
        for a, b in flip_pairs:
            order[[a, b]] = order[[b, a]]
        out = out[:, order]
    return out


def warp_shapes(shapes: Mapping[str, Any], warp: Warp) -> dict[str, np.ndarray]:
    """Shapes in space: ``points`` and ``normals`` [N, P, 3], ``frames`` [N, 4], ``depths`` [N] and ``voxels`` [N, M, M,
    M] (:class:`jaxseg.data.Solids`). Depth is scaled as width and height are on average.

    Raises:
        JaxsegError: a warp that turns or bends: voxels would have to be filled anew.
    """
    if not warp.upright:
        raise JaxsegError("shapes in space can be scaled, moved and mirrored only; leave out rotate and elastic")
    (sx, _, tx), (_, sy, ty) = warp.matrix
    scale = np.array([sx, sy, np.sqrt(abs(sx * sy))])
    normals = shapes["normals"] / scale
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    order = [slice(None), slice(None), *(slice(None, None, -1 if s < 0 else 1) for s in (sy, sx))]
    return {
        "points": (shapes["points"] * scale + np.array([tx, ty, 0])).astype(np.float32),
        "normals": normals.astype(np.float32),
        "frames": warp_boxes(shapes["frames"], warp),
        "depths": (shapes["depths"] * scale[2]).astype(np.float32),
        "voxels": shapes["voxels"][tuple(order)],
    }


def _shown(source: tuple[int, int], warp: Warp) -> np.ndarray:
    """Which source pixel each output pixel shows: int32 [H', W'] ``y * W + x``; -1 outside the source."""
    places = np.arange(1, source[0] * source[1] + 1, dtype=np.int32)
    return warp_labels(places.reshape(source), warp, fill=0) - 1


def _look_up(bitmap: np.ndarray, corner: np.ndarray, shown: np.ndarray, width: int) -> np.ndarray:
    """The bitmap [h, w] at ``corner`` (x, y) as seen by ``shown`` [H', W'], places in an image of ``width``."""
    y, x = np.divmod(shown, np.int32(width))
    y, x = y - corner[1], x - corner[0]
    inside = (y >= 0) & (y < bitmap.shape[0]) & (x >= 0) & (x < bitmap.shape[1])
    out = np.zeros(shown.shape, bool)
    out[inside] = bitmap[y[inside], x[inside]]
    return out


def _sample(
    array: np.ndarray, matrix: np.ndarray, warp: Warp, how: int, border: int, fill: tuple[int, ...]
) -> np.ndarray:
    """cv2's warp in our convention: its pixel centres lie at whole numbers, ours at halves."""
    array = np.ascontiguousarray(array)
    inverse = invert(matrix)
    inverse[:, 2] += inverse[:, :2] @ (0.5, 0.5) - 0.5
    height, width = warp.size
    if warp.shift is None:
        flags = how | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(array, inverse, (width, height), flags=flags, borderMode=border, borderValue=fill)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x + warp.shift[..., 0], y + warp.shift[..., 1]
    (a, b, c), (d, e, f) = inverse.astype(np.float32)
    return cv2.remap(array, a * x + b * y + c, d * x + e * y + f, how, borderMode=border, borderValue=fill)


def _shrink(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area-average the image where the matrix shrinks it, and give the matrix that remains to be applied."""
    height, width = image.shape[:2]
    scale_x, scale_y = np.hypot(*matrix[:, 0]), np.hypot(*matrix[:, 1])
    w = max(1, round(width * min(1.0, float(scale_x))))
    h = max(1, round(height * min(1.0, float(scale_y))))
    if (h, w) == (height, width):
        return image, matrix
    small = cv2.resize(np.ascontiguousarray(image), (w, h), interpolation=cv2.INTER_AREA)
    rest = matrix * np.array([[width / w, height / h, 1.0]])
    near = np.round(rest, 9)  # 1.0000000000000002 is one: lets whole-pixel moves be seen as such
    return small, near


def _covered(matrix: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows top..bottom and columns left..right of the output whose centres lie in the source (upright)."""
    bounds = []
    for axis, length, limit in ((1, source[0], size[0]), (0, source[1], size[1])):
        ends = sorted((matrix[axis, 2], matrix[axis, axis] * length + matrix[axis, 2]))
        first, last = np.ceil(ends[0] - 0.5 - 1e-6), np.floor(ends[1] - 0.5 + 1e-6) + 1
        bounds += [int(np.clip(first, 0, limit)), int(np.clip(last, 0, limit))]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def _shift_whole_pixels(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], fill: Fill) -> np.ndarray:
    """Move by whole pixels: copies values, interpolates nothing."""
    tx, ty = int(matrix[0, 2]), int(matrix[1, 2])
    height, width = image.shape[:2]
    pads = (max(0, ty), max(0, size[0] - ty - height), max(0, tx), max(0, size[1] - tx - width))
    kept = image[max(0, -ty) : max(0, size[0] - ty), max(0, -tx) : max(0, size[1] - tx)]
    if not any(pads):
        return np.ascontiguousarray(kept)
    if fill == "reflect":
        mode: dict[str, Any] = {"borderType": cv2.BORDER_REFLECT_101}
        whole = cv2.copyMakeBorder(image, *pads, **mode)
        top, left = max(0, -ty), max(0, -tx)
        return np.ascontiguousarray(whole[top : top + size[0], left : left + size[1]])
    out = np.empty((*size, *image.shape[2:]), image.dtype)
    out[:] = fill
    out[pads[0] : pads[0] + kept.shape[0], pads[2] : pads[2] + kept.shape[1]] = kept
    return out


def _shift_at(shift: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear look-up of shift [H, W, 2] at points [M, 2] in continuous pixels; the edge is repeated."""
    height, width = shift.shape[:2]
    x = np.clip(points[:, 0] - 0.5, 0, width - 1)
    y = np.clip(points[:, 1] - 0.5, 0, height - 1)
    x0, y0 = x.astype(int), y.astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = shift[y0, x0] * (1 - fx) + shift[y0, x1] * fx
    bottom = shift[y1, x0] * (1 - fx) + shift[y1, x1] * fx
    return top * (1 - fy) + bottom * fy
