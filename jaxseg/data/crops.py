"""Crops round objects, and windows round pixels: training images made of parts of a sample.

The objects of a label map are its connected regions, one class each; where the sample has instance masks, those.
"""

import dataclasses
from typing import Literal

import cv2
import numpy as np

from jaxseg.data.instances import tight_boxes
from jaxseg.data.proposals import Proposals, extend_boxes
from jaxseg.data.transforms import Sample, apply_warp
from jaxseg.data.warp import MEAN_COLOUR, Warp, affine, compose
from jaxseg.metrics.precision import box_iou
from jaxseg.types import VOID, JaxsegError


@dataclasses.dataclass(frozen=True)
class ObjectCrop:
    """A crop round one object drawn at random: the training data of DeconvNet's two stages.

    First one of the image's classes is drawn, then one of its objects, so that rare classes are seen as often as
    frequent ones. Its box, made square and ``extend`` times larger (at least ``min_side``), is scaled to ``scaled`` x
    ``scaled``; of that a random window of ``side`` x ``side`` is taken, and mirrored half of the time. What lies
    outside the image is void.

    Args:
        stage: 1, the object's own box, and of the labels only the object's own: all else becomes ``background``.
            2, a proposal that overlaps some object's box by more than ``overlap`` (IoU), drawn by the class of the
            object it overlaps most, with all labels; where there is none, the object's own box.
        proposals: for stage 2, any :data:`jaxseg.data.proposals.Proposals`: EdgeBoxes (the paper's; in OpenCV's contrib
            modules, with a model of its own), :func:`jaxseg.data.selective_search`, :func:`jaxseg.data.edge_proposals`.
        background: the class of all other pixels in stage 1. None keeps all labels: for sets in which every pixel is
            of some class, and none means "other".
        classes: the classes that count as objects; None: all but ``background``.
        side, scaled, extend, overlap: 224, 250, 1.2 and 0.5 in the paper.
        min_side: of the box, in pixels of the sample. Small objects then keep what is round them, and are seen no
            larger than prediction shows them (the authors' proposals have at least 112 pixels, see
            :func:`jaxseg.data.best_proposals`). The paper's crops: 0.
        min_pixels: smaller regions of a label map are no objects.

    An image is drawn as often as any other (the paper's list of crops draws each object as often as any other). A
    sample that has no object gives its whole self. The pipeline shows instances to transforms if ``max_instances`` is
    set; else objects are regions.

    Source: Noh et al. 2015, "Learning Deconvolution Network", sections 4.2 and 6.1.
    """

    stage: Literal[1, 2] = 1
    proposals: Proposals | None = None
    background: int | None = 0
    classes: tuple[int, ...] | None = None
    side: int = 224
    scaled: int = 250
    extend: float = 1.2
    overlap: float = 0.5
    min_side: float = 0.0
    min_pixels: int = 64
    fill: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        if self.stage not in (1, 2) or (self.stage == 2) != (self.proposals is not None):
            raise JaxsegError(
                f"ObjectCrop: stage {self.stage} with proposals {self.proposals}; stage 1 takes none, stage 2 needs a "
                "callable image -> (boxes, scores), such as edge_proposals"
            )
        if self.side > self.scaled:
            raise JaxsegError(f"ObjectCrop: a window of {self.side} does not fit in a crop scaled to {self.scaled}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image, label = sample["image"], sample["label"]
        given = sample.get("instances", {})
        objects = given if "masks" in given else self.objects(label)
        boxes, classes = np.asarray(objects["boxes"], np.float64), np.asarray(objects["classes"])
        if len(boxes) == 0:
            boxes, chosen = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]]), 0
        else:
            if self.proposals is not None:
                boxes, classes = self._overlapping(boxes, classes, self.proposals(image)[0])
            chosen = _draw_balanced(classes, rng)
            if self.stage == 1 and self.background is not None:
                kept = objects["masks"][chosen] | (label == VOID)
                label = np.where(kept, label, label.dtype.type(self.background))
        warp = self._warp(boxes[chosen], rng)
        return apply_warp({**_plain(sample), "label": label}, warp, fill=self.fill)

    def objects(self, label: np.ndarray) -> dict[str, np.ndarray]:
        """The regions of ``classes`` in a label map as instances: boxes, classes (as labelled), masks."""
        found = self.classes
        if found is None:
            found = tuple(int(c) for c in np.unique(label) if c not in (VOID, self.background))
        return regions(label, found, self.min_pixels)

    def _overlapping(
        self, boxes: np.ndarray, classes: np.ndarray, proposed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The proposals that overlap an object, with its class; the objects themselves where none does."""
        overlaps = box_iou(proposed, boxes)
        best = overlaps.argmax(1)
        good = overlaps.max(1, initial=0.0) > self.overlap
        return (proposed[good], classes[best[good]]) if good.any() else (boxes, classes)

    def _warp(self, box: np.ndarray, rng: np.random.Generator) -> Warp:
        x1, y1, x2, y2 = extend_boxes(box[None], self.extend, square=True)[0]
        side = max(x2 - x1, self.min_side, 1.0)
        scale, x1, y1 = self.scaled / side, (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
        down, right = rng.integers(0, self.scaled - self.side + 1, 2)
        matrix = compose(affine(scale, scale, -x1 * scale, -y1 * scale), affine(tx=-right, ty=-down))
        if rng.random() < 0.5:
            matrix = compose(matrix, affine(sx=-1, tx=self.side))
        return Warp(matrix, (self.side, self.side))


@dataclasses.dataclass(frozen=True)
class PixelWindow:
    """The window of ``side`` x ``side`` pixels round one pixel drawn at random; its label is that of the centre.

    Only the centre of the label map that comes out is labelled, the rest is void. Beyond the image's border it is
    mirrored, which :class:`jaxseg.models.SlidingWindow` does too. One reading of an image gives one window; a batch
    holds as many images as windows.

    Args:
        side: of the window, odd.
        balanced: draw a class among those in the image, then one of its pixels; False draws among all pixels.
        flip: mirror left and right half of the time.
        turn: turn by 0, 90, 180 or 270 degrees: where up and down mean nothing (the paper's tissue).

    Source: Ciresan et al. 2012, section 2 (equally many windows of each class; mirrored and turned by 90 degrees).
    """

    side: int
    balanced: bool = True
    flip: bool = True
    turn: bool = False

    def __post_init__(self) -> None:
        if self.side < 1 or self.side % 2 == 0:
            raise JaxsegError(f"PixelWindow has a side of {self.side}; it must be odd, to have a centre pixel")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        label, margin = sample["label"], self.side // 2
        labelled = np.flatnonzero(label != VOID)
        kinds = label.ravel()[labelled] if self.balanced else np.zeros(len(labelled))
        at = int(labelled[_draw_balanced(kinds, rng)]) if len(labelled) else int(rng.integers(label.size))
        row, column = divmod(at, label.shape[1])
        rows, columns = (_mirrored(i, margin, n) for i, n in zip((row, column), label.shape))
        image = sample["image"][rows[:, None], columns]
        target = np.full((self.side, self.side), VOID, label.dtype)
        target[margin, margin] = label[row, column]
        image = image[:, ::-1] if self.flip and rng.random() < 0.5 else image
        image = np.rot90(image, int(rng.integers(4))) if self.turn else image
        return {**_plain(sample), "image": np.ascontiguousarray(image), "label": target}


def regions(label: np.ndarray, classes: tuple[int, ...], min_pixels: int = 1) -> dict[str, np.ndarray]:
    """Connected regions (8 neighbours) of a label map [H, W] as instances.

    Returns ``boxes`` [N, 4] float32, ``classes`` [N] int32 as labelled, ``masks`` [N, H, W] bool: class by class, those
    of at least ``min_pixels``.
    """
    masks, kinds = [np.zeros((0, *label.shape), bool)], []
    for kind in classes:
        count, ids, stats, _ = cv2.connectedComponentsWithStats((label == kind).astype(np.uint8), connectivity=8)
        large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= min_pixels]
        masks.append(ids[None] == np.array(large, np.int32).reshape(-1, 1, 1))
        kinds += [kind] * len(large)
    found = np.concatenate(masks)
    return {"boxes": tight_boxes(found), "classes": np.array(kinds, np.int32), "masks": found}


def _draw_balanced(classes: np.ndarray, rng: np.random.Generator) -> int:
    """An index into ``classes``: first a class is drawn, then one of its places."""
    return int(rng.choice(np.flatnonzero(classes == rng.choice(np.unique(classes)))))


def _mirrored(at: int, margin: int, size: int) -> np.ndarray:
    """Indices ``at - margin ... at + margin``, those outside ``0 ... size - 1`` mirrored about its ends."""
    period = max(2 * (size - 1), 1)
    i = np.abs(np.arange(at - margin, at + margin + 1)) % period
    return np.minimum(i, period - i) if size > 1 else np.zeros(2 * margin + 1, int)


def _plain(sample: Sample) -> Sample:
    return {k: v for k, v in sample.items() if k != "instances"}
