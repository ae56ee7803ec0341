"""What happens to a sample before it enters a batch: values, called as ``transform(sample, rng)``.

Each takes image, labels, boxes, keypoints, instance masks and proposals through **one** map (:mod:`jaxseg.data.warp`),
so that they stay together and are sampled once. What comes out holds, beside what went in:

``image`` float32 [H, W, 3] in [0, 1]; ``size`` int32 [2], height and width of the part that is image (from
the top left; the rest is padding); ``original`` int32 [2], height and width before; ``matrix`` float32 [2,
3] from original to new pixels, by which predictions find their way back.
"""

import dataclasses
from typing import Any, Literal

import numpy as np

from jaxseg.data.cutouts import Cutouts
from jaxseg.data.instances import tight_boxes
from jaxseg.data.photometric import jitter, to_float
from jaxseg.data.warp import (
    MEAN_COLOUR,
    Fill,
    Warp,
    affine,
    compose,
    elastic_shift,
    warp_boxes,
    warp_image,
    warp_keypoints,
    warp_labels,
    warp_masks,
    warp_shapes,
)
from jaxseg.types import VOID, JaxsegError

Sample = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Augment:
    """Random scale, crop, flip, rotation, bending, light and colour, for training.

    Args:
        size: (H, W) of what comes out.
        scale: range of the zoom, drawn uniformly in its logarithm.
        relative: what zoom 1 means: ``"pixels"``, the image as it is; ``"fit"``, the image just fits in
            ``size`` with its aspect kept (large-scale jitter for sets of mixed sizes); ``"stretch"``, it is
            stretched to ``size``.
        crop: where the window lies if the zoomed image is larger than it, and the image in the window if
            smaller: ``"random"``, or ``"centre"``.
        flip: mirror left and right half of the time.
        flip_pairs: keypoints that change places in a mirror. None: those the sample names in
            ``instances["flip_pairs"]``.
        rotate: largest angle, in degrees either way, about the middle of the window.
        elastic: standard deviation, in output pixels, of the bending (Ronneberger et al. 2015: 10 at 572).
        fill: colour (uint8 RGB) outside the image, by default ImageNet's mean; or ``"reflect"``. Labels are
            void there in either case.
        brightness, contrast, saturation, hue, noise: see :func:`jaxseg.data.photometric.jitter`.

    Boxes: an instance keeps its place if any of it remains in the window. Its box is moved exactly; where
    it is cut off, turned or bent and the sample has masks, the box is drawn tight round the mask again.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    relative: Literal["pixels", "fit", "stretch"] = "pixels"
    crop: Literal["random", "centre"] = "random"
    flip: bool = True
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    rotate: float = 0.0
    elastic: float = 0.0
    fill: Fill = MEAN_COLOUR
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise JaxsegError(f"Augment.scale must be (low, high) with 0 < low <= high, got {self.scale}")
        if min(self.size) < 1:
            raise JaxsegError(f"Augment.size must be (height, width) of at least 1 pixel, got {self.size}")

    def warp(self, source: tuple[int, int], rng: np.random.Generator) -> Warp:
        """Draw a warp for an image of (H, W) = source."""
        height, width = source
        zoom = float(np.exp(rng.uniform(*np.log(self.scale))))
        sy, sx = _base_scale(source, self.size, self.relative)
        # Whole sizes and offsets: a zoom of 1 copies pixels, and shrinking is a plain area average.
        h, w = max(1, round(height * sy * zoom)), max(1, round(width * sx * zoom))
        place = rng.random(2) if self.crop == "random" else (0.5, 0.5)
        ty, tx = _offset(h, self.size[0], place[0]), _offset(w, self.size[1], place[1])
        matrix = affine(w / width, h / height, tx, ty)
        if self.flip and rng.random() < 0.5:
            matrix = compose(matrix, affine(sx=-1, tx=self.size[1]))
        if self.rotate:
            y, x = self.size[0] / 2, self.size[1] / 2
            turn = affine(degrees=rng.uniform(-self.rotate, self.rotate))
            matrix = compose(matrix, affine(tx=-x, ty=-y), turn, affine(tx=x, ty=y))
        shift = elastic_shift(self.size, self.elastic, rng) if self.elastic else None
        return Warp(matrix, self.size, shift)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        warp = self.warp(sample["image"].shape[:2], rng)
        out = apply_warp(sample, warp, fill=self.fill, flip_pairs=self.flip_pairs)
        out["image"] = jitter(
            out["image"],
            rng,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            noise=self.noise,
        )
        return out


@dataclasses.dataclass(frozen=True)
class Resize:
    """The whole image, made ``size`` (H, W): for evaluation.

    mode ``"stretch"``: height and width scaled each on its own. mode ``"pad"``: scaled alike until it just
    fits, put at the top left, the rest filled with ``fill`` and void; ``size`` in the sample then tells the
    true part. Shrinking averages over area, enlarging is bilinear (half-pixel centres, edges repeated).
    """

    size: tuple[int, int]
    mode: Literal["stretch", "pad"] = "stretch"
    fill: tuple[int, int, int] = MEAN_COLOUR

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        height, width = source = sample["image"].shape[:2]
        sy, sx = _base_scale(source, self.size, "fit" if self.mode == "pad" else "stretch")
        h, w = (min(b, max(1, round(a * s))) for a, s, b in ((height, sy, self.size[0]), (width, sx, self.size[1])))
        out = apply_warp(sample, Warp(affine(w / width, h / height), self.size), fill=self.fill)
        return {**out, "size": np.array([h, w], np.int32)}


@dataclasses.dataclass(frozen=True)
class ByAspect:
    """Aspect buckets: of several transforms the one whose ``size`` is most like the picture in shape, so that little of
    a canvas is padding. :mod:`jaxseg.data.pipeline` then makes each batch of pictures of one canvas; a program is
    compiled for each.

        ByAspect(tuple(Resize(size, mode="pad") for size in ((800, 1344), (1088, 1088), (1344, 800))))

    The pictures' sizes are those that the source tells in ``sizes`` [N, 2] (:class:`jaxseg.data.Coco`); one that tells
    none is read through once.
    """

    transforms: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.transforms or not all(getattr(t, "size", None) for t in self.transforms):
            raise JaxsegError("ByAspect takes transforms of fixed size: Augment, or Resize, each with its own (H, W)")

    def choose(self, size: tuple[int, int]) -> int:
        """Which transform a picture of ``size`` (H, W) goes through."""
        wanted = np.log(size[1] / size[0])
        return int(np.argmin([abs(np.log(t.size[1] / t.size[0]) - wanted) for t in self.transforms]))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return self.transforms[self.choose(sample["image"].shape[:2])](sample, rng)


def sizes_of(source: Any) -> np.ndarray:
    """Height and width of each picture of a source, [N, 2]."""
    known = getattr(source, "sizes", None)
    return np.array([source[i]["image"].shape[:2] for i in range(len(source))]) if known is None else known


@dataclasses.dataclass(frozen=True)
class Pad:
    """Fill up below and to the right, without scaling: to ``size`` (H, W), or to a ``multiple`` of pixels."""

    size: tuple[int, int] | None = None
    multiple: int | None = None
    fill: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        if (self.size is None) == (self.multiple is None):
            raise JaxsegError("Pad takes either size=(height, width) or multiple=pixels, one of the two")

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        height, width = sample["image"].shape[:2]
        if self.multiple:
            target = (-(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple)
        else:
            target = self.size or (height, width)
        if height > target[0] or width > target[1]:
            raise JaxsegError(
                f"{sample.get('name', 'image')}: {height}x{width} pixels do not fit in Pad(size={target}); "
                "make size larger, or use Resize"
            )
        out = apply_warp(sample, Warp(affine(), target), fill=self.fill)
        return {**out, "size": np.array([height, width], np.int32)}


def apply_warp(
    sample: Sample,
    warp: Warp,
    *,
    fill: Fill = MEAN_COLOUR,
    flip_pairs: tuple[tuple[int, int], ...] | None = None,
) -> Sample:
    """Take everything in a sample through one warp; see the module's first lines for what comes out."""
    height, width = sample["image"].shape[:2]
    if "label" in sample and sample["label"].shape != (height, width):
        raise JaxsegError(
            f"{sample.get('name', 'sample')}: the image has {height}x{width} pixels and its label map "
            f"{'x'.join(map(str, sample['label'].shape))}; they must be of one size"
        )
    out = dict(sample)
    out["image"] = to_float(warp_image(sample["image"], warp, fill=fill))
    if "label" in sample:
        out["label"] = warp_labels(sample["label"], warp, fill=VOID)
    if "instances" in sample:
        out["instances"] = warp_instances(sample["instances"], warp, flip_pairs=flip_pairs)
    if "proposals" in sample:
        out["proposals"] = warp_proposals(sample["proposals"], warp)
    out["size"] = np.array(warp.size, np.int32)
    out["original"] = np.array([height, width], np.int32)
    out["matrix"] = warp.matrix.astype(np.float32)
    return out


def warp_instances(
    instances: dict[str, Any], warp: Warp, *, flip_pairs: tuple[tuple[int, int], ...] | None = None
) -> dict[str, Any]:
    """Instances after a warp; those of which nothing remains in the window are dropped from every array.

    Masks stay what they are, whole or Cutouts. Entries beside boxes, masks and keypoints are arrays [N, ...] and
    are carried along unchanged.
    """
    out: dict[str, Any] = {k: v for k, v in instances.items() if k != "flip_pairs"}
    pairs = flip_pairs if flip_pairs is not None else instances.get("flip_pairs")
    moved = warp_boxes(instances["boxes"], warp)
    limit = np.array([warp.size[1], warp.size[0]] * 2, np.float32)
    boxes = np.clip(moved, 0, limit)
    keep = (boxes[:, 2] - boxes[:, 0] >= 1e-3) & (boxes[:, 3] - boxes[:, 1] >= 1e-3)
    if "masks" in instances:
        out["masks"] = warp_masks(instances["masks"], warp)
        tight = tight_boxes(out["masks"])
        redraw = np.ones(len(boxes), bool) if not warp.upright else (boxes != moved).any(1)
        boxes = np.where(redraw[:, None], tight, boxes)
        keep &= tight[:, 2] > tight[:, 0]
    out["boxes"] = boxes
    if "keypoints" in instances:
        if warp.mirrored and pairs is None:
            raise JaxsegError(
                "keypoints are to be mirrored and nothing says which change places; "
                "give Augment(flip_pairs=((left, right), ...)), or () if none do, or flip=False"
            )
        out["keypoints"] = warp_keypoints(instances["keypoints"], warp, pairs or ())
    if "voxels" in instances:
        out |= warp_shapes(instances, warp)
    out = {k: v[keep] if isinstance(v, Cutouts) else np.asarray(v)[keep] for k, v in out.items()}
    return out if pairs is None else {**out, "flip_pairs": pairs}


def warp_proposals(proposals: dict[str, np.ndarray], warp: Warp) -> dict[str, np.ndarray]:
    """Proposals after a warp, cut to the window: as many as before; those of which nothing remains are not valid."""
    boxes = np.clip(warp_boxes(proposals["boxes"], warp), 0, np.array([warp.size[1], warp.size[0]] * 2, np.float32))
    valid = proposals["valid"] & ((boxes[:, 2:] - boxes[:, :2]) >= 1e-3).all(1)
    return {"boxes": np.where(valid[:, None], boxes, np.float32(0)), "valid": valid}


def _base_scale(source: tuple[int, int], size: tuple[int, int], relative: str) -> tuple[float, float]:
    """(sy, sx) that zoom 1 stands for."""
    sy, sx = size[0] / source[0], size[1] / source[1]
    if relative == "stretch":
        return sy, sx
    return (1.0, 1.0) if relative == "pixels" else (min(sy, sx), min(sy, sx))


def _offset(image: int, window: int, place: float) -> int:
    """Where the image starts in the window, in pixels; ``place`` in [0, 1) chooses among all that are possible."""
    slack = window - image
    return int(np.floor((slack + 1) * place)) if slack >= 0 else -int(np.floor((1 - slack) * place))
