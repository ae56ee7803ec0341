"""Large pictures at their own resolution: windows of one size, side by side."""

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxseg.data.split import OfSource
from jaxseg.data.transforms import sizes_of
from jaxseg.types import VOID, JaxsegError


@dataclasses.dataclass(frozen=True)
class Windows(OfSource):
    """A source of windows that cover each labelled picture of ``source``, none of its pixels scaled.

    For validation of what is trained on windows of such pictures (``Augment(size, relative="pixels")``) and predicts in
    tiles (:class:`jaxseg.infer.Tiles`). The last window of a row or column ends where the picture ends; what it shares
    with the one before is void in it, so that each pixel counts once. A picture that is smaller than a window is one by
    itself, as it is (:class:`jaxseg.data.Pad` fills it up).

    Args:
        source: samples with ``image`` [H, W, 3], ``label`` [H, W] and ``name``.
        size: (height, width) of a window in pixels.

    Raises:
        JaxsegError: a size below 1.
    """

    source: Any
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise JaxsegError(f"Windows.size is {self.size}; give (height, width) in pixels, of at least 1")

    @functools.cached_property
    def _grids(self) -> tuple[np.ndarray, np.ndarray]:
        """Windows down and across each picture, [N, 2], and how many there are up to and with each, [N]."""
        grids = -(-np.asarray(sizes_of(self.source)) // np.asarray(self.size))
        return grids, np.cumsum(grids.prod(1))

    @functools.cached_property
    def _read(self) -> Any:
        # A picture's windows are read one after another, by a few threads.
        return functools.lru_cache(maxsize=4)(self.source.__getitem__)

    def __len__(self) -> int:
        return int(self._grids[1][-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        grids, counts = self._grids
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        picture = int(np.searchsorted(counts, index, side="right"))
        place = index - int(counts[picture] - grids[picture].prod())
        sample = self._read(picture)
        (top, height, seen_above), (left, width, seen_left) = (
            _part(int(n), length, size)
            for n, length, size in zip(divmod(place, grids[picture][1]), sample["image"].shape, self.size)
        )
        part = (slice(top, top + height), slice(left, left + width))
        label = sample["label"][part].copy()
        label[:seen_above], label[:, :seen_left] = VOID, VOID
        return {"image": sample["image"][part], "label": label, "name": f"{sample['name']} {left},{top}"}


def _part(number: int, length: int, size: int) -> tuple[int, int, int]:
    """Where a window begins, how long it is, and how much of it the one before has shown."""
    begin = max(0, min(number * size, length - size))
    return begin, min(size, length), number * size - begin
