"""Instance masks kept compactly: of each only the window that it fills.

375 nuclei in a microscope's picture of 1388 x 1040 pixels are 541 MB as whole masks and half a megabyte as cutouts.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxseg.types import JaxsegError


@dataclasses.dataclass(frozen=True, eq=False)
class Cutouts:
    """N masks of an image: ``len(c)``, ``c[rows]`` (indices or bools) are Cutouts, ``c[i]`` is one whole mask [H, W].

    Args:
        size: (H, W) of the image.
        corners: [N, 2] integers, x and y of each bitmap's first pixel.
        bitmaps: N bool arrays [h, w], of any size (0 by 0 for an empty mask), each within the image.

    Raises:
        JaxsegError: as many corners as bitmaps are needed, and a bitmap must lie in the image.
    """

    size: tuple[int, int]
    corners: np.ndarray
    bitmaps: Sequence[np.ndarray]

    def __post_init__(self) -> None:
        corners = np.asarray(self.corners, np.int32).reshape(-1, 2)
        if len(corners) != len(self.bitmaps):
            raise JaxsegError(f"Cutouts: {len(corners)} corners for {len(self.bitmaps)} bitmaps; give one for each")
        for n, ((x, y), bitmap) in enumerate(zip(corners.tolist(), self.bitmaps)):
            (h, w), (height, width) = bitmap.shape, self.size
            if bitmap.dtype != bool or not (0 <= x <= width - w and 0 <= y <= height - h):
                raise JaxsegError(
                    f"Cutouts: bitmap {n} is {bitmap.dtype} [{h}, {w}] at x={x}, y={y}, expected bool that lies in the "
                    f"image of {height}x{width}; cut it off at the image's edge"
                )
        object.__setattr__(self, "corners", corners)
        object.__setattr__(self, "bitmaps", tuple(self.bitmaps))

    @classmethod
    def of(cls, masks: np.ndarray) -> "Cutouts":
        """Whole masks [N, H, W] bool, each cut out along its tight box."""
        corners, bitmaps = np.zeros((len(masks), 2), np.int32), []
        for n, mask in enumerate(masks):
            x1, y1, x2, y2 = tight_box(mask)
            corners[n] = x1, y1
            bitmaps.append(mask[y1:y2, x1:x2].copy())
        return cls((masks.shape[1], masks.shape[2]), corners, bitmaps)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W): what the whole masks' would be."""
        return len(self), *self.size

    def __len__(self) -> int:
        return len(self.bitmaps)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, int | np.integer):
            return self._whole(range(len(self))[rows])
        chosen = np.arange(len(self))[rows]
        return Cutouts(self.size, self.corners[chosen], [self.bitmaps[n] for n in chosen])

    def whole(self) -> np.ndarray:
        """[N, H, W] bool."""
        out = np.zeros(self.shape, bool)
        for n in range(len(self)):
            self._whole(n, out[n])
        return out

    def boxes(self) -> np.ndarray:
        """Smallest boxes [N, 4] float32 that hold the masks; zeros where one is empty."""
        boxes = np.zeros((len(self), 4), np.float32)
        for n, (corner, bitmap) in enumerate(zip(self.corners, self.bitmaps)):
            box = tight_box(bitmap)
            if box[2]:
                boxes[n] = np.add(box, (*corner, *corner))
        return boxes

    def _whole(self, n: int, out: np.ndarray | None = None) -> np.ndarray:
        out = np.zeros(self.size, bool) if out is None else out
        (x, y), (h, w) = self.corners[n], self.bitmaps[n].shape
        out[y : y + h, x : x + w] = self.bitmaps[n]
        return out


Masks = np.ndarray | Cutouts
"""Whole masks [N, H, W] bool, or the same cut out."""


def cut_out(masks: Masks) -> Cutouts:
    """Either form as cutouts."""
    return masks if isinstance(masks, Cutouts) else Cutouts.of(masks)


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of one mask [H, W] bool; zeros where it is empty."""
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return 0, 0, 0, 0
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
