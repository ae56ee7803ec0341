"""A TFDS data set that the test prepares itself, read without TensorFlow."""

import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxseg.data import Augment, Tfds, cityscapes, oxford_iiit_pet, train_batches
from jaxseg.data.tfds_sets import CITYSCAPES_TRAIN_IDS
from jaxseg.types import VOID, JaxsegError

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (10 + k, 12, 3)).astype(np.uint8) for k in range(4)]
TRIMAPS = [RNG.integers(1, 4, im.shape[:2]).astype(np.uint8) for im in IMAGES]


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


class OxfordIiitPet(tfds.core.GeneratorBasedBuilder):
    """Stands in for the real one: same name, same keys, four images."""

    name = "oxford_iiit_pet"
    pkg_dir_path = None
    VERSION = tfds.core.Version("4.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
            "nested": {"mask": tfds.features.Image(shape=(None, None, 1))},
            "objects": tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                    "is_crowd": np.bool_,
                }
            ),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for k, (image, mask) in enumerate(zip(IMAGES, TRIMAPS)):
            bbox = tfds.features.BBox(ymin=0.2, xmin=0.25, ymax=0.5, xmax=1.0)
            yield (
                k,
                {
                    "image": io.BytesIO(png(image)),
                    "segmentation_mask": io.BytesIO(png(mask)),
                    "nested": {"mask": io.BytesIO(png(mask - 1))},
                    "objects": [{"bbox": bbox, "label": 1, "is_crowd": False}] * (k % 2),
                },
            )


def prepare(directory, file_format):
    builder = OxfordIiitPet(data_dir=directory, file_format=file_format)
    builder.download_and_prepare()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    prepare(directory, "array_record")
    return directory


def in_file_order(source):
    """TFDS shuffles when it prepares: match by size, which differs."""
    return sorted((source[i] for i in range(len(source))), key=lambda s: s["image"].shape)


def test_images_and_trimaps(home):
    for sample, image, trimap in zip(in_file_order(oxford_iiit_pet(data_dir=home)), IMAGES, TRIMAPS):
        np.testing.assert_array_equal(sample["image"], image)
        np.testing.assert_array_equal(sample["label"], trimap - 1)
    source = oxford_iiit_pet(data_dir=home, outline=False)
    assert source.classes == ("pet", "background")
    assert {int(v) for s in in_file_order(source) for v in np.unique(s["label"])} == {0, 1, VOID}
    assert "tensorflow" not in sys.modules


def test_other_keys_splits_and_boxes(home):
    options = {"classes": ("a", "b", "c"), "data_dir": home}
    nested = Tfds("oxford_iiit_pet:4.0.0", "train[:50%]", mask_key="nested/mask", **options)
    assert len(nested) == 2
    assert nested[0]["label"].max() <= 2
    boxes = Tfds("oxford_iiit_pet", "train", mask_key=None, boxes_key="objects", **options)
    for k, sample in enumerate(in_file_order(boxes)):
        instances, (height, width) = sample["instances"], sample["image"].shape[:2]
        assert "label" not in sample
        assert instances["boxes"].shape == (k % 2, 4)
        assert instances["classes"].tolist() == [2] * (k % 2)
        assert instances["crowd"].dtype == bool
        if k % 2:
            want = [0.25 * width, 0.2 * height, width, 0.5 * height]
            np.testing.assert_allclose(instances["boxes"][0], want, rtol=1e-6)


def test_a_folder_in_place_of_a_name(home):
    source = Tfds(str(home / "oxford_iiit_pet" / "4.0.0"), "train", ("a", "b", "c"), mask_key="nested/mask")
    assert len(source) == 4


def test_through_the_pipeline(home):
    source = oxford_iiit_pet(data_dir=home)
    batch = next(train_batches(source, Augment((16, 16)), batch_size=8, seed=0))
    assert set(np.unique(batch["label"])) <= {0, 1, 2, VOID}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "voc"}, ("voc: not prepared", "jaxseg[prepare]", "download_and_prepare")),
        ({"split": "test"}, ("'test'", "train")),
        ({"mask_key": "segmentation"}, ("'segmentation'", "segmentation_mask")),
        ({"image_key": "nested/picture"}, ("'nested/picture'", "mask")),
        ({"name": "scene_parse150", "mask_key": "annotation"}, ("instance task", "reduce_zero_label=True")),
    ],
)
def test_mistakes_are_told_with_their_mend(home, options, said):
    options = {"name": "oxford_iiit_pet", "split": "train", "classes": ("a",), "data_dir": home, **options}
    with pytest.raises(JaxsegError) as error:
        len(Tfds(**options))
    assert "\n" not in str(error.value)
    for words in said:
        assert words in str(error.value)


def test_labels_out_of_range_are_told(home):
    with pytest.raises(JaxsegError, match=r"oxford_iiit_pet/train/0 \(segmentation_mask\).*subtract 1"):
        Tfds("oxford_iiit_pet", "train", ("a", "b", "c"), data_dir=home)[0]


def test_a_set_prepared_in_another_format(tmp_path, home):
    folder = tmp_path / "pet"
    folder.mkdir()
    for file in (home / "oxford_iiit_pet" / "4.0.0").iterdir():
        text = file.read_bytes().replace(b"array_record", b"tfrecord")
        (folder / file.name.replace("array_record", "tfrecord")).write_bytes(text)
    with pytest.raises(JaxsegError, match=r"prepared as tfrecord, expected array_record; prepare it once"):
        len(Tfds(str(folder), "train", ("a", "b", "c")))


def test_cityscapes_train_ids(tmp_path):
    assert [k for k in range(256) if CITYSCAPES_TRAIN_IDS[k] != VOID][:5] == [7, 8, 11, 12, 13]
    assert CITYSCAPES_TRAIN_IDS[33] == 18
    assert sorted(set(CITYSCAPES_TRAIN_IDS.values())) == [*range(19), VOID]
    with pytest.raises(JaxsegError, match="not prepared"):
        len(cityscapes(data_dir=tmp_path))


def test_importing_needs_neither_tensorflow_nor_tfds():
    code = "import sys, jaxseg.data; print([m for m in sys.modules if m.startswith('tensorflow')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
