"""COCO 2017: instances with masks, people's keypoints, captions, and panoptic segments.

118287 images to train on and 5000 to be judged by, 640 pixels across. Some images are grey, 1069 show nothing that is
annotated, and a crowd is one annotation (``crowd``). ``coco_keypoints`` leaves the images without a person out of
``train``. Every set is prepared from the same archives of images.

Lin et al. 2014, "Microsoft COCO: common objects in context"; Kirillov et al. 2019, "Panoptic segmentation". The
annotations under CC BY 4.0, the photographs flickr's, under flickr's terms of use. The checksums are TFDS's.
"""

from functools import partial
from pathlib import Path
from typing import Any

from jaxseg.data.coco import Coco
from jaxseg.data.panoptic import CocoPanoptic
from jaxseg.data.prepare.archives import Archive, Find
from jaxseg.data.prepare.data_set import DataSet
from jaxseg.types import JaxsegError

_SERVER = "http://images.cocodataset.org"
_FOLDERS = {"validation": "val2017", "train": "train2017"}
IMAGES = {
    "validation": Archive(
        f"{_SERVER}/zips/val2017.zip",
        815_585_330,
        "val2017",
        "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    "train": Archive(
        f"{_SERVER}/zips/train2017.zip",
        19_336_861_798,
        "train2017",
        "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
}
ANNOTATIONS = Archive(
    f"{_SERVER}/annotations/annotations_trainval2017.zip",
    252_907_541,
    "annotations",
    "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)
PANOPTIC = Archive(
    f"{_SERVER}/annotations/panoptic_annotations_trainval2017.zip",
    860_725_834,
    "annotations",
    "sha256:c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
)


def contents(kind: str, find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`. ``kind``: how the JSON's name begins."""
    from jaxseg.data.coco_builder import caption_contents, instance_contents

    folder = _FOLDERS[split]
    annotations = find(f"annotations/{kind}_{folder}.json")
    source = Coco(find(folder), annotations, keep_empty=(kind, split) != ("person_keypoints", "train"))
    return caption_contents(source) if kind == "captions" else instance_contents(source)


def panoptic_contents(find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`."""
    from jaxseg.data.coco_builder import panoptic_contents

    folder = _FOLDERS[split]
    annotations = find(f"annotations/panoptic_{folder}.json")
    return panoptic_contents(CocoPanoptic(find(folder), _segments(find, folder), annotations))


def _segments(find: Find, folder: str) -> Path:
    """The folder of PNGs: beside its JSON, as in the archive, or above, as detectron2 has it."""
    try:
        return find(f"annotations/panoptic_{folder}")
    except JaxsegError:
        return find(f"panoptic_{folder}")


def _data_set(name: str, about: str, kind: str) -> DataSet:
    """``kind``: how the names of its JSON files begin. Where they are at hand, none of the others need be."""
    panoptic = kind == "panoptic"
    annotations = PANOPTIC if panoptic else ANNOTATIONS
    archives = {
        split: (images, annotations._replace(holds=f"annotations/{kind}_{_FOLDERS[split]}.json"))
        for split, images in IMAGES.items()
    }
    return DataSet(
        name,
        f"COCO 2017, {about}",
        "coco",
        "https://cocodataset.org",
        "annotations CC BY 4.0; photographs flickr's",
        archives,
        panoptic_contents if panoptic else partial(contents, kind),
        name,
    )


COCO = (
    _data_set("coco_instances", "masks of 80 classes of things", "instances"),
    _data_set("coco_keypoints", "people and their 17 keypoints", "person_keypoints"),
    _data_set("coco_captions", "five captions an image", "captions"),
    _data_set("coco_panoptic", "80 things and 53 kinds of stuff", "panoptic"),
)
