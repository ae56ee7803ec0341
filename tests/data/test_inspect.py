"""``jaxseg data inspect``: what it counts, and that it finds what is wrong with folders, COCO files and configs."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from jaxseg import cli
from jaxseg.data import Shapes, write_png
from jaxseg.data.survey import class_counts, leaks, problems_of, survey
from tests.data.miniatures import block, write_images
from tests.data.test_convert import OUTLINE, labelme, shape, yolo


def inspect(capsys, target, tmp_path, *options):
    code = cli.main(["data", "inspect", str(target), "--out", str(tmp_path / "out"), *options])
    return code, capsys.readouterr().out


def masks(folder, labels):
    write_images(folder / "images", len(labels))
    for n, label in enumerate(labels):
        write_png(folder / "masks" / f"{n}.png", label)


def test_counts_are_numpys():
    source = Shapes("train", length=6)
    done = []
    found = survey(source, done.append)
    assert done == [1, 2, 3, 4, 5, 6]
    samples = [source[n] for n in range(6)]
    counts = {name: rest for name, *rest in class_counts(found)}
    for k, name in enumerate(source.classes):
        thing = source.things.index(name) + 1 if name in source.things else -1
        pixels = sum(int((s["label"] == k).sum()) for s in samples)
        objects = sum(int((s["instances"]["classes"] == thing).sum()) for s in samples)
        images = sum(bool((s["label"] == k).any() or (s["instances"]["classes"] == thing).any()) for s in samples)
        assert counts[name] == [pixels, objects, images]
    assert leaks(found, found)[0].what == "6 of 6 val images are among the training images too"
    assert not leaks(found, survey(Shapes("val", length=6)))
    assert not [p for p in problems_of(found) if p.grave]


def test_a_good_folder(tmp_path, capsys):
    masks(tmp_path / "d", [block([0, 1, 2]), block([0, 2]), block([255, 4])])
    code, out = inspect(capsys, tmp_path / "d", tmp_path)
    assert code == 0
    assert "d: 3 images, 3 can be read" in out
    assert "width / height: 1.30" in out
    assert re.search(r"class 2 +3.85 % +- +2", out)  # 240 of 6240 pixels
    assert re.search(r"\(void\) +31.41 %", out)  # 1960
    assert "1 of 5 classes never appear (class 3)" in out
    sheet = np.asarray(Image.open(tmp_path / "out" / "d.png"))
    assert sheet.shape[1] > 900


def test_what_is_wrong_with_masks(tmp_path, capsys):
    folder = tmp_path / "d"
    masks(folder, [block([0, 1])] * 7)
    write_png(folder / "masks" / "1.png", np.zeros((9, 9), np.uint8))
    write_png(folder / "masks" / "2.png", np.zeros((40, 52, 3), np.uint8) + np.array([1, 2, 3], np.uint8))
    (folder / "masks" / "3.png").write_bytes((folder / "masks" / "3.png").read_bytes()[:60])
    write_png(folder / "masks" / "4.png", np.full((40, 52), 255, np.uint8))
    (folder / "images" / "5.png").write_bytes((folder / "images" / "6.png").read_bytes())
    code, out = inspect(capsys, folder, tmp_path)
    assert code == 2
    wrong, known = out.split("to mend:")[1].split("to know:")
    assert "the mask is 9x9 and its image 1.png 40x52" in wrong
    assert "resize the mask by nearest neighbour" in wrong
    assert "2.png: an RGB mask with 1 colours" in wrong
    assert "color_map" in wrong
    assert "3.png: damaged or truncated" in wrong
    assert "1 image wholly void" in known
    assert "2 images have the same pixels as another" in known
    assert "d: 7 images, 4 can be read" in out
    code, out = inspect(capsys, folder, tmp_path, "--classes", "a", "--most", "1")
    assert code == 2
    assert "d: 1 of 7 images, 0 can be read" in out
    assert "holds the values [0, 1], expected 0..0" in out


def test_labels_out_of_range_are_told_once_with_their_files(tmp_path, capsys):
    masks(tmp_path / "d", [block([0, 1, 2]), block([0, 2]), block([0, 1]), block([0, 1, 2])])
    code, out = inspect(capsys, tmp_path / "d", tmp_path, "--classes", "a,b")
    assert code == 2
    (line,) = [line for line in out.splitlines() if line.startswith("  - d: ")]
    files = [str(tmp_path / "d" / "masks" / f"{n}.png") for n in (0, 1)]
    assert line.startswith(f"  - d: 3 samples can't be used ({files[0]}, {files[1]}, ")
    assert line.count("the label map holds") == 1
    assert "Classes count from 0" in line


def test_black_and_white_masks_leaks_and_suffixes(tmp_path, capsys):
    for part in ("train", "val"):
        masks(tmp_path / "d" / part, [np.where(block([0, 1]) > 0, 255, 0)] * 3)
    image = (tmp_path / "d" / "train" / "images" / "1.png").read_bytes()
    (tmp_path / "d" / "val" / "images" / "2.png").write_bytes(image)
    for n in range(3):
        mask = tmp_path / "d" / "val" / "masks" / f"{n}.png"
        mask.rename(mask.with_name(f"{n}_mask.png"))
    code, out = inspect(capsys, tmp_path / "d", tmp_path)
    assert code == 2
    assert "train: the masks hold 0 and 255 only, black and white (0.png, 1.png, 2.png): divide them by 255" in out
    assert "1 of 3 val images are among the training images too" in out
    assert re.search(r"white +5.77 %", out)
    (tmp_path / "d" / "train" / "masks" / "1.png").unlink()
    code, out = inspect(capsys, tmp_path / "d", tmp_path)
    assert (code, "no mask for 1 of 3 images (1.png)" in out) == (2, True)


def coco(folder, **changes):
    write_images(folder / "images", 3)
    images = [{"id": n, "file_name": f"{n}.png", "height": 40, "width": 52} for n in range(3)]
    annotation = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
    annotation["segmentation"] = [[5, 5, 15, 5, 15, 15, 5, 15]]
    content = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}]}
    content["annotations"] += [annotation | change for change in changes.pop("more", ())]
    (folder / "instances.json").write_text(json.dumps(content | changes))
    return folder / "instances.json"


def test_a_good_coco_file(tmp_path, capsys):
    file = coco(tmp_path)
    for target in (file, tmp_path):
        code, out = inspect(capsys, target, tmp_path)
        assert code == 0
        assert "objects an image: 0 to 1, half below 0" in out
        assert "2 images of 3 without an object" in out


def test_everything_wrong_with_a_coco_file_at_once(tmp_path, capsys):
    more = [
        {},
        {"id": 2, "image_id": 7},
        {"id": 3, "category_id": 9},
        {"id": 4, "bbox": [1, 2, -3, 4]},
        {"id": 5, "bbox": [1, 2, 0, 4]},
        {"id": 6, "bbox": [60, 2, 3, 4]},
        {"id": 7, "bbox": [40, 2, 30, 4]},
        {"id": 8, "segmentation": []},
        {"id": 9, "bbox": [1, float("nan"), 3, 4]},
    ]
    file = coco(tmp_path, more=more)
    (tmp_path / "images" / "2.png").unlink()
    code, out = inspect(capsys, file, tmp_path)
    assert code == 2
    for words in (
        "1 annotation ids that come twice (1)",
        "1 images that are not in",
        "1 annotations of images that are not listed (2)",
        "1 annotations of categories that are not listed (3)",
        "2 annotations whose bbox is not four numbers with sides from 0 (4, 9)",
        "1 boxes of no area (5)",
        "1 boxes outside of their images (6)",
        "1 boxes that reach out of their images (7)",
        "1 annotations without a segmentation where others have one (8)",
    ):
        assert words in out


def test_configs_yolo_and_labelme(tmp_path, capsys):
    code, out = inspect(capsys, "panoptic_fpn_shapes", tmp_path, "--tiny")
    assert code == 0
    assert "train: 32 images" in out
    assert "nothing is wrong with it" in out
    yolo(tmp_path / "y", ["1 0.1 0.1 0.5 0.1 0.5 0.5", "0 0.5 0.5 0.2 0.1"])
    code, out = inspect(capsys, tmp_path / "y", tmp_path)
    assert code == 0
    assert "val: 2 images" in out
    assert "val: 1 boxes, since others have outlines" in out
    write_images(tmp_path / "l", 1)
    labelme(tmp_path / "l", "0", [shape("cat", "polygon", OUTLINE), shape("dog", "circle", [[20, 20], [25, 20]])])
    code, out = inspect(capsys, tmp_path / "l", tmp_path)
    assert code == 0
    assert re.search(r"dog +- +1 +1", out)
    code = cli.main(["data", "inspect", str(tmp_path / "l"), "--root", "x"])
    assert (code, "unknown arguments --root x" in capsys.readouterr().err) == (2, True)
    (tmp_path / "empty").mkdir()
    code = cli.main(["data", "inspect", str(tmp_path / "empty")])
    assert (code, "expected folders images and masks" in capsys.readouterr().err) == (2, True)


def test_the_classes_of_a_config_are_its_own_argument(tmp_path, capsys):
    for part in ("train", "val"):
        masks(tmp_path / "d" / part, [block([0, 1]), block([0, 1]), block([1, 0])])
        coco(tmp_path / "c" / part)
    options = ("--root", str(tmp_path / "d"), "--classes", "road, house")
    code, out = inspect(capsys, "semantic_folder", tmp_path, *options)
    assert code == 0
    assert len(re.findall(r"house +\d+", out)) == 2
    options = ("--root", str(tmp_path / "c"), "--classes", "cat")
    code, out = inspect(capsys, "detector_coco", tmp_path, *options)
    assert code == 0
    assert len(re.findall(r"cat +- +1 +1", out)) == 2
    code, out = inspect(capsys, "detector_coco", tmp_path, "--root", str(tmp_path / "c"), "--classes", "dog")
    assert code == 2
    assert "has the categories cat, and not dog" in out


def test_all_that_is_wrong_with_a_config_s_coco_file(tmp_path, capsys):
    for part in ("train", "val"):
        coco(tmp_path / part, more=[{"id": 2, "image_id": 7}, {"id": 3, "category_id": 9}])
    code, out = inspect(capsys, "detector_coco", tmp_path, "--root", str(tmp_path), "--classes", "cat")
    assert code == 2
    for part in ("train", "val"):
        assert f"{part}: 1 annotations of images that are not listed (2)" in out
        assert f"{part}: 1 annotations of categories that are not listed (3)" in out


def test_a_part_that_is_not_there_hides_no_other(tmp_path, capsys):
    about = "train: train/images\nval: nowhere\ntest:\nnames: [cat, dog]\n"
    yolo(tmp_path / "y", ["0 0.5 0.5 0.2 0.1"], about)
    code, out = inspect(capsys, tmp_path / "y", tmp_path)
    assert code == 0
    assert "train: 2 images, 2 can be read" in out
    assert "val: nowhere is not in" in out.split("to know:")[1]
    (tmp_path / "y" / "data.yaml").write_text(about.replace("nowhere", "valid/images"))
    (tmp_path / "y" / "valid" / "labels" / "0.txt").write_text("7 0.5 0.5 0.2 0.1\n")
    code, out = inspect(capsys, tmp_path / "y", tmp_path)
    assert code == 2
    assert "train: 2 images, 2 can be read" in out
    assert "is of class 7" in out.split("to mend:")[1].split("to know:")[0]
    masks(tmp_path / "d" / "train", [block([0, 1])] * 3)
    (tmp_path / "d" / "val").mkdir()
    code, out = inspect(capsys, tmp_path / "d", tmp_path)
    assert code == 2
    assert "train: 3 images, 3 can be read" in out
    assert "val: " in out.split("to mend:")[1]
    (tmp_path / "y" / "data.yaml").write_text("val: nowhere\nnames: [cat]\n")
    assert inspect(capsys, tmp_path / "y", tmp_path)[0] == 2  # nothing could be looked at


def test_parts_as_others_name_them_and_what_they_share(tmp_path, capsys):
    for part in ("train", "valid", "test"):
        file = coco(tmp_path / part)
        for n in range(3):
            (file.parent / "images" / f"{n}.png").rename(file.parent / f"{n}.png")
        file.rename(file.with_name("_annotations.coco.json"))
    for part, n in (("valid", 0), ("test", 1)):
        (tmp_path / part / f"{n}.png").write_bytes((tmp_path / "train" / f"{n}.png").read_bytes())
    code, out = inspect(capsys, tmp_path, tmp_path)
    assert code == 0
    for part in ("train", "valid", "test"):
        assert f"{part}: 3 images, 3 can be read" in out
    assert "1 of 3 valid images are among the training images too" in out
    assert "1 of 3 test images are among the training images too" in out


@pytest.mark.parametrize("most", ["0", "-1", "many"])
def test_how_many_are_looked_at_is_a_number_from_one(tmp_path, capsys, most):
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "inspect", str(tmp_path), f"--most={most}"])
    assert ended.value.code == 2
    assert f"'{most}': give a number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["no_such_config", "nowhere.json"])
def test_nothing_there(tmp_path, capsys, target):
    assert cli.main(["data", "inspect", target, "--out", str(tmp_path)]) == 2
    assert target.split(".")[0] in capsys.readouterr().err
