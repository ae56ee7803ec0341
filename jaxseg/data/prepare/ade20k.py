"""ADE20K as MIT's SceneParsing benchmark has it: 150 classes, 20210 images to train on and 2000 to be judged by.

In its label maps 0 is "other", which is void here, and class k stands as k + 1. Some photographs are grey.

Zhou et al. 2017, "Scene parsing through ADE20K dataset"; the annotation under BSD-3-Clause, the photographs for
research and teaching only. The checksum is the one that mmsegmentation's and other projects' downloaders have.
"""

from pathlib import Path
from typing import Any

from jaxseg.data.folder import Folder
from jaxseg.data.prepare.archives import Archive, Find
from jaxseg.data.prepare.data_set import DataSet
from jaxseg.names import ADE20K as CLASSES

ROOT = "ADEChallengeData2016"
ARCHIVE = Archive(
    "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    970_000_000,
    f"{ROOT}/annotations",
    "md5:7328b3957e407ddae1d3cbf487f149ef",
)


def contents(find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`."""
    from jaxseg.data.prepare.writing import SEMANTIC, Contents

    part = {"train": "training", "validation": "validation"}[split]
    pairs = Folder(find(f"{ROOT}/images/{part}"), find(f"{ROOT}/annotations/{part}"), CLASSES).files
    return Contents(SEMANTIC, pairs, example_of_pair)


def example_of_pair(pair: tuple[Path, Path]) -> dict[str, Any]:
    """Of an image and its label map, as they are."""
    image, mask = pair
    return {"image": image.read_bytes(), "segmentation_mask": mask.read_bytes(), "image/filename": image.name}


ADE20K = DataSet(
    "ade20k",
    "ADE20K, 150 classes of scenes (SceneParsing)",
    "ade20k",
    "http://sceneparsing.csail.mit.edu/",
    "annotation BSD-3-Clause; photographs for research and teaching",
    {"validation": (ARCHIVE,), "train": (ARCHIVE,)},
    contents,
    "ade20k",
)
