"""R-CNN's fine-tuning set: proposals matched to the objects beforehand, cut out and warped to one size."""

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxseg.data.photometric import to_float
from jaxseg.data.warp import MEAN_COLOUR
from jaxseg.metrics.precision import box_iou
from jaxseg.ops.crop import context_boxes, overlaps
from jaxseg.progress import progress
from jaxseg.types import JaxsegError


@dataclasses.dataclass(frozen=True)
class RegionCrops:
    """A source of crops, each of one class or of background: what R-CNN's network is fine-tuned on, as a classifier.

    A proposal is of the class of the object that it overlaps most if their IoU is at least ``positive``; so are the
    true boxes; the other proposals are background (Girshick et al. 2014, appendix B). Of these three times as many are
    drawn as there are objects' crops, once and for all, so that a batch of 128 holds 32 objects and 96 backgrounds on
    the average (the paper's batches, section 2.3: exactly so many). Regions that overlap a crowd most are left out.

    Args:
        source: samples with ``image``, ``instances`` and ``proposals``, and ``things``:
            ``InMemory(source, Propose(...))``. It is gone through once, when the first crop or the length is asked for.
        side: of the crops, in pixels.
        context: pixels of the crop around the box, 16 of 227.
        positive: least IoU with an object.
        background: how many backgrounds a crop of an object.
        fill: colour beyond the picture's edge.
        seed: of the backgrounds drawn.

    A sample holds ``image`` [S, S, 3] float32, ``category`` (0 background) and ``name``.
    """

    source: Any
    side: int = 227
    context: float = 16
    positive: float = 0.5
    background: int = 3
    fill: tuple[int, int, int] = MEAN_COLOUR
    seed: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return ("background", *self.source.things)

    @functools.cached_property
    def regions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each crop the sample's place [M], the box [M, 4] and the class [M]; those of objects first."""
        found = []
        with progress("proposals", len(self.source), "pictures") as show:
            for place in range(len(self.source)):
                found.append(self._matched(place))
                show(place + 1)
        places = np.repeat(np.arange(len(found)), [len(kinds) for _, kinds in found])
        boxes, kinds = (np.concatenate(parts) for parts in zip(*found, strict=True))
        objects, others = np.flatnonzero(kinds > 0), np.flatnonzero(kinds == 0)
        if not len(objects):
            raise JaxsegError("RegionCrops: no sample has an instance; R-CNN needs objects to be trained on")
        others = np.random.default_rng(self.seed).permutation(others)[: self.background * len(objects)]
        chosen = np.concatenate([objects, others])
        return places[chosen], boxes[chosen], kinds[chosen]

    def __len__(self) -> int:
        return len(self.regions[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        place, box, kind = (part[index] for part in self.regions)
        sample = self.source[int(place)]
        image = warp_region(sample["image"], box, self.side, context=self.context, fill=self.fill)
        name = f"box {index} of {sample.get('name', f'sample {place}')}"
        return {"image": image, "category": np.int32(kind), "name": name}

    def _matched(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The boxes of a sample [N, 4] and their classes [N], without what is to be left out."""
        sample = self.source[place]
        instances = sample["instances"]
        truth, classes = np.asarray(instances["boxes"], np.float32), np.asarray(instances["classes"], np.int32)
        crowd = np.asarray(instances.get("crowd", np.zeros(len(truth))), bool)
        proposed = sample["proposals"]["boxes"][sample["proposals"]["valid"]]
        boxes = np.concatenate([truth[~crowd], proposed])
        if not len(truth):
            return boxes, np.zeros(len(boxes), np.int32)
        overlap = box_iou(boxes, truth)
        best = overlap.argmax(1)
        inside = overlap.max(1) >= self.positive
        kept = ~(crowd[best] & (overlap.max(1) > 0))
        return boxes[kept], np.where(inside, classes[best], 0)[kept]


def warp_region(
    image: np.ndarray,
    box: np.ndarray,
    side: int = 227,
    *,
    context: float = 16,
    fill: tuple[int, int, int] = MEAN_COLOUR,
) -> np.ndarray:
    """The box of an image [H, W, 3] stretched to [side, side, 3] float32 in 0..1, with ``context`` pixels of that size
    around it; beyond the image's edge ``fill`` (Girshick et al. 2014, appendix A, "warp").

    The numbers are those of :func:`jaxseg.ops.crop_resize` of :func:`jaxseg.ops.context_boxes`, on the host.
    """
    x1, y1, x2, y2 = context_boxes(np.asarray(box, np.float32), side, context)
    ground = np.asarray(fill, np.float32) / 255
    down = overlaps(y1, y2 - y1, side, image.shape[0], np).astype(np.float32)
    right = overlaps(x1, x2 - x1, side, image.shape[1], np).astype(np.float32)
    return np.einsum("sh,hwc,tw->stc", down, to_float(image) - ground, right, optimize=True) + ground
