"""COCO's panoptic format, written and read, and a background for instances."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import CocoPanoptic, Cutouts, Resize, Shapes, WithBackground, panoptic_truth, write_coco_panoptic
from jaxseg.data.images import write_png
from jaxseg.types import VOID, JaxsegError


@pytest.fixture
def files(tmp_path):
    """Three drawn scenes in COCO's format, the ids of categories with gaps and not in order."""
    source = Shapes("val", size=(48, 64), length=3)
    for i in range(3):
        write_png(tmp_path / f"{i}.png", source[i]["image"])
    found = [(f"{i}.png", 10 * i + 7, panoptic_truth(source, i)) for i in range(3)]
    ids = (*(92, 95, 101), *(1, 3, 4, 17, 30))
    (tmp_path / "ids").mkdir()
    write_coco_panoptic(
        tmp_path / "panoptic.json", tmp_path / "ids", found, stuff=source.stuff, things=source.things, category_ids=ids
    )
    return source, CocoPanoptic(tmp_path, tmp_path / "ids", tmp_path / "panoptic.json"), tmp_path


def test_what_is_written_is_read(files):
    source, read, _ = files
    assert (read.stuff, read.things, read.classes) == (source.stuff, source.things, source.classes)
    assert read.category_ids == (92, 95, 101, 1, 3, 4, 17, 30)
    for i in range(3):
        theirs, ours = panoptic_truth(source, i), panoptic_truth(read, i)
        np.testing.assert_array_equal(ours.ids, theirs.ids)
        assert ours.classes == {k: v for k, v in theirs.classes.items() if k in np.unique(theirs.ids)}
        sample, drawn = read[i], source[i]
        assert sample["image_id"] == 10 * i + 7
        np.testing.assert_array_equal(sample["image"], drawn["image"])
        known = sample["label"] != VOID
        np.testing.assert_array_equal(sample["label"][known], drawn["label"][known])
        np.testing.assert_array_equal(known, theirs.ids > 0)
        np.testing.assert_array_equal(sample["instances"]["boxes"], drawn["instances"]["boxes"])
        np.testing.assert_array_equal(sample["instances"]["classes"], drawn["instances"]["classes"])
        np.testing.assert_array_equal(sample["instances"]["masks"].whole(), drawn["instances"]["masks"])


def test_the_files_are_as_coco_has_them(files):
    _, _, folder = files
    content = json.loads((folder / "panoptic.json").read_text())
    colours = np.asarray(Image.open(folder / "ids" / "1.png")).astype(int)
    ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    entry = content["annotations"][1]
    assert (entry["image_id"], entry["file_name"]) == (17, "1.png")
    assert {s["id"] for s in entry["segments_info"]} == set(np.unique(ids).tolist()) - {0}
    for s in entry["segments_info"]:
        rows, columns = np.nonzero(ids == s["id"])
        x, y, w, h = s["bbox"]
        assert s["area"] == len(rows)
        assert (x, y, x + w - 1, y + h - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
    assert {c["id"]: c["isthing"] for c in content["categories"]}[92] == 0


def test_a_crowd_is_void_in_the_label_and_marked_among_instances(files):
    _, read, folder = files
    content = json.loads((folder / "panoptic.json").read_text())
    segment = next(s for s in content["annotations"][0]["segments_info"] if s["category_id"] < 90)
    segment["iscrowd"] = 1
    (folder / "crowd.json").write_text(json.dumps(content))
    crowded = CocoPanoptic(folder, folder / "ids", folder / "crowd.json")
    sample, mask = crowded[0], panoptic_truth(read, 0).ids == segment["id"]
    assert (sample["label"][mask] == VOID).all()
    assert sample["instances"]["crowd"].sum() == 1
    assert panoptic_truth(crowded, 0).crowd == {segment["id"]}


def test_what_is_wrong_is_named(files, tmp_path):
    _, _, folder = files
    content = json.loads((folder / "panoptic.json").read_text())

    def source(change):
        changed = json.loads(json.dumps(content))
        change(changed)
        (folder / "wrong.json").write_text(json.dumps(changed))
        return CocoPanoptic(folder, folder / "ids", folder / "wrong.json")

    with pytest.raises(JaxsegError, match=r"0\.png: has segments \[.*does not list"):
        source(lambda c: c["annotations"][0]["segments_info"].pop())[0]
    with pytest.raises(JaxsegError, match=r"segments of categories \[555\], not listed"):
        len(source(lambda c: c["annotations"][0]["segments_info"][0].update(category_id=555)))
    with pytest.raises(JaxsegError, match="expected COCO's panoptic JSON"):
        len(source(lambda c: c.pop("categories")))
    write_png(folder / "2.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(JaxsegError, match=r"2\.png: .*give those of one set"):
        source(lambda c: None)[2]


def test_what_is_no_thing_is_background():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True
    instances = {"boxes": np.float32([[3, 2, 6, 4]]), "classes": np.array([1]), "masks": mask[None]}

    class One(list):
        things = ("nucleus",)

    source = WithBackground(One([{"image": np.zeros((6, 8, 3), np.uint8), "instances": instances}]))
    assert source.classes == ("background", "nucleus")
    np.testing.assert_array_equal(source[0]["label"], mask)
    truth = panoptic_truth(source, 0)
    np.testing.assert_array_equal(truth.ids, np.where(mask, 2, 1))
    assert truth.classes == {1: 0, 2: 1}
    cut = Resize((12, 16))(
        dict(source[0], instances=instances | {"masks": Cutouts((6, 8), np.array([[3, 2]]), [mask[2:4, 3:6]])})
    )
    np.testing.assert_array_equal(cut["label"], cut["instances"]["masks"].whole()[0])
