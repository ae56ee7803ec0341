"""A small source kept in memory."""

import dataclasses
from typing import Any

import numpy as np

from jaxseg.data.coco import coco_truth, truth_by_samples
from jaxseg.data.split import OfSource
from jaxseg.data.transforms import sizes_of
from jaxseg.metrics import Truth


@dataclasses.dataclass(frozen=True)
class InMemory(OfSource):
    """``source`` with each sample kept when first read: where decoding would take longer than the training step.

    ``transform`` (``(sample, rng) -> sample``, such as Resize) is applied once, before keeping. Whoever takes a sample
    must not write into it; transforms don't.
    """

    source: Any
    transform: Any = None
    kept: dict[int, dict[str, Any]] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index not in self.kept:
            sample = self.source[index]
            self.kept[index] = sample if self.transform is None else self.transform(sample, np.random.default_rng(0))
        return dict(self.kept[index])

    @property
    def sizes(self) -> np.ndarray:
        """[N, 2]; of the transformed samples if there is a transform."""
        return sizes_of(self.source if self.transform is None else [self[i] for i in range(len(self))])

    def truth(self) -> Truth:
        """The source's; of the transformed samples if there is a transform."""
        return coco_truth(self.source) if self.transform is None else truth_by_samples(self)
