"""Parts of a source, as sources."""

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxseg.data.coco import coco_truth
from jaxseg.data.panoptic import panoptic_truth
from jaxseg.data.transforms import sizes_of
from jaxseg.metrics import Truth
from jaxseg.metrics.panoptic import Panoptic
from jaxseg.types import JaxsegError

# What a source knows beside its samples; it is true of some of them too, unlike `image_ids` or `files`.
_SHARED = (
    *("classes", "things", "stuff", "palette", "category_ids", "class_of", "keypoint_names", "flip_pairs"),
    *("has_masks", "words", "vocabulary"),
)


class OfSource:
    """Made of a ``source``, and knows what that knows of all its samples: ``classes``, ``things`` and the like."""

    source: Any

    def __getattr__(self, name: str) -> Any:
        if name not in _SHARED:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return getattr(self.source, name)


@dataclasses.dataclass(frozen=True)
class Subset(OfSource):
    """The samples of ``source`` at ``indices``, in that order."""

    source: Any
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.source[self.indices[index]]

    @property
    def sizes(self) -> np.ndarray:
        return sizes_of(self.source)[list(self.indices)]

    def truth(self) -> Truth:
        """The source's, of these samples."""
        truth = coco_truth(self.source)
        return truth._replace(image_ids=tuple(truth.image_ids[i] for i in self.indices))

    def panoptic(self, index: int) -> Panoptic:
        """The source's truth of one of these samples."""
        return panoptic_truth(self.source, self.indices[index])


@dataclasses.dataclass(frozen=True)
class Part(OfSource):
    """One of the two parts of :func:`split`, drawn when first asked for a sample; else a :class:`Subset`."""

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
    def sizes(self) -> np.ndarray:
        return self.samples.sizes

    def truth(self) -> Truth:
        """The source's, of these samples."""
        return self.samples.truth()

    def panoptic(self, index: int) -> Panoptic:
        """The source's truth of one of these samples."""
        return self.samples.panoptic(index)


def split(source: Any, fraction: float, *, seed: int = 0) -> tuple[Part, Part]:
    """Two parts of a source that share no sample: ``fraction`` of it, drawn by ``seed``, and the rest.

    Raises JaxsegError, when first asked for a sample, where one part would be empty.
    """
    return Part(source, fraction, seed, rest=False), Part(source, fraction, seed, rest=True)
