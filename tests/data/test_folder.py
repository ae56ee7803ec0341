"""Folders of images and masks: what fits is read, what does not is named with its mend."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import CAMVID_CLASSES, Folder, camvid, check_labels, write_png
from jaxseg.data.folder import spread_colors, to_labels
from jaxseg.types import VOID, JaxsegError

CLASSES = ("a", "b", "c")


@pytest.fixture
def folders(tmp_path):
    """images/0.png, 1.jpg, 2.PNG and masks/0.png, 1.png, 2.png of values 0, 1, 2, 255."""
    rng = np.random.default_rng(0)
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for k, name in enumerate(("0.png", "1.jpg", "2.PNG")):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).save(images / name)
        write_png(masks / f"{k}.png", rng.choice([0, 1, 2, 255], (6, 8)))
    (images / "notes.txt").write_text("not an image")
    return images, masks


def refused(make, *said):
    with pytest.raises(JaxsegError) as error:
        make()
    assert "\n" not in str(error.value)
    for words in said:
        assert words in str(error.value), str(error.value)


def test_reads_pairs_in_order(folders):
    source = Folder(*folders, CLASSES)
    assert len(source) == 3
    for k in range(3):
        sample = source[k]
        assert sample["image"].shape == (6, 8, 3)
        assert sample["label"].dtype == np.uint8
        np.testing.assert_array_equal(sample["label"], np.asarray(Image.open(folders[1] / f"{k}.png")))
        assert sample["name"].endswith(("0.png", "1.jpg", "2.PNG")[k])
    assert source.palette.shape == (3, 3)


def test_missing_and_empty_folders(folders, tmp_path):
    refused(lambda: len(Folder(tmp_path / "nowhere", folders[1], CLASSES)), "nowhere", "no such folder", "check")
    (tmp_path / "empty").mkdir()
    refused(lambda: len(Folder(tmp_path / "empty", folders[1], CLASSES)), "empty", "no images", ".jpg")
    refused(lambda: len(Folder(folders[0], tmp_path / "empty", CLASSES)), "empty", "no masks", ".png")


def test_images_without_mask_are_named(folders):
    (folders[1] / "1.png").unlink()
    refused(lambda: len(Folder(*folders, CLASSES)), "1 of 3 images", "1.jpg", "mask_suffix")


def test_two_images_of_one_name(folders):
    write_png(folders[0] / "1.png", np.zeros((6, 8, 3), np.uint8))
    refused(lambda: len(Folder(*folders, CLASSES)), "1.png", "1.jpg", "rename")


def test_mask_suffix(folders):
    for k in range(3):
        (folders[1] / f"{k}.png").rename(folders[1] / f"{k}_L.png")
    assert len(Folder(*folders, CLASSES, mask_suffix="_L")) == 3
    refused(lambda: len(Folder(*folders, CLASSES)), "3 of 3")


def test_sizes_that_differ(folders):
    write_png(folders[1] / "0.png", np.zeros((6, 9), np.uint8))
    refused(lambda: Folder(*folders, CLASSES)[0], "0.png", "6x9", "6x8", "resize the mask by nearest")


def test_exif_turned_image_with_a_mask_that_is_not(folders):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[0, 0] = 200
    Image.fromarray(pixels).save(folders[0] / "0.png", exif=exif)
    refused(lambda: Folder(*folders, CLASSES)[0], "8x6", "EXIF", "exif=False")
    assert Folder(*folders, CLASSES, exif=False)[0]["image"][0, 0, 0] == 200
    write_png(folders[1] / "0.png", np.zeros((8, 6), np.uint8))  # drawn on the turned image
    sample = Folder(*folders, CLASSES)[0]
    assert sample["image"].shape[:2] == sample["label"].shape == (8, 6)
    assert sample["image"][0, -1, 0] == 200


def test_labels_out_of_range_are_named(folders):
    write_png(folders[1] / "0.png", np.full((6, 8), 3))
    refused(lambda: Folder(*folders, CLASSES)[0], "0.png", "[3]", "0..2")


def test_black_and_white_masks(folders):
    for k in range(3):
        write_png(folders[1] / f"{k}.png", np.eye(6, 8).astype(np.uint8) * 255)
    refused(lambda: Folder(*folders, ("no", "yes"))[0], "[0, 255]")
    label = Folder(*folders, ("no", "yes"), color_map={0: 0, 255: 1})[0]["label"]
    np.testing.assert_array_equal(label, np.eye(6, 8))
    label = Folder(*folders, ("no", "yes"), allow_0_255=True)[0]["label"]
    np.testing.assert_array_equal(label, np.eye(6, 8) * 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_to_labels(dtype):
    mask = np.array([[0, 1, 2, 3, 255]], dtype)
    assert to_labels(mask, 4).tolist() == [[0, 1, 2, 3, VOID]]
    assert to_labels(mask, 3, reduce_zero_label=True).tolist() == [[VOID, 0, 1, 2, VOID]]
    assert to_labels(mask[:, :4], 3, ignore_index=3).tolist() == [[0, 1, 2, VOID]]
    assert to_labels(mask, 4).dtype == np.uint8
    with pytest.raises(JaxsegError, match="255"):  # not the void of this data set, nor a class
        to_labels(mask, 3, ignore_index=3)
    with pytest.raises(JaxsegError, match="3"):
        to_labels(mask, 2, reduce_zero_label=True)


def test_to_labels_with_negative_and_wide_values():
    assert to_labels(np.array([[-1, 0, 5]]), 6, ignore_index=-1).tolist() == [[VOID, 0, 5]]
    wide = to_labels(np.array([[0, 299]]), 300, ignore_index=-1)
    assert wide.dtype == np.int32
    assert wide.tolist() == [[0, 299]]
    assert to_labels(np.array([[7, 65535]]), 8, ignore_index=65535).tolist() == [[7, VOID]]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([[0, 2]]), "num_classes=3"),
        (np.array([[1, 2]]), "subtract 1"),
        (np.array([[0, 255]]), "divide it by 255"),
        (np.array([[-1, 1]]), "ignore_index=-1"),
        (np.zeros((4, 4, 3), np.uint8), "colour picture"),
        (np.zeros((4, 4), np.float32), "float32"),
    ],
)
def test_check_labels_tells_values_and_mend(labels, said):
    with pytest.raises(JaxsegError, match=r"m\.png: the label map") as error:
        check_labels(labels, 2, where="m.png")
    assert said in str(error.value)
    check_labels(np.array([[0, 1, 255]]), 2)


def test_spread_colors_differ():
    colors = spread_colors(150)
    assert len({tuple(c) for c in colors.tolist()}) == 150
    assert colors[0].tolist() == [128, 0, 0]
    assert colors[1].tolist() == [0, 128, 0]


def test_camvid_layout(tmp_path):
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        write_png(tmp_path / split / "images" / "x.png", np.zeros((4, 5, 3), np.uint8))
        write_png(tmp_path / split / "masks" / "x.png", np.full((4, 5), 1))
    assert camvid(tmp_path)[0]["label"].tolist() == [[1] * 5] * 4
    missing = camvid(tmp_path, "test")  # what can be said without files is
    assert (len(missing.classes), missing.palette[1].tolist()) == (11, [128, 0, 0])
    refused(lambda: missing[0], "test", "no such folder")


def test_real_camvid(shared):
    about = json.loads((shared / "data" / "camvid" / "meta.json").read_text())
    assert tuple(about["classes"]) == CAMVID_CLASSES
    train, val = camvid(shared / "data" / "camvid"), camvid(shared / "data" / "camvid", "val")
    assert (len(train), len(val)) == (367, 101)
    sample = train[0]
    assert sample["image"].shape == (360, 480, 3)
    assert set(np.unique(sample["label"])) <= {*range(11), VOID}
