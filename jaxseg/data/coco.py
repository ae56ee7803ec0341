"""COCO: its JSON files as a source, and any source as COCO's truth.

Lin et al. 2014, "Microsoft COCO: common objects in context"; the format: https://cocodataset.org/#format-data.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.coco_index import Index, read_index
from jaxseg.data.cutouts import Cutouts, cut_out
from jaxseg.data.folder import spread_colors
from jaxseg.data.images import MAX_PIXELS, read_image
from jaxseg.metrics.detections import Truth
from jaxseg.metrics.rle import as_numbers, decode_rle, encode_rle, to_rle
from jaxseg.types import JaxsegError


@dataclasses.dataclass(frozen=True)
class Coco:
    """A source of images with instances, keypoints or captions, from a folder of images and one of COCO's JSON files.

    ``source[i]`` gives ``image`` uint8 [H, W, 3], ``name``, ``image_id``, and of a file of captions ``captions``, a
    tuple of strings; of any other ``instances``:

    - ``boxes`` [N, 4] float32 xyxy, cut off at the image's edge; ``classes`` [N] int32 from 1, which are places in
      ``category_ids`` plus one; ``crowd`` [N] bool
    - ``masks``, :class:`jaxseg.data.Cutouts`, if the file has any segmentation
    - ``keypoints`` [N, P, 3] float32 if a category has them: (x, y, visibility), half a pixel added, since COCO counts
      from pixel centres; all 0 where visibility is 0. With ``flip_pairs``, found by ``left_`` and ``right_``.

    The file is read and checked when first asked for something, all of it. Boxes of no area or outside of their image
    are left out; one that disagrees with its mask (IoU below 0.5) is replaced by the mask's own. One warning on the
    logger ``jaxseg`` says how many.

    Args:
        images: the folder that file names are relative to.
        annotations: ``instances_*.json``, ``person_keypoints_*.json``, ``captions_*.json``, or the like.
        keep_empty: keep images without objects, with N = 0.
        masks: decode the masks, and judge boxes by them.
        min_area: leave out objects whose ``area`` (their box's where there is none) is smaller, in pixels.
        exif: apply EXIF orientation. Set it False if the objects were marked on unturned images.
        max_pixels: refuse larger images.
        names: the categories', in the order of their ids, where they must be known without the file: a trained run is
            then read without its data.

    Raises:
        JaxsegError: on first use: no JSON of this kind, categories other than ``names``, entries that lack something,
            ids that come twice or that nothing has, file names that lead out of the folder or that are not there, boxes
            with NaN or negative sides; on reading: what :func:`read_image` refuses, an image of another size than the
            file says, masks that can't be decoded. Each names the file and the entry.
    """

    images: str | os.PathLike
    annotations: str | os.PathLike
    keep_empty: bool = True
    masks: bool = True
    min_area: float = 0.0
    exif: bool = True
    max_pixels: int = MAX_PIXELS
    names: tuple[str, ...] | None = None

    @functools.cached_property
    def _index(self) -> Index:
        index = read_index(
            self.annotations, self.images, keep_empty=self.keep_empty, masks=self.masks, min_area=self.min_area
        )
        theirs = _distinct(index.categories)
        if self.names not in (None, theirs):
            raise JaxsegError(
                f"{os.fspath(self.annotations)} has the categories {', '.join(theirs) or '(none)'}, and not "
                f"{', '.join(self.names or ())}; say so where this source is made (of a config that has it: "
                f"--classes {','.join(theirs)})"
            )
        return index

    @functools.cached_property
    def category_ids(self) -> tuple[int, ...]:
        """COCO's id of each class: class k of an instance has ``category_ids[k - 1]``. In ascending order."""
        return tuple(category["id"] for category in self._index.categories)

    @functools.cached_property
    def class_of(self) -> dict[int, int]:
        """The class, from 1, of each category id."""
        return {number: k + 1 for k, number in enumerate(self.category_ids)}

    @property
    def image_ids(self) -> tuple[int, ...]:
        """COCO's id of each image, by its place in the source."""
        return tuple(image["id"] for image in self._index.images)

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the instance classes: class k is ``things[k - 1]``. A name that comes twice is followed by its
        id."""
        return self.names or _distinct(self._index.categories)

    @property
    def classes(self) -> tuple[str, ...]:
        """The same as ``things``."""
        return self.things

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw classes with."""
        return spread_colors(len(self.things))

    @functools.cached_property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the P keypoints; none where no category has any."""
        lists = [c["keypoints"] for c in self._index.categories if c.get("keypoints")]
        named = [isinstance(names, list) and all(isinstance(n, str) for n in names) for names in lists]
        if not all(named) or any(names != lists[0] for names in lists):
            raise JaxsegError(
                f"{os.fspath(self.annotations)}: {len(lists)} categories have keypoints; expected lists of names, all "
                "the same; keep one of the categories"
            )
        return tuple(lists[0]) if lists else ()

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Keypoints that change places in a mirror, by their names: ``left_x`` and ``right_x``."""
        return mirrored(self.keypoint_names)

    @functools.cached_property
    def has_masks(self) -> bool:
        """Whether samples have ``masks``: they are asked for, and the file has some."""
        return self.masks and any(a.get("segmentation") for a in self._index.content["annotations"])

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """Height and width of each image, [N, 2], as the JSON has them: no image is read."""
        return np.array([(entry["height"], entry["width"]) for entry in self._index.images])

    def truth(self) -> Truth:
        """The JSON as it is, for :func:`jaxseg.metrics.coco_metric`."""
        return Truth(self._index.content, self.image_ids, self.category_ids)

    def entries(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], list[np.ndarray]]]:
        """Of each image its entry in the JSON, its annotations that were kept, and their boxes xyxy; no image is
        read."""
        index = self._index
        for image in index.images:
            annotations = index.annotations[image["id"]]
            yield image, annotations, [index.boxes[a["id"]] for a in annotations if not index.captions]

    def __len__(self) -> int:
        return len(self._index.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry = self._index.images[index]
        path = pathlib.Path(self.images) / entry["file_name"].replace("\\", "/")
        image = read_image(path, exif=self.exif, max_pixels=self.max_pixels)
        if image.shape[:2] != (entry["height"], entry["width"]):
            turned = image.shape[:2] == (entry["width"], entry["height"])
            raise JaxsegError(
                f"{path}: {image.shape[0]}x{image.shape[1]} pixels, but image {entry['id']} of "
                f"{os.fspath(self.annotations)} is {entry['height']}x{entry['width']} (height x width); "
                + (f"try exif={not self.exif}" if turned else "give the images that the objects were marked on")
            )
        sample = {"image": image, "name": str(path), "image_id": entry["id"]}
        annotations = self._index.annotations[entry["id"]]
        if self._index.captions:
            return sample | {"captions": tuple(a["caption"] for a in annotations)}
        return sample | {"instances": self._instances(annotations, image.shape[:2])}

    def _instances(self, annotations: list[dict[str, Any]], size: tuple[int, ...]) -> dict[str, Any]:
        boxes = [self._index.boxes[a["id"]] for a in annotations]
        out: dict[str, Any] = {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "classes": np.array([self.class_of[a["category_id"]] for a in annotations], np.int32),
            "crowd": np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool),
        }
        if self.has_masks:
            out["masks"] = _decoded(annotations, (size[0], size[1]), os.fspath(self.annotations))
        if self.keypoint_names:
            out["keypoints"] = self._keypoints(annotations)
            out["flip_pairs"] = self.flip_pairs
        return out

    def _keypoints(self, annotations: list[dict[str, Any]]) -> np.ndarray:
        """[N, P, 3] float32; zeros for annotations without."""
        points = [self.points_of(a) for a in annotations]
        return from_coco_points(np.array(points, np.float32).reshape(-1, len(self.keypoint_names), 3))

    def points_of(self, annotation: dict[str, Any]) -> np.ndarray:
        """An annotation's keypoints as COCO has them, [P, 3] float32; zeros where it has none."""
        count = len(self.keypoint_names)
        given = as_numbers(annotation.get("keypoints") or [0] * 3 * count)
        if given.shape != (3 * count,) or not np.isfinite(given).all():
            raise JaxsegError(
                f"{os.fspath(self.annotations)}: annotation {annotation['id']} has {given.size} numbers of keypoints, "
                f"expected {3 * count}: x, y and visibility of {count}"
            )
        return given.reshape(count, 3).astype(np.float32)


def mirrored(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Places of the keypoints ``left_x`` and ``right_x``, which change in a mirror."""
    other = {n: "right" + n[4:] for n in names if n.startswith("left")}
    return tuple((names.index(left), names.index(right)) for left, right in other.items() if right in names)


def from_coco_points(points: np.ndarray) -> np.ndarray:
    """COCO's keypoints ``[..., 3]``, counted from pixel centres, as ours: half a pixel more, 0 where not marked."""
    return np.where(points[..., 2:] > 0, points + np.array([0.5, 0.5, 0], np.float32), np.float32(0))


def _distinct(categories: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    names = [category["name"] for category in categories]
    return tuple(f"{n} {c['id']}" if names.count(n) > 1 else n for n, c in zip(names, categories))


def coco_truth(source: Any) -> Truth:
    """The truth of any source with instances: its own ``truth()`` where it has that, else :func:`to_coco` of it.

    ``coco_metric(functools.partial(coco_truth, source))`` reads nothing before the first evaluation.
    """
    return source.truth() if hasattr(source, "truth") else truth_by_samples(source)


def truth_by_samples(source: Any) -> Truth:
    """:func:`to_coco` of a source, with its ids."""
    content = to_coco(source)
    ids = tuple(image["id"] for image in content["images"])
    return Truth(content, ids, tuple(category["id"] for category in content["categories"]))


def to_coco(source: Any) -> dict[str, Any]:
    """Any source whose samples have ``instances``, as a COCO dictionary: read once, image by image.

    ``images`` have ids (the samples' ``image_id``; else from 1 on), sizes and file names; ``annotations`` have ``bbox``
    (xywh), ``iscrowd`` from ``crowd``, and from the masks ``segmentation`` (run lengths) and ``area`` (of the box
    where there are none), ``keypoints`` and ``difficult`` where there are such; ``categories`` are the source's
    ``category_ids`` (else from 1 on) and ``things``.

    Raises:
        JaxsegError: a source without ``things`` or a sample without ``instances``.
    """
    names = getattr(source, "things", None)
    if names is None:
        raise JaxsegError(f"{type(source).__name__} has no `things` (names of its instance classes): add them to it")
    ids = getattr(source, "category_ids", tuple(range(1, len(names) + 1)))
    images, annotations = [], []
    for place in range(len(source)):
        sample = source[place]
        name = str(sample.get("name", place))
        if "instances" not in sample:
            raise JaxsegError(f"{name}: has no instances, which COCO's truth is made of; choose another source")
        height, width = sample["image"].shape[:2]
        image_id = int(sample.get("image_id", place + 1))
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for annotation in _annotations(sample["instances"], (height, width), ids):
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **annotation})
    points = list(getattr(source, "keypoint_names", ()))
    extra = {"keypoints": points, "skeleton": []} if points else {}
    categories = [{"id": i, "name": name, **extra} for i, name in zip(ids, names, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotations(instances: dict[str, Any], size: tuple[int, int], ids: tuple[int, ...]) -> list[dict[str, Any]]:
    """The annotations of one image, without ids."""
    boxes = np.asarray(instances["boxes"], np.float64).reshape(-1, 4)
    found = []
    for n, (box, k) in enumerate(zip(boxes, instances["classes"], strict=True)):
        x, y, w, h = (*box[:2], *(box[2:] - box[:2]))
        crowd = int(instances["crowd"][n]) if "crowd" in instances else 0
        a = {"category_id": ids[int(k) - 1], "bbox": [float(v) for v in (x, y, w, h)], "iscrowd": crowd}
        a["area"] = float(w * h)
        found.append(a)
        if "difficult" in instances:
            a["difficult"] = int(instances["difficult"][n])
        if "keypoints" in instances:
            points = np.asarray(instances["keypoints"][n], np.float64)
            seen = points[:, 2:] > 0
            a["keypoints"] = np.where(seen, points - (0.5, 0.5, 0), 0).ravel().tolist()
            a["num_keypoints"] = int(seen.sum())
    if "masks" in instances:
        cutouts = cut_out(instances["masks"])
        for a, bitmap, corner in zip(found, cutouts.bitmaps, cutouts.corners, strict=True):
            a |= {"segmentation": encode_rle(bitmap, corner, size), "area": float(bitmap.sum())}
    return found


def _decoded(annotations: list[dict[str, Any]], size: tuple[int, int], path: str) -> Cutouts:
    corners, bitmaps = [], []
    for a in annotations:
        where = f"{path}: annotation {a['id']}"
        bitmap, corner = decode_rle(to_rle(a.get("segmentation"), size, where), where)
        corners.append(corner)
        bitmaps.append(bitmap)
    return Cutouts(size, np.array(corners, np.int32).reshape(-1, 2), bitmaps)
