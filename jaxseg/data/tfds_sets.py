"""Known data sets, prepared by ``jaxseg data prepare`` or by TFDS, each as a source by one call.

``split`` is any of the set's, or a part of it as TFDS writes it (``"train[:10%]"``); ``data_dir`` where TFDS keeps
prepared data (by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``). Nothing is read before the first sample.
"""

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from jaxseg import names
from jaxseg.data.folder import CAMVID_CLASSES
from jaxseg.data.images import read_image
from jaxseg.data.panoptic import StuffAndThings, annotations_of, ids_of_colours
from jaxseg.data.tfds import Tfds, as_lists, open_records
from jaxseg.metrics.panoptic import Panoptic
from jaxseg.types import VOID, JaxsegError

Path = str | os.PathLike
PET_CLASSES = ("pet", "background", "outline")
VOC_SEGMENTATION_CLASSES = ("background", *names.VOC)
CAMVID_ORIGINAL_CLASSES = tuple(names.CAMVID_ORIGINAL)
CITYSCAPES_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
_CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_TRAIN_IDS = dict.fromkeys(range(256), VOID) | {i: k for k, i in enumerate(_CITYSCAPES_LABEL_IDS)}
"""trainId of every labelId (Cityscapes' own labels.py): 19 classes, the rest void."""
_CAMVID_GROUPS = {
    "sky": ("Sky",),
    "building": ("Archway", "Bridge", "Building", "Tunnel", "Wall"),
    "pole": ("Column_Pole", "TrafficCone"),
    "road": ("LaneMkgsDriv", "LaneMkgsNonDriv", "Road"),
    "pavement": ("ParkingBlock", "RoadShoulder", "Sidewalk"),
    "tree": ("Tree", "VegetationMisc"),
    "sign_symbol": ("Misc_Text", "SignSymbol", "TrafficLight"),
    "fence": ("Fence",),
    "car": ("Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"),
    "pedestrian": ("Animal", "CartLuggagePram", "Child", "Pedestrian"),
    "bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
CAMVID_GROUPS = {VOID: VOID} | {
    CAMVID_ORIGINAL_CLASSES.index(name): CAMVID_CLASSES.index(group)
    for group, members in _CAMVID_GROUPS.items()
    for name in members
}
"""Which of SegNet's 11 classes each of CamVid's 31 belongs to."""


def voc_segmentation(split: str = "train", *, data_dir: Path | None = None) -> Tfds:
    """PASCAL VOC 2012: background and 20 classes; splits ``train``, ``validation`` and, with SBD, ``trainaug``."""
    return Tfds("voc_segmentation", split, VOC_SEGMENTATION_CLASSES, data_dir=data_dir)


def ade20k(split: str = "train", *, data_dir: Path | None = None) -> Tfds:
    """ADE20K, the 150 classes of the SceneParsing benchmark; "other" is void. ``train`` and ``validation``."""
    values = {0: VOID} | {k + 1: k for k in range(150)}
    return Tfds("ade20k", split, names.ADE20K, value_map=values, data_dir=data_dir)


def camvid_segnet(split: str = "train", *, data_dir: Path | None = None) -> Tfds:
    """CamVid's 11 classes at 480x360, as SegNet's authors published it: ``train``, ``validation``, ``test``."""
    values = {11: VOID} | {k: k for k in range(11)}
    return Tfds("camvid", split, CAMVID_CLASSES, value_map=values, data_dir=data_dir)


def camvid_original(split: str = "frames", *, groups: bool = False, data_dir: Path | None = None) -> Tfds:
    """CamVid at 960x720, 31 classes, or with ``groups`` SegNet's 11. One split, ``frames``."""
    if groups:
        return Tfds("camvid_original", split, CAMVID_CLASSES, value_map=CAMVID_GROUPS, data_dir=data_dir)
    return Tfds("camvid_original", split, CAMVID_ORIGINAL_CLASSES, data_dir=data_dir)


def oxford_iiit_pet(split: str = "train", *, data_dir: Path | None = None, outline: bool = True) -> Tfds:
    """Oxford-IIIT Pet, the trimap's 1..3 as classes 0..2: pet, background, outline. ``train`` and ``test``.

    With ``outline=False`` there are two classes, and the outline, which the annotators left undecided, is
    void.
    """
    values = {1: 0, 2: 1, 3: 2 if outline else VOID}
    return Tfds(
        "oxford_iiit_pet",
        split,
        PET_CLASSES if outline else PET_CLASSES[:2],
        value_map=values,
        data_dir=data_dir,
    )


def oxford_iiit_pet_breeds(split: str = "train", *, species: bool = False, data_dir: Path | None = None) -> Tfds:
    """Oxford-IIIT Pet, the breed of each picture as its ``category``, one of 37; with ``species`` cat or dog."""
    classes, key = (names.PET_SPECIES, "species") if species else (names.PET_BREEDS, "label")
    return Tfds("oxford_iiit_pet", split, classes, mask_key=None, category_key=key, data_dir=data_dir)


def cityscapes(split: str = "train", *, data_dir: Path | None = None) -> Tfds:
    """Cityscapes, fine annotation, its labelIds as the 19 trainIds and void."""
    return Tfds(
        "cityscapes/semantic_segmentation",
        split,
        CITYSCAPES_CLASSES,
        image_key="image_left",
        mask_key="segmentation_label",
        value_map=CITYSCAPES_TRAIN_IDS,
        data_dir=data_dir,
    )


def coco_instances(
    split: str = "train", *, data_dir: Path | None = None, things: tuple[str, ...] = names.COCO_THINGS
) -> Tfds:
    """COCO with its instance masks; ``things`` are the names of its categories, in the order of their ids: others for a
    set of your own (:func:`jaxseg.data.coco_builder.prepare_coco`). ``train`` and ``validation``."""
    return Tfds("coco_instances", split, things, mask_key=None, boxes_key="objects", data_dir=data_dir)


def coco_keypoints(split: str = "train", *, data_dir: Path | None = None) -> Tfds:
    """COCO's people with masks and 17 keypoints. ``train`` and ``validation``."""
    return Tfds(
        "coco_keypoints",
        split,
        ("person",),
        mask_key=None,
        boxes_key="objects",
        keypoint_names=names.COCO_KEYPOINTS,
        data_dir=data_dir,
    )


def coco_captions(split: str = "train", *, data_dir: Path | None = None) -> Tfds:
    """COCO's captions of whole pictures: ``captions``, a tuple of strings. :class:`jaxseg.data.PictureCaptions` makes
    regions of them, which :func:`jaxseg.tasks.dense_captioning` learns."""
    return Tfds("coco_captions", split, (), mask_key=None, captions_key="captions", data_dir=data_dir)


def coco_panoptic(split: str = "train", *, data_dir: Path | None = None) -> "TfdsPanoptic":
    """COCO's 53 kinds of stuff and 80 of things. ``train`` and ``validation``."""
    return TfdsPanoptic("coco_panoptic", split, names.COCO_STUFF, names.COCO_THINGS, data_dir)


@dataclasses.dataclass(frozen=True)
class TfdsPanoptic(StuffAndThings):
    """A source of panoptic segments of a prepared TFDS data set: ``coco_panoptic``, or TFDS's own
    ``coco/2017_panoptic``. Samples as :class:`jaxseg.data.CocoPanoptic` has them.

    Args:
        name, split, data_dir: as in :class:`jaxseg.data.Tfds`.
        stuff, things: names of the classes. In the data set things come first.

    Raises:
        JaxsegError: on first use, as :class:`jaxseg.data.Tfds`; a PNG with ids that are not among its segments, or of
            another size than its image.
    """

    name: str
    split: str
    stuff: tuple[str, ...]
    things: tuple[str, ...]
    data_dir: Path | None = None

    @functools.cached_property
    def records(self) -> Any:
        """TFDS's records, pictures still encoded."""
        keys = "image", "panoptic_image", "panoptic_objects"
        return open_records(self.name, self.split, keys, self.data_dir)

    def __len__(self) -> int:
        return len(self.records)

    def panoptic(self, index: int) -> Panoptic:
        """The truth of one image, without reading the image."""
        return self._truth(self.records[index], f"{self.name}/{self.split}/{index}")

    def _truth(self, record: dict[str, Any], name: str) -> Panoptic:
        ids = ids_of_colours(read_image(record["panoptic_image"], exif=False, name=f"{name} (panoptic_image)"))
        segments = as_lists(record["panoptic_objects"], ("id", "label", "is_crowd"))
        count = len(self.things)
        kinds = [label - count if label >= count else len(self.stuff) + label for label in map(int, segments["label"])]
        classes = dict(zip(map(int, segments["id"]), kinds, strict=True))
        surplus = sorted(set(np.unique(ids).tolist()) - {0} - set(classes))
        if surplus:
            raise JaxsegError(f"{name}: its PNG has segments {surplus[:5]} that it does not list; prepare it again")
        crowd = (int(i) for i, many in zip(segments["id"], segments["is_crowd"], strict=True) if many)
        return Panoptic(ids, classes, frozenset(crowd))

    def __getitem__(self, index: int) -> dict[str, Any]:
        record, name = self.records[index], f"{self.name}/{self.split}/{index}"
        image, truth = read_image(record["image"], name=name), self._truth(record, name)
        if image.shape[:2] != truth.ids.shape:
            raise JaxsegError(f"{name}: {image.shape[:2]} pixels, its panoptic PNG {truth.ids.shape}; prepare it again")
        about = {"image": image, "name": name, "image_id": int(record["image/id"])}
        return about | annotations_of(truth, len(self.stuff))
