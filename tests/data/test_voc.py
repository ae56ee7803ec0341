"""PASCAL VOC's folders, written by the test."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import VOC_CLASSES, Resize, Voc, coco_truth, eval_batches
from jaxseg.metrics import voc_metric
from jaxseg.types import JaxsegError

OBJECT = """<object><name>{}</name><pose>Left</pose><difficult>{}</difficult>
<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
DOG = OBJECT.format("dog", 0, 1, 1, 40, 30)  # the whole image
CAT = OBJECT.format("cat", 1, 8, 12, 35, 30)


@pytest.fixture
def root(tmp_path):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name, objects in (("000001", DOG + CAT), ("000002", "")):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    (tmp_path / "ImageSets/Main/val.txt").write_text("000002\n000001\n\n")
    return tmp_path


def test_boxes_are_continuous(root):
    voc = Voc(root, "val")
    assert voc.classes == voc.things == VOC_CLASSES
    assert len(voc) == 2
    assert voc[0]["instances"]["boxes"].shape == (0, 4)
    instances = voc[1]["instances"]
    assert voc[1]["image"].shape == (30, 40, 3)
    assert instances["boxes"].tolist() == [[0, 0, 40, 30], [7, 11, 35, 30]]
    assert [voc.things[k - 1] for k in instances["classes"]] == ["dog", "cat"]
    assert instances["difficult"].tolist() == [False, True]
    assert instances["crowd"].tolist() == [False, False]
    assert len(Voc(root, "val", keep_difficult=False)[1]["instances"]["boxes"]) == 1
    assert Voc(root, "val", things=("cat", "dog"))[1]["instances"]["classes"].tolist() == [2, 1]


def test_it_is_judged_by_voc_ap(root):
    """The dog alone is to be found: the cat is difficult."""
    voc = Voc(root, "val")
    metric = voc_metric(lambda: coco_truth(voc))
    (batch,) = eval_batches(voc, Resize((64, 64), "pad"), batch_size=3, max_instances=4, num_threads=0)
    found = {**batch["instances"], "scores": np.ones((3, 4), np.float32)}
    scores = metric.compute(metric.update(metric.init(), found, batch))
    assert scores == {"voc_ap": 1.0, "voc_ap_of": {"dog": 1.0}}


REFUSED = {
    "class": (OBJECT.format("dragon", 0, 1, 1, 5, 5), "object 1 is of class 'dragon'"),
    "turned": (DOG + OBJECT.format("dog", 0, 9, 1, 5, 5), "object 2: bndbox is"),
    "nan": (OBJECT.format("dog", 0, "nan", 1, 5, 5), "object 1: bndbox is"),
    "word": (OBJECT.format("dog", 0, "x", 1, 5, 5), "object 1: bndbox is"),
    "outside": (OBJECT.format("dog", 0, 50, 1, 60, 5), "object 1: bndbox is"),
    "no box": ("<object><name>dog</name></object>", "object 1: bndbox is"),
    "damaged": ("<object>", "damaged XML"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(root, case):
    objects, message = REFUSED[case]
    (root / "Annotations/000001.xml").write_text(f"<annotation>{objects}</annotation>")
    with pytest.raises(JaxsegError, match=f"000001.xml: .*{message}"):
        Voc(root, "val")[1]


def test_entities_are_refused(root):
    text = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]><annotation>&b;</annotation>'
    (root / "Annotations/000001.xml").write_text(text)
    with pytest.raises(JaxsegError, match="entities"):
        Voc(root, "val")[1]


def test_splits(root):
    with pytest.raises(JaxsegError, match=r"train.txt: no such split; there are: val"):
        len(Voc(root, "train"))
    for text, message in (("../x\n", "leads out"), ("\n", "the list is empty")):
        (root / "ImageSets/Main/train.txt").write_text(text)
        with pytest.raises(JaxsegError, match=message):
            len(Voc(root, "train"))
    (root / "Annotations/000001.xml").unlink()
    with pytest.raises(JaxsegError, match=r"000001.xml: no such annotation"):
        Voc(root, "val")[1]
