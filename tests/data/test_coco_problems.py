"""What is wrong with a COCO file, all at once: no less than what Coco refuses, and nothing else is grave."""

import copy
import re

import numpy as np
import pytest

from jaxseg.data.coco_problems import coco_problems
from jaxseg.types import JaxsegError
from tests.data.test_coco import content, folder, mutated, source, write

__all__ = ["folder"]  # a fixture

OF_MASKS = "segmentation|run lengths|polygon|keypoints"  # which are not among what coco_problems looks at


@pytest.mark.parametrize("seed", range(2))
def test_what_is_refused_is_among_the_problems(folder, seed):
    rng, told = np.random.default_rng(seed), 0
    for _ in range(150):
        coco = source(folder, mutated(copy.deepcopy(content()), rng))
        try:
            grave = any(p.grave for p in coco_problems(coco.annotations, coco.images))
        except JaxsegError:
            grave = True
        try:
            len(coco)
            refused = ""
        except JaxsegError as error:
            refused = str(error)
        told += grave
        assert grave or not refused or re.search(OF_MASKS, refused), refused
        assert refused or not grave
    assert told > 50


def test_problems_of_panoptic_segments_and_of_names_from_windows(folder):
    value = content()
    value["images"][1]["file_name"] = "sub\\a.png"
    assert coco_problems(write(folder, value), folder / "images") == []
    value["annotations"] = [{"image_id": 7, "segments_info": [], "file_name": "x"}]
    (problem,) = coco_problems(write(folder, value), folder / "images")
    assert "panoptic segments" in problem.what
    assert problem.grave
