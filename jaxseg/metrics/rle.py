"""Masks as COCO writes them: polygons, and run lengths down the columns, as counts or as a string of them.

Masks here are a bitmap and the corner where it lies, so that no more is looked at than the window that it fills.
pycocotools is imported when first needed.
"""

from typing import Any

import numpy as np

from jaxseg.types import JaxsegError

_FAR = 16  # polygons are drawn pixel by pixel: none may reach farther than this many times the image


def encode_rle(bitmap: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The mask of an image of ``size`` (H, W) that shows ``bitmap`` [h, w] bool at ``corner`` (x, y), else False.

    Returns ``{"size": [H, W], "counts": str}``, as ``pycocotools.mask.encode`` gives of the whole mask.
    """
    coco_mask = _coco_mask()
    (x, y), (height, width), (h, w) = (int(v) for v in corner), size, bitmap.shape
    columns = np.zeros((w, height), bool)
    columns[:, y : y + h] = bitmap.T
    runs = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + x * height
    counts = np.diff(runs, prepend=0, append=height * width)
    # Runs alternate and begin with False; one that ends with the image's last pixel leaves an empty one behind it.
    counts = counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def to_rle(segmentation: Any, size: tuple[int, int], where: str = "") -> dict[str, Any]:
    """COCO's ``segmentation`` (polygons, or run lengths as list or string) as compressed run lengths (bytes).

    Raises JaxsegError, beginning with ``where``, for what is none of these or does not fit an image of ``size`` (H, W).
    """
    coco_mask = _coco_mask()
    height, width = size
    if isinstance(segmentation, dict):
        counts, of = segmentation.get("counts"), segmentation.get("size")
        if not isinstance(of, list | tuple) or list(of) != [height, width]:
            raise JaxsegError(f"{where}: run lengths of size {of}, but the image is {[height, width]} (H, W)")
        if isinstance(counts, str | bytes):
            return {"size": [height, width], "counts": counts.encode() if isinstance(counts, str) else counts}
        runs = as_numbers(counts)
        if not (runs >= 0).all() or (runs != np.round(runs)).any() or runs.sum() != height * width:
            raise JaxsegError(f"{where}: run lengths that do not add up to the {height}x{width} pixels of the image")
        return coco_mask.frPyObjects({"size": [height, width], "counts": runs.astype(int).tolist()}, height, width)
    polygons = [polygon_points(polygon, size, where) for polygon in polygons_of(segmentation, where)]
    return coco_mask.merge(coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], height, width))


def as_numbers(values: Any) -> np.ndarray:
    """A list of numbers as float64 [n]; of anything else one NaN."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of unlike lengths
        return np.array([np.nan])
    return array.astype(np.float64) if array.ndim == 1 and array.dtype.kind in "iuf" else np.array([np.nan])


def polygons_of(segmentation: Any, where: str = "") -> list[Any]:
    """The list of polygons that ``segmentation`` must be, if it is not run lengths."""
    if not isinstance(segmentation, list) or not segmentation:
        raise JaxsegError(f"{where}: segmentation is {str(segmentation)[:60]}; expected polygons or run lengths")
    return segmentation


def polygon_points(polygon: Any, size: tuple[int, int], where: str = "") -> np.ndarray:
    """A polygon ``[x, y, x, y, ...]`` as points [P, 2] float64, checked."""
    points = as_numbers(polygon)
    # Negated, so that NaN does not pass.
    if points.size < 6 or points.size % 2 or not (np.abs(points) <= _FAR * max(size)).all():
        raise JaxsegError(
            f"{where}: {str(polygon)[:60]} is no polygon; expected [x, y, x, y, ...] of 3 points or more near the image"
        )
    return points.reshape(-1, 2)


def decode_rle(rle: dict[str, Any], where: str = "") -> tuple[np.ndarray, tuple[int, int]]:
    """Compressed run lengths as ``(bitmap [h, w] bool, corner (x, y))``, the smallest window that holds all.

    Only the columns of that window are ever laid out: of a small object in a large image that is a fraction of what
    ``pycocotools.mask.decode`` does. Raises JaxsegError, beginning with ``where``, for damaged run lengths.
    """
    height, width = (int(v) for v in rle["size"])
    ends = np.cumsum(_counts(rle["counts"], where))  # of the runs, which alternate and begin with False
    if not len(ends) or ends[-1] != height * width or (np.diff(ends, prepend=0) < 0).any():
        raise JaxsegError(f"{where}: damaged run lengths (not those of {height}x{width} pixels); export the mask again")
    filled = np.flatnonzero(np.diff(ends)[::2]) * 2 + 1  # the runs of True that are not empty
    if not len(filled):
        return np.zeros((0, 0), bool), (0, 0)
    left, right = ends[filled[0] - 1] // height, (ends[filled[-1]] - 1) // height + 1
    runs = np.diff(np.clip(ends, left * height, right * height), prepend=left * height)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(right - left, height)
    rows = np.flatnonzero(columns.any(0))
    top, bottom = rows[0], rows[-1] + 1
    return np.ascontiguousarray(columns[:, top:bottom].T), (int(left), int(top))


def box_of_rle(rle: dict[str, Any]) -> np.ndarray:
    """xyxy of compressed run lengths, float64, without laying them out: pycocotools' ``toBbox``."""
    x, y, w, h = _coco_mask().toBbox(rle)
    return np.array([x, y, x + w, y + h])


def _counts(counts: bytes | str, where: str) -> np.ndarray:
    """The run lengths in COCO's string: each number five bits a character from 48 on, the lowest first, bit 5 where
    more follow, bit 4 of the last its sign; from the fourth number on, what is added to the last but one."""
    text = counts if isinstance(counts, bytes) else counts.encode()
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(codes & 32 == 0)
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise JaxsegError(f"{where}: damaged run lengths (an odd character, or cut off); export the mask again")
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    shift = 5 * (np.arange(len(codes)) - np.repeat(first, length))
    if shift.max() > 50:
        raise JaxsegError(f"{where}: damaged run lengths (too large a number); export the mask again")
    numbers = np.add.reduceat((codes & 31) << shift, first)
    numbers -= np.where(codes[last] & 16 != 0, np.int64(1) << 5 * length, 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _coco_mask() -> Any:
    from pycocotools import mask  # here, so that `import jaxseg` stays light

    return mask
