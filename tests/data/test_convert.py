"""LabelMe's and YOLO's files as COCO's: masks against Pillow's and numpy's drawing, and what is left out or refused."""

import base64
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from jaxseg import cli
from jaxseg.data import Coco
from jaxseg.data.images import png_bytes
from jaxseg.data.labelme import labelme_to_coco
from jaxseg.data.yolo import yolo_splits, yolo_to_coco
from jaxseg.types import JaxsegError
from tests.data.miniatures import write_images

HEIGHT, WIDTH = 40, 52
YY, XX = np.mgrid[:HEIGHT, :WIDTH] + 0.5
SMALL = base64.b64encode(png_bytes(np.ones((2, 2), np.uint8))).decode()
OUTLINE = [[5.0, 5.0], [30.0, 6.0], [20.0, 30.0]]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def drawn(points):
    """A polygon as Pillow fills it, at sixteen times the size."""
    canvas = Image.new("1", (WIDTH * 16, HEIGHT * 16))
    ImageDraw.Draw(canvas).polygon([(16 * x, 16 * y) for x, y in points], fill=1)
    return np.asarray(canvas).reshape(HEIGHT, 16, WIDTH, 16).mean((1, 3)) > 0.5


def shape(label, kind, points, **more):
    about = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}
    return about | {"mask": None} | more


def labelme(folder, name, shapes, **changes):
    content = {"version": "6.3.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png", "imageData": None}
    content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH} | changes
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def marked(tmp_path):
    write_images(tmp_path, 3)
    bitmap = np.zeros((6, 8), np.uint8)
    bitmap[1:4, 2:7] = 255
    mask = base64.b64encode(png_bytes(bitmap)).decode()
    shapes = [
        shape("cat", "polygon", OUTLINE),
        shape("dog", "rectangle", [[40, 30], [10, 20]]),
        shape("dog", "circle", [[26.0, 20.0], [34.0, 20.0]]),
        shape("cat", "mask", [[30, 10], [37, 15]], mask=mask),
        shape("cat", "polygon", [[2, 32], [10, 32], [10, 38]], group_id=1),
        shape("cat", "rectangle", [[40, 32], [50, 38]], group_id=1),
        shape("dog", "polygon", [[2, 2], [9, 2], [9, 9]], group_id=1),  # another label, another object
        shape("dog", "point", [[3, 3]]),
        shape("dog", "linestrip", [[3, 3], [9, 9], [4, 5]]),
        shape("__ignore__", "rectangle", [[0, 0], [5, 5]]),
        shape("dog", "rectangle", [[60, 60], [70, 70]]),
    ]
    labelme(tmp_path, "0", shapes)
    labelme(tmp_path, "1", [], imagePath="..\\elsewhere\\1.png")
    labelme(tmp_path, "9", [shape("cat", "polygon", OUTLINE)])
    return tmp_path


def test_labelme(marked, tmp_path, capsys):
    assert cli.main(["data", "convert", "labelme", str(marked), str(tmp_path / "out" / "a.json")]) == 0
    out = capsys.readouterr().out
    for words in (
        "left out 1 shapes of kind point",
        "left out 1 shapes of kind linestrip",
        "left out 1 shapes labelled __ignore__",
        "left out 1 files whose image is not there (9.json)",
        "left out 1 objects without a pixel in their image",
        "2 images, 6 objects, 2 classes",
    ):
        assert words in out
    coco = Coco(marked, tmp_path / "out" / "a.json")
    assert coco.things == ("cat", "dog")
    first, second = coco[0], coco[1]
    assert len(second["instances"]["boxes"]) == 0
    np.testing.assert_array_equal(first["image"], np.asarray(Image.open(marked / "0.png")))
    instances = first["instances"]
    assert [coco.things[k - 1] for k in instances["classes"]] == ["cat", "dog", "dog", "cat", "cat", "dog"]
    masks = instances["masks"].whole()
    assert iou(masks[0], drawn(OUTLINE)) > 0.97
    np.testing.assert_array_equal(masks[1], (XX > 10) & (XX < 40) & (YY > 20) & (YY < 30))
    assert iou(masks[2], np.hypot(XX - 26, YY - 20) < 8) > 0.95
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    bitmap[11:14, 32:37] = True
    np.testing.assert_array_equal(masks[3], bitmap)
    both = drawn([[2, 32], [10, 32], [10, 38]]) | ((XX > 40) & (XX < 50) & (YY > 32) & (YY < 38))
    assert iou(masks[4], both) > 0.9
    np.testing.assert_array_equal(instances["boxes"], instances["masks"].boxes())


def test_an_image_that_two_of_labelmes_files_tell_of_has_the_objects_of_both(tmp_path):
    write_images(tmp_path, 2)
    (tmp_path / "dogs").mkdir()
    labelme(tmp_path, "0", [shape("cat", "polygon", OUTLINE)])
    labelme(tmp_path, "1", [])
    labelme(tmp_path / "dogs", "0", [shape("dog", "rectangle", [[10, 20], [40, 30]])], imagePath="../0.png")
    content = labelme_to_coco(tmp_path).content
    assert [image["file_name"] for image in content["images"]] == ["0.png", "1.png"]
    assert [(one["image_id"], one["category_id"]) for one in content["annotations"]] == [(1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imageHeight": 41}, r"0.json: is of an image of 41x52 pixels, 0.png has 40x52"),
        ({"imagePath": None}, r"0.json: imagePath is missing or of another kind"),
        ({"shapes": [{"label": 3, "points": []}]}, r"shapes\[0\] is missing or of another kind"),
        ({"shapes": [shape("a", "polygon", [[1, 2], [3]])]}, r"shapes\[0\] \(a\): its points are"),
        ({"shapes": [shape("a", "mask", [[1, 2], [3, 4]], mask="!")]}, r"has no readable mask"),
        (
            {"shapes": [shape("a", "mask", [[1, 2], [9, 9]], mask=SMALL)]},
            r"its mask is \(2, 2\), its rectangle another",
        ),
    ],
)
def test_labelme_refused(tmp_path, change, said):
    change = dict(change)
    write_images(tmp_path, 1)
    labelme(tmp_path, "0", change.pop("shapes", [shape("cat", "polygon", OUTLINE)]), **change)
    with pytest.raises(JaxsegError, match=said):
        labelme_to_coco(tmp_path)


def test_labelme_of_nothing(tmp_path):
    with pytest.raises(JaxsegError, match="no such folder"):
        labelme_to_coco(tmp_path / "none")
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(JaxsegError, match="holds none of LabelMe's files"):
        labelme_to_coco(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(JaxsegError, match="bad.json: not a JSON file"):
        labelme_to_coco(tmp_path)


def yolo(folder, lines, about="train: ../train/images\nval: valid/images\nnc: 2\nnames: ['cat', 'dog']\n"):
    for part in ("train", "valid"):
        write_images(folder / part / "images", 2)
        (folder / part / "labels").mkdir()
        (folder / part / "labels" / "0.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text(about)


def test_yolo_outlines(tmp_path, capsys):
    outline = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in OUTLINE)
    yolo(tmp_path, [f"1 {outline}", "", "0 0.5 0.5 0.2 0.1", "0 0.9 0.1 1.02 0.1 1.02 0.4"])
    assert yolo_splits(tmp_path) == ["train", "val"]
    assert cli.main(["data", "convert", "yolo", str(tmp_path), str(tmp_path / "a.json"), "--split", "val"]) == 0
    out = capsys.readouterr().out
    assert "left out 1 boxes, since others have outlines (0.png)" in out
    assert "2 images, 2 objects, 2 classes" in out
    coco = Coco(tmp_path, tmp_path / "a.json")
    instances = coco[0]["instances"]
    assert [coco.things[k - 1] for k in instances["classes"]] == ["dog", "cat"]
    assert iou(instances["masks"][0], drawn(OUTLINE)) > 0.97
    assert instances["boxes"][1][2] == WIDTH  # cut off at the edge
    assert len(coco[1]["instances"]["boxes"]) == 0  # no text file


def test_yolo_boxes_and_images_turned_by_their_exif(tmp_path):
    yolo(tmp_path, ["1 0.5 0.25 0.5 0.5"], "path: .\ntrain: [train/images]\nval: list.txt\nnames: {0: cat, 1: dog}\n")
    (tmp_path / "list.txt").write_text("valid/images/1.jpg\n")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "valid" / "images" / "1.jpg", exif=exif)
    (tmp_path / "valid" / "labels" / "1.txt").write_text("1 0.5 0.25 0.5 0.5\n")
    for split, size in (("train", (WIDTH, HEIGHT)), ("val", (HEIGHT, WIDTH))):
        writer = yolo_to_coco(tmp_path, split)
        writer.write(tmp_path / "b.json")
        sample = Coco(tmp_path, tmp_path / "b.json")[0]
        assert sample["image"].shape[1::-1] == size
        width, height = size
        assert sample["instances"]["boxes"].tolist() == [[width / 4, 0, width * 3 / 4, height / 2]]
        assert "masks" not in sample["instances"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["2 0.5 0.5 0.2 0.1"], r"0.txt: line 1: is of class 2, data.yaml names 2 from 0"),
        (["0 0.5 0.5 0.2"], r"line 1: '0 0.5 0.5 0.2'; expected a class and an outline"),
        (["0 12 30 40 30 40 50"], r"numbers up to 50; expected parts of the image's sides"),
        (["cat 0.5 0.5 0.2 0.1"], r"expected a class and an outline"),
        (["0 0.5 nan 0.2 0.1"], r"expected a class and an outline"),
        (["0 0.5 0.5 0.2 -0.1"], r"line 1: '0 0.5 0.5 0.2 -0.1' has a side below 0"),
    ],
)
def test_yolo_refused(tmp_path, lines, said):
    yolo(tmp_path, lines)
    with pytest.raises(JaxsegError, match=said):
        yolo_to_coco(tmp_path)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (None, "data.yaml: no such file"),
        ("train: images\nnames: []\n", "expected train, val and names"),
        ("train: images\nnames: cat\n", "names is cat; expected"),
        ("train: images\nnames: {1: cat, 2: dog}\n", "names has the keys 1, 2; they count from 0, without gaps"),
        ("train: images\nnames: [a]\nkpt_shape: [17, 3]\n", "has kpt_shape: keypoints are not read"),
        ("train: [images\n", "data.yaml: no YAML"),
        (b"train: images\nnames: [\xe9]\n", r"data.yaml: is not in UTF-8 \(.*, byte 22\)"),
        ("train: none\nnames: [a]\n", "train: none is not in"),
        ("train: empty\nnames: [a]\n", "train: no images in empty"),
        ("train: images\nnames: [a]\n", r"none of 1 images has a file of labels; .* as .*labels/0.txt"),
        ("test:\nnames: [a]\n", "names none of train, val, test"),
        ("val: images\nnames: [a]\n", "names no 'train'; it has val"),
    ],
)
def test_yolo_without_what_it_needs(tmp_path, about, said):
    write_images(tmp_path / "images", 1)
    (tmp_path / "empty").mkdir()
    if about is not None:
        (tmp_path / "data.yaml").write_bytes(about if isinstance(about, bytes) else about.encode())
    with pytest.raises(JaxsegError, match=said):
        yolo_to_coco(tmp_path)


def test_yolo_outlines_are_cut_off_where_the_image_ends(tmp_path):
    points = [[-20.0, 20.0], [26.0, -12.0], [60.0, 55.0]]
    yolo(tmp_path, ["0 " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)])
    writer = yolo_to_coco(tmp_path)
    writer.write(tmp_path / "a.json")
    instances = Coco(writer.root, tmp_path / "a.json")[0]["instances"]
    assert iou(instances["masks"][0], drawn(points)) > 0.98
    np.testing.assert_array_equal(instances["boxes"], instances["masks"].boxes())


def test_yolo_names_stay_as_they_are_written(tmp_path):
    yolo(tmp_path, ["1 0.5 0.5 0.2 0.2", "3 0.5 0.5 0.4 0.4"], "train: train/images\nnames: [no, 1.0, 007, 1.0]\n")
    writer = yolo_to_coco(tmp_path)
    assert [c["name"] for c in writer.content["categories"]] == ["no", "1.0", "007", "1.0"]
    assert [a["category_id"] for a in writer.content["annotations"]] == [2, 4]


def test_files_of_windows(tmp_path):
    yolo(tmp_path, ["0 0.5 0.5 0.2 0.2"], "\ufefftrain: list.txt\nnames: [cat]\n")
    (tmp_path / "list.txt").write_text("\ufefftrain\\images\\0.png\r\n.\\train\\images\\1.png\r\n")
    (tmp_path / "train" / "labels" / "1.txt").write_text("\ufeff0 0.5 0.5 0.2 0.2\n")
    writer = yolo_to_coco(tmp_path)
    assert [image["file_name"] for image in writer.content["images"]] == ["train/images/0.png", "train/images/1.png"]
    assert len(writer.content["annotations"]) == 2


def test_images_beside_the_folder(tmp_path, capsys):
    write_images(tmp_path / "images", 1)
    for name in ("marked", "set"):
        (tmp_path / name).mkdir()
    labelme(tmp_path / "marked", "0", [shape("cat", "polygon", OUTLINE)], imagePath="../images/0.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set" / "data.yaml").write_text("path: ..\ntrain: images\nnames: [cat]\n")
    for kind, folder in (("labelme", "marked"), ("yolo", "set")):
        file = tmp_path / f"{kind}.json"
        assert cli.main(["data", "convert", kind, str(tmp_path / folder), str(file)]) == 0
        assert f"jaxseg.data.Coco({str(tmp_path)!r}, {str(file)!r})" in capsys.readouterr().out
        coco = Coco(tmp_path, file)
        assert coco.classes == ("cat",)
        assert len(coco[0]["instances"]["boxes"]) == 1


def test_labelme_classes_are_those_of_objects(tmp_path):
    write_images(tmp_path, 1)
    shapes = [shape("cat", "polygon", OUTLINE), shape("nose", "point", [[3, 3]])]
    labelme(tmp_path, "0", shapes, imageData="A" * 1000)
    labelme(tmp_path, "1", [shape("dog", "polygon", OUTLINE)])  # no such image
    assert [c["name"] for c in labelme_to_coco(tmp_path).content["categories"]] == ["cat"]
