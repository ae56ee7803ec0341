"""Parts of a source, as sources."""

import dataclasses
from typing import Any

import numpy as np

from jaxseg.types import JaxsegError


@dataclasses.dataclass(frozen=True)
class Subset:
    """The samples of ``source`` at ``indices``, in that order."""

    source: Any
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.source[self.indices[index]]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def palette(self) -> np.ndarray:
        return self.source.palette


def split(source: Any, fraction: float, *, seed: int = 0) -> tuple[Subset, Subset]:
    """Two parts of a source that share no sample: ``fraction`` of it, drawn by ``seed``, and the rest.

    Raises JaxsegError where one part would be empty.
    """
    count, first = len(source), round(fraction * len(source))
    if not 0 < first < count:
        raise JaxsegError(f"{count} samples can't be split by {fraction}: both parts need at least one")
    order = np.random.default_rng(seed).permutation(count)
    parts = (tuple(int(i) for i in np.sort(part)) for part in (order[:first], order[first:]))
    return Subset(source, next(parts)), Subset(source, next(parts))
