"""COCO's files as a source: what pycocotools reads of them, ids that survive, and what is refused."""

import contextlib
import copy
import io
import json
import logging
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from jaxseg import progress
from jaxseg.data import (
    Augment,
    Coco,
    InMemory,
    Resize,
    Shapes,
    Subset,
    coco_index,
    coco_instances,
    coco_truth,
    split,
    to_coco,
    train_batches,
)
from jaxseg.types import JaxsegError

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools.mask.decode, numpy >= 2
HEIGHT, WIDTH = 60, 80
RNG = np.random.default_rng(0)
BLOCK = np.zeros((HEIGHT, WIDTH), np.uint8)
BLOCK[10:30, 20:45] = 1
BLOCK[15:20, 25:30] = 0  # a hole
COUNTS = np.diff(np.flatnonzero(np.diff(BLOCK.T.ravel(), prepend=0)), prepend=0, append=HEIGHT * WIDTH).tolist()
RLE = coco_mask.encode(np.asfortranarray(BLOCK))
NAMES = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def annotation(number, image, category, bbox, segmentation, **more):
    area = bbox[2] * bbox[3]
    fields = {"id": number, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0, "area": area}
    return fields | {"segmentation": segmentation} | more


def content():
    two = [[5.5, 5.5, 20.25, 6, 18, 25.5, 6, 20], [40, 40, 60, 41, 50.5, 55]]
    points = [30, 20, 2, 28, 18, 1, 33, 18, 2, 0, 0, 0, 36, 19, 2]
    return {
        "images": [
            {"id": 139, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
            {"id": 7, "file_name": "sub/a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 8, "file_name": "empty.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [
            annotation(11, 7, 90, [5.5, 5.5, 54.5, 49.5], two),
            annotation(12, 7, 3, [20, 10, 25, 20], {"size": [HEIGHT, WIDTH], "counts": COUNTS}, iscrowd=1),
            annotation(
                4,
                139,
                1,
                [20, 10, 25, 20],
                {"size": [HEIGHT, WIDTH], "counts": RLE["counts"].decode()},
                keypoints=points,
                num_keypoints=4,
            ),
        ],
        "categories": [
            {"id": 90, "name": "brush"},
            {"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": []},
            {"id": 3, "name": "car"},
        ],
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("b.png", "sub/a.png", "empty.png"):
        Image.fromarray(RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


def write(folder, value):
    path = folder / "instances.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def source(folder, value=None, **options):
    return Coco(folder / "images", write(folder, content() if value is None else value), **options)


def pycoco(value):
    api = COCO()
    api.dataset = copy.deepcopy(value)
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
    return api


def test_masks_boxes_and_classes_are_pycocotools(folder):
    coco, api = source(folder), pycoco(content())
    assert coco.category_ids == (1, 3, 90)
    assert coco.things == coco.classes == ("person", "car", "brush")
    assert coco.image_ids == (139, 7, 8)
    assert len(coco) == 3
    assert len(coco.palette) == 3
    for place in range(3):
        sample = coco[place]
        image = api.imgs[sample["image_id"]]
        np.testing.assert_array_equal(sample["image"], np.asarray(Image.open(folder / "images" / image["file_name"])))
        assert sample["name"].endswith(image["file_name"])
        instances, wanted = sample["instances"], api.imgToAnns[image["id"]]
        assert [coco.category_ids[k - 1] for k in instances["classes"]] == [a["category_id"] for a in wanted]
        assert [coco.class_of[a["category_id"]] for a in wanted] == instances["classes"].tolist()
        assert instances["crowd"].tolist() == [bool(a["iscrowd"]) for a in wanted]
        for mask, box, a in zip(instances["masks"], instances["boxes"], wanted, strict=True):
            np.testing.assert_array_equal(mask, api.annToMask(a).astype(bool))
            x, y, w, h = a["bbox"]
            np.testing.assert_allclose(box, [x, y, x + w, y + h], rtol=1e-6)
    none = coco[2]["instances"]
    shapes = {k: v.shape for k, v in none.items() if k != "flip_pairs"}
    assert shapes == {
        "boxes": (0, 4),
        "classes": (0,),
        "crowd": (0,),
        "masks": (0, HEIGHT, WIDTH),
        "keypoints": (0, 5, 3),
    }
    assert source(folder, keep_empty=False).image_ids == (139, 7)
    assert "masks" not in source(folder, masks=False)[0]["instances"]
    few = source(folder, min_area=501)
    assert [len(few[i]["instances"]["boxes"]) for i in range(3)] == [0, 1, 0]


def test_keypoints_are_at_pixel_centres_and_change_sides(folder):
    coco = source(folder)
    keypoints = coco[0]["instances"]["keypoints"][0]
    assert keypoints.tolist() == [[30.5, 20.5, 2], [28.5, 18.5, 1], [33.5, 18.5, 2], [0, 0, 0], [36.5, 19.5, 2]]
    assert not coco[1]["instances"]["keypoints"].any()
    assert coco.keypoint_names == NAMES
    assert coco.flip_pairs == coco[0]["instances"]["flip_pairs"] == ((1, 2), (3, 4))


def test_captions(folder):
    value = {
        "images": content()["images"],
        "annotations": [{"id": k, "image_id": i, "caption": f"line {k}"} for k, i in enumerate((7, 139, 7))],
    }
    coco = source(folder, value)
    assert [coco[i]["captions"] for i in range(3)] == [("line 1",), ("line 0", "line 2"), ()]
    assert "instances" not in coco[0]
    assert coco.things == ()


def test_nothing_is_read_before_it_is_asked_for(folder):
    coco = Coco("nowhere", "nothing.json")
    with pytest.raises(JaxsegError, match=r"nothing.json: no such file"):
        len(coco)
    named = Coco("nowhere", "nothing.json", names=("cat", "dog"))
    assert named.things == named.classes == ("cat", "dog")
    assert len(named.palette) == 2


def test_names_known_beforehand_are_those_of_the_file(folder):
    assert len(source(folder, names=("person", "car", "brush"))) == 3
    with pytest.raises(
        JaxsegError, match=r"has the categories person, car, brush, and not car; .*--classes person,car"
    ):
        len(source(folder, names=("car",)))


def test_what_can_be_mended_is_mended_and_told_once(folder, caplog):
    value = content()
    square = [[30, 30, 50, 30, 50, 50, 30, 50]]
    value["annotations"] += [
        annotation(20, 8, 1, [30, 30, 50, 50], square),  # x2 and y2 in place of width and height: cut off, still wrong
        annotation(21, 8, 1, [30, 30, 0, 10], square),
        annotation(22, 8, 1, [90, 10, 5, 5], square),
        annotation(23, 8, 1, [70, 50, 20, 20], [[70, 50, 80, 50, 80, 60, 70, 60]]),
    ]
    coco = source(folder, value)
    with caplog.at_level(logging.WARNING, "jaxseg"):
        boxes = coco[2]["instances"]["boxes"]
        assert len(coco) == 3
    assert boxes.tolist() == [[30, 30, 50, 50], [70, 50, 80, 60]]
    assert len(caplog.records) == 1
    for words in ("instances.json: of 7 boxes", "1 of no area and 1 outside", "for 1 that disagree", "annotation 20"):
        assert words in caplog.text
    assert len(coco.truth().coco["annotations"]) == 7


def broken(change):
    value = content()
    change(value)
    return value


REFUSED = {
    "not json": ("{", "not a JSON file"),
    "a list": ("[]", "holds a list"),
    "no images": (lambda v: v.pop("images"), "no list of images"),
    "no annotations": (lambda v: v.pop("annotations"), "no list of annotations"),
    "no categories": (lambda v: v.pop("categories"), "no list of categories"),
    "image without name": (lambda v: v["images"][1].pop("file_name"), r"images\[1\] \(id 7\): file_name is missing"),
    "image of odd type": (lambda v: v["images"].append(3), r"images\[3\] is '3'"),
    "height as text": (lambda v: v["images"][0].update(height="60"), "height is '60', expected int"),
    "box missing": (lambda v: v["annotations"][0].pop("bbox"), r"annotations\[0\] \(id 11\): bbox is missing"),
    "image twice": (lambda v: v["images"][1].update(id=139), r"images\[1\] has the id 139 of an earlier one"),
    "annotation twice": (lambda v: v["annotations"][1].update(id=11), r"annotations\[1\] has the id 11"),
    "category twice": (lambda v: v["categories"][1].update(id=90), r"categories\[1\] has the id 90"),
    "unknown image": (lambda v: v["annotations"][0].update(image_id=5), "annotation 11 has image_id 5"),
    "unknown category": (lambda v: v["annotations"][0].update(category_id=2), "annotation 11 has category_id 2"),
    "nan": (lambda v: v["annotations"][0].update(bbox=[0, 0, float("nan"), 2]), r"annotation 11: bbox is \[0, 0, nan"),
    "negative": (lambda v: v["annotations"][0].update(bbox=[9, 9, -4, 2]), "annotation 11: bbox is"),
    "three": (lambda v: v["annotations"][0].update(bbox=[9, 9, 4]), "annotation 11: bbox is"),
    "file missing": (
        lambda v: v["images"][0].update(file_name="c.png"),
        r"1 of 3 images are not in .*c.png \(id 139\)",
    ),
    "climbs": (lambda v: v["images"][0].update(file_name="sub/../../x.png"), "image 139: .*leads out of the folder"),
    "climbs by \\": (lambda v: v["images"][0].update(file_name="..\\x.png"), "leads out of the folder"),
    "absolute": (lambda v: v["images"][0].update(file_name="/etc/passwd"), "leads out of the folder"),
    "drive": (lambda v: v["images"][0].update(file_name="C:\\x.png"), "leads out of the folder"),
    "two points": (lambda v: v["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "annotation 11: .*no polygon"),
    "far": (lambda v: v["annotations"][0].update(segmentation=[[0, 0, 9e9, 0, 9e9, 9]]), "no polygon"),
    "no mask": (lambda v: v["annotations"][0].update(segmentation=[]), "annotation 11: has no segmentation where"),
    "runs": (lambda v: v["annotations"][1]["segmentation"].update(counts=[5, 5]), "annotation 12: .*do not add up"),
    "size": (lambda v: v["annotations"][1]["segmentation"].update(size=[5, 5]), r"annotation 12: .*\[5, 5\]"),
    "damaged": (lambda v: v["annotations"][2]["segmentation"].update(counts="zzz"), "annotation 4: damaged run"),
    "points": (lambda v: v["annotations"][2].update(keypoints=[1, 2, 2]), "annotation 4 has 3 numbers of keypoints"),
    "image of other size": (lambda v: v["images"][2].update(height=80, width=60), "empty.png: 60x80 .*try exif=False"),
    "panoptic": (
        lambda v: v.update(annotations=[{"image_id": 7, "segments_info": [], "file_name": "x"}]),
        "a file of panoptic segments",
    ),
    "nothing left": (lambda v: v.update(annotations=[]), "3 images, none of them with an object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(folder, case):
    change, message = REFUSED[case]
    value = change if isinstance(change, str) else broken(change)
    coco = source(folder, value, keep_empty=case != "nothing left")
    with pytest.raises(JaxsegError, match=message) as error:
        [coco[i] for i in range(len(coco))]
    assert "instances.json" in str(error.value)


def test_a_colon_in_a_file_s_name(folder):
    value, name = content(), "2020-01-01T12:30.png"
    value["images"][0]["file_name"] = name
    (folder / "images" / "b.png").rename(folder / "images" / name)
    assert source(folder, value)[0]["name"] == str(folder / "images" / name)


def test_many_masks_are_looked_at_with_a_line_now_and_then(folder, monkeypatch, capsys):
    monkeypatch.setattr(coco_index, "_MANY", 3)
    monkeypatch.setattr(progress, "QUIET", 0.0)
    assert len(source(folder)) == 3
    assert "boxes of instances.json: 3 of 3 objects" in capsys.readouterr().err


ODD = (None, True, -1, 3.5, float("inf"), 10**30, "", "x", "1", [], [[]], [None], {}, [[1, 2], "a"], {"a": 1})


def mutated(value, rng):
    """One value somewhere in the JSON replaced by an odd one, or left out."""
    places = []

    def walk(node):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(value)
    node, key = places[rng.integers(len(places))]
    if rng.random() < 0.1 and isinstance(node, dict):
        del node[key]
    else:
        node[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
    return value


@pytest.mark.parametrize("seed", range(4))
def test_odd_values_anywhere_are_read_or_refused(folder, seed):
    rng, refused = np.random.default_rng(seed), []
    for _ in range(150):
        coco = source(folder, mutated(copy.deepcopy(content()), rng))
        try:
            samples = [coco[place] for place in range(len(coco))]
            assert coco.palette.shape == (len(coco.things), 3)
        except JaxsegError as error:
            refused.append(str(error))
            continue
        boxes = np.concatenate([s["instances"]["boxes"] for s in samples if "instances" in s] or [np.zeros((0, 4))])
        assert np.isfinite(boxes).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert len(refused) > 50
    assert all("instances.json" in message and len(message) < 600 for message in refused)


def test_any_source_as_coco():
    shapes = Shapes(length=6, size=(64, 80), seed=2)
    value = to_coco(shapes)
    api = pycoco(json.loads(json.dumps(value)))
    assert [c["name"] for c in value["categories"]] == list(shapes.things)
    for place, image_id in enumerate(coco_truth(shapes).image_ids):
        instances, found = shapes[place]["instances"], api.imgToAnns[image_id]
        assert api.imgs[image_id]["file_name"] == shapes[place]["name"]
        assert [a["category_id"] for a in found] == instances["classes"].tolist()
        for a, mask, box, points in zip(found, instances["masks"], instances["boxes"], instances["keypoints"]):
            np.testing.assert_array_equal(api.annToMask(a), mask)
            assert a["area"] == mask.sum()
            np.testing.assert_allclose(np.array(a["bbox"]), [*box[:2], *(box[2:] - box[:2])])
            assert a["num_keypoints"] == (points[:, 2] > 0).sum()
    with pytest.raises(JaxsegError, match="has no `things`"):
        to_coco([{"image": np.zeros((4, 4, 3), np.uint8)}])


def test_a_source_through_json_and_back(tmp_path):
    """Written as JSON and read by Coco, the samples are the same."""
    shapes = Shapes(length=4, size=(64, 80))
    value = to_coco(shapes)
    for image, sample in zip(value["images"], (shapes[i] for i in range(4))):
        image["file_name"] += ".png"
        Image.fromarray(sample["image"]).save(tmp_path / image["file_name"])
    (tmp_path / "x.json").write_text(json.dumps(value))
    coco = Coco(tmp_path, tmp_path / "x.json")
    for place in range(4):
        ours, theirs = coco[place]["instances"], shapes[place]["instances"]
        np.testing.assert_array_equal(ours["masks"].whole(), theirs["masks"])
        for key in ("boxes", "classes", "keypoints"):
            np.testing.assert_allclose(ours[key], theirs[key], atol=1e-4)
        assert ours["flip_pairs"] == theirs["flip_pairs"]


def test_truth_of_parts_keeps_the_ids(folder):
    coco = source(folder)
    assert coco.truth().coco == content()
    assert coco_truth(coco)[1:] == ((139, 7, 8), (1, 3, 90))
    assert Subset(coco, (2, 0)).truth()[1:] == ((8, 139), (1, 3, 90))
    part, rest = split(coco, 0.4)
    assert sorted(part.truth().image_ids + rest.truth().image_ids) == [7, 8, 139]
    assert InMemory(coco).truth().image_ids == (139, 7, 8)
    half = InMemory(coco, Resize((30, 40)))
    assert [i["height"] for i in half.truth().coco["images"]] == [30] * 3


def test_batches_of_it(folder):
    batches = train_batches(
        source(folder), Augment((48, 48)), batch_size=3, seed=0, num_threads=0, max_instances=4, mask_side=14
    )
    instances = next(batches)["instances"]
    assert instances["masks"].shape == (3, 4, 14, 14)
    assert instances["valid"].shape == instances["crowd"].shape == (3, 4)
    assert (instances["masks"].any((2, 3)) == instances["valid"]).all()


def test_nuclei(shared):
    folder = shared / "data" / "nuclei" / "val"
    coco = Coco(folder / "images", folder / "instances.json")
    api = pycoco(json.loads((folder / "instances.json").read_text()))
    assert len(coco) == 100
    for place in (0, 50, 99):
        found = api.imgToAnns[coco.image_ids[place]]
        masks = coco[place]["instances"]["masks"]
        for mask, a in zip(masks, found, strict=True):
            np.testing.assert_array_equal(mask, api.annToMask(a).astype(bool))


def test_prepared_for_tfds_without_tensorflow(folder, tmp_path):
    from jaxseg.data.coco_builder import prepare_coco

    coco = source(folder)
    prepare_coco({"train": coco, "validation": source(folder, keep_empty=False)}, tmp_path / "tfds")
    prepared = coco_instances("train", data_dir=tmp_path / "tfds", things=coco.things)
    assert prepared.things == coco.things
    assert len(prepared) == 3
    assert len(coco_instances("validation", data_dir=tmp_path / "tfds")) == 2
    for sample in (prepared[i] for i in range(3)):
        wanted = coco[coco.image_ids.index(sample["image_id"])]
        np.testing.assert_array_equal(sample["image"], wanted["image"])
        np.testing.assert_allclose(sample["instances"]["boxes"], wanted["instances"]["boxes"], atol=1e-4)
        for key in ("classes", "crowd"):
            np.testing.assert_array_equal(sample["instances"][key], wanted["instances"][key])
        np.testing.assert_array_equal(sample["instances"]["masks"].whole(), wanted["instances"]["masks"].whole())
    assert "tensorflow" not in sys.modules
    assert to_coco(prepared)["images"][0]["id"] in coco.image_ids
    prepare_coco({"train": source(folder, masks=False)}, tmp_path / "boxes")
    boxes = coco_instances("train", data_dir=tmp_path / "boxes", things=coco.things)
    assert all("masks" not in boxes[i]["instances"] for i in range(3))
    with pytest.raises(JaxsegError, match="0 sources"):
        prepare_coco({}, tmp_path)
