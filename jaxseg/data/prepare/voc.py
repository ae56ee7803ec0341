"""PASCAL VOC 2012's semantic segmentation, 21 classes, and what the Semantic Boundaries Dataset adds to it.

``train`` (1464) and ``validation`` (1449) are VOC's own; ``trainaug`` (10582), on which nearly all published networks
were trained, is VOC's train and every image of SBD that is not in VOC's validation set. In it VOC's images keep VOC's
labels, in which the border of each object, five pixels wide, is void; SBD's labels have no such border.

Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge: a retrospective"; its photographs are flickr's,
under flickr's terms of use. Hariharan et al. 2011, "Semantic contours from inverse detectors"; it names no licence.
The checksums are TFDS's (VOC) and torchvision's (SBD).
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.data.images import png_bytes
from jaxseg.data.prepare.archives import Archive, Find
from jaxseg.data.prepare.data_set import DataSet
from jaxseg.types import JaxsegError

VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"
IMAGES = Archive(
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    1_999_639_040,
    f"{VOC}/SegmentationClass",
    "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    only=(f"{VOC}/JPEGImages/", f"{VOC}/SegmentationClass/", f"{VOC}/ImageSets/Segmentation/"),
)
BOUNDARIES = Archive(
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    1_400_000_000,
    f"{SBD}/cls",
    "md5:82b4d87ceb2ed10f6038a1cba92111cb",
    only=(f"{SBD}/cls/", f"{SBD}/train.txt", f"{SBD}/val.txt"),
)


def contents(find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`."""
    from jaxseg.data.prepare.writing import SEMANTIC, Contents

    own = _names(find(f"{VOC}/ImageSets/Segmentation/{'val' if split == 'validation' else 'train'}.txt"))
    names = own
    if split == "trainaug":
        more = _names(find(f"{SBD}/train.txt")) + _names(find(f"{SBD}/val.txt"))
        judged = _names(find(f"{VOC}/ImageSets/Segmentation/val.txt"))
        names = sorted({*own, *more}.difference(judged))
    return Contents(SEMANTIC, names, partial(_example, find, frozenset(own)))


def _example(find: Find, own: frozenset[str], name: str) -> dict[str, Any]:
    if name in own:
        mask = find(f"{VOC}/SegmentationClass/{name}.png").read_bytes()
    else:
        mask = _sbd_mask(find(f"{SBD}/cls/{name}.mat"))
    image = find(f"{VOC}/JPEGImages/{name}.jpg")
    return {"image": image.read_bytes(), "segmentation_mask": mask, "image/filename": image.name}


def _sbd_mask(path: Path) -> bytes:
    """The PNG of a label map in one of SBD's Matlab files."""
    from scipy.io import loadmat

    try:
        mask = np.asarray(loadmat(path)["GTcls"]["Segmentation"][0, 0])
        if mask.ndim != 2 or mask.min() < 0 or mask.max() > 20:
            raise ValueError(f"{mask.shape}, values {mask.min()} to {mask.max()}")
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        raise JaxsegError(
            f"{path}: {type(error).__name__}: {error}; expected SBD's GTcls.Segmentation, 0 to 20"
        ) from error
    return png_bytes(mask.astype(np.uint8))


def _names(path: Path) -> list[str]:
    return path.read_text().split()


VOC_SEGMENTATION = DataSet(
    "voc_segmentation",
    "PASCAL VOC 2012, 21 classes, and SBD's 10582 images to train on (trainaug)",
    "voc",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    "flickr's terms of use; SBD names none",
    {"validation": (IMAGES,), "train": (IMAGES,), "trainaug": (IMAGES, BOUNDARIES)},
    contents,
    "voc_segmentation",
)
