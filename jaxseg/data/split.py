"""Parts of a source, as sources."""

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxseg.data.coco import coco_truth
from jaxseg.data.transforms import sizes_of
from jaxseg.metrics import Truth
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
    def things(self) -> tuple[str, ...]:
        return self.source.things

    @property
    def palette(self) -> np.ndarray:
        return self.source.palette

    @property
    def sizes(self) -> np.ndarray:
        return sizes_of(self.source)[list(self.indices)]

    def truth(self) -> Truth:
        """The source's, of these samples."""
        truth = coco_truth(self.source)
        return truth._replace(image_ids=tuple(truth.image_ids[i] for i in self.indices))


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the two parts of :func:`split`, drawn when first asked for a sample."""

    source: Any
    fraction: float
    seed: int
    rest: bool

    @functools.cached_property
    def samples(self) -> Subset:
        count, first = len(self.source), round(self.fraction * len(self.source))
        if not 0 < first < count:
            raise JaxsegError(f"{count} samples can't be split by {self.fraction}: both parts need at least one")
        order = np.random.default_rng(self.seed).permutation(count)
        chosen = order[first:] if self.rest else order[:first]
        return Subset(self.source, tuple(int(i) for i in np.sort(chosen)))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.samples[index]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def things(self) -> tuple[str, ...]:
        return self.source.things

    @property
    def palette(self) -> np.ndarray:
        return self.source.palette

    @property
    def sizes(self) -> np.ndarray:
        return self.samples.sizes

    def truth(self) -> Truth:
        """The source's, of these samples."""
        return self.samples.truth()


def split(source: Any, fraction: float, *, seed: int = 0) -> tuple[Part, Part]:
    """Two parts of a source that share no sample: ``fraction`` of it, drawn by ``seed``, and the rest.

    Raises JaxsegError, when first asked for a sample, where one part would be empty.
    """
    return Part(source, fraction, seed, rest=False), Part(source, fraction, seed, rest=True)
