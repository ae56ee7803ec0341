"""Published data sets, in small and from a server on this machine: prepared without TensorFlow, read, trained on."""

import io
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import cli, download, names
from jaxseg.data import (
    Augment,
    PictureCaptions,
    Vocabulary,
    WithTokens,
    ade20k,
    camvid_original,
    camvid_segnet,
    coco_captions,
    coco_instances,
    coco_keypoints,
    coco_panoptic,
    oxford_iiit_pet,
    oxford_iiit_pet_breeds,
    panoptic_truth,
    train_batches,
    voc_segmentation,
)
from jaxseg.data.prepare import DATA_SETS, archives, prepare
from jaxseg.data.tfds import PREPARABLE
from jaxseg.data.tfds_sets import CAMVID_GROUPS
from jaxseg.models import CaptionHead, FasterRCNN, KeypointHead, MaskHead, PanopticFPN, RegionHeads, SemanticHead, UNet
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN
from jaxseg.tasks import dense_captioning, detection, panoptic, semantic
from jaxseg.train.state import init_variables
from jaxseg.types import VOID, Metric
from tests.data.miniatures import at, prepared


@pytest.fixture(scope="module")
def home(published, tmp_path_factory):
    """Everything, prepared."""
    root = tmp_path_factory.mktemp("home")
    for name in DATA_SETS:
        prepared(published, name, root)
    return root


def by_file(source, key="image/filename"):
    """Samples by their file's name, since TFDS shuffles."""
    return {source.records[i][key].decode(): source[i] for i in range(len(source))}


def test_voc_and_sbd(home, published):
    masks = published[2]
    for split, wanted in (
        ("train", {"2007_000032", "2007_000039"}),
        ("validation", {"2007_000033"}),
        (
            "trainaug",
            {"2007_000032", "2007_000039", "2008_000002"},
        ),  # SBD's 2007_000033 is one of VOC's to be judged by
    ):
        source = voc_segmentation(split, data_dir=home)
        found = by_file(source)
        assert {name.removesuffix(".jpg") for name in found} == wanted
        for name, sample in found.items():
            np.testing.assert_array_equal(sample["label"], masks[name.removesuffix(".jpg")])
            assert sample["image"].shape == (40, 52, 3)
    assert len(source.classes) == 21
    assert VOID in found["2007_000032.jpg"]["label"]  # VOC's own border, though SBD labels it too


def test_ade20k(home, published):
    source = ade20k("train", data_dir=home)
    for name, sample in by_file(source).items():
        mask = published[2][name.removesuffix(".jpg")]
        np.testing.assert_array_equal(sample["label"], np.where(mask == 0, VOID, mask.astype(int) - 1))
        assert 149 in sample["label"]
        if name == "ADE_train_00000001.jpg":  # grey
            assert (sample["image"][..., 0] == sample["image"][..., 2]).all()
    assert (source.classes[0], source.classes[149]) == ("wall", "flag")
    assert len(ade20k("validation", data_dir=home)) == 2


def test_camvid(home, published, tmp_path, caplog):
    for split in ("train", "validation", "test"):
        for name, sample in by_file(camvid_segnet(split, data_dir=home)).items():
            mask = published[2][name]
            np.testing.assert_array_equal(sample["label"], np.where(mask == 11, VOID, mask))
    source = camvid_original(data_dir=home)
    assert len(source) == 2  # one is damaged
    prepared(published, "camvid_original", tmp_path)
    assert "left out 1 that can't be read" in caplog.text
    assert "Seq05VD_f02610" in caplog.text
    rows = source[0]["label"][::10, 0].tolist()
    assert [source.classes[k] for k in rows[:2]] == ["Wall", "Car"]
    assert rows[2:] == [VOID, VOID]  # a colour of no class, and black
    grouped = camvid_original(data_dir=home, groups=True)
    assert [grouped.classes[k] for k in grouped[0]["label"][:20:10, 0]] == ["building", "car"]
    assert len(CAMVID_GROUPS) == 32
    assert set(CAMVID_GROUPS.values()) == {*range(11), VOID}


def test_pets(home, published):
    masks = published[2]
    found = by_file(oxford_iiit_pet("train", data_dir=home), "file_name")
    assert set(found) == {"Abyssinian_1.jpg", "Bengal_2.jpg", "yorkshire_terrier_3.jpg"}
    for name, sample in found.items():
        np.testing.assert_array_equal(sample["label"], masks[name.removesuffix(".jpg")] - 1)
    breeds = oxford_iiit_pet_breeds("train", data_dir=home)
    of = {name: breeds.classes[sample["category"]] for name, sample in by_file(breeds, "file_name").items()}
    assert of == {name: name.rsplit("_", 1)[0] for name in found}
    kinds = oxford_iiit_pet_breeds("train", species=True, data_dir=home)
    of = {name: kinds.classes[sample["category"]] for name, sample in by_file(kinds, "file_name").items()}
    assert of == {"Abyssinian_1.jpg": "Cat", "Bengal_2.jpg": "Cat", "yorkshire_terrier_3.jpg": "Dog"}
    heads = {r["file_name"].decode(): r["head_bbox"].tolist() for r in (breeds.records[i] for i in range(3))}
    assert heads == {
        "Abyssinian_1.jpg": [0.25, 0.25, 0.5, 0.5],
        "Bengal_2.jpg": [0] * 4,
        "yorkshire_terrier_3.jpg": [0] * 4,
    }
    assert len(oxford_iiit_pet("test", data_dir=home)) == 1


def test_coco_instances_and_keypoints(home, published):
    source = coco_instances("validation", data_dir=home)
    samples = {s["image_id"]: s for s in (source[i] for i in range(4))}
    assert sorted(samples) == [139, 146, 153, 160]
    assert len(samples[160]["instances"]["boxes"]) == 0
    assert samples[146]["instances"]["crowd"].tolist() == [False, False, True]
    assert [source.things[k - 1] for k in samples[139]["instances"]["classes"]] == ["person", "toothbrush"]
    assert samples[146]["instances"]["masks"][2].sum() == 400
    _, folder, _ = published
    for number, sample in samples.items():  # grey and CMYK too
        with archives.zipfile.ZipFile(folder / "val2017.zip") as archive:
            wanted = Image.open(io.BytesIO(archive.read(f"val2017/{number:012d}.jpg"))).convert("RGB")
        np.testing.assert_array_equal(sample["image"], np.asarray(wanted))
    people = coco_keypoints("validation", data_dir=home)
    assert len(people) == 4
    instances = next(s for s in (people[i] for i in range(4)) if s["image_id"] == 139)["instances"]
    assert instances["keypoints"].shape == (1, 17, 3)
    assert instances["keypoints"][0, :3].tolist() == [[10.5, 12.5, 2], [9.5, 10.5, 1], [0, 0, 0]]
    assert len(instances["flip_pairs"]) == 8
    assert instances["masks"][0].any()
    assert len(coco_keypoints("train", data_dir=home)) == 2  # the image without a person is left out
    assert len(coco_instances("train", data_dir=home)) == 3


def test_coco_captions_and_panoptic(home):
    pictures = coco_captions("validation", data_dir=home)
    assert pictures[0]["captions"][3] == "A dog number 3 on grass. "
    regions = PictureCaptions(pictures)
    assert len(regions) == 20
    assert [regions[n]["instances"]["captions"][0][13] for n in range(5, 10)] == list("01234")
    assert regions[7]["instances"]["boxes"].tolist() == [[0, 0, 52, 40]]
    source = coco_panoptic("train", data_dir=home)
    assert len(source) == 3
    sample, truth = source[1], panoptic_truth(source, 1)
    label = sample["label"]
    assert label[0, 0] == VOID
    assert source.classes[label[10, 10]] == "toothbrush"
    assert source.classes[label[30, 3]] == "rug-merged"
    assert label[30, 40] == VOID  # a crowd
    assert sample["instances"]["crowd"].tolist() == [False, True]
    assert [source.things[k - 1] for k in sample["instances"]["classes"]] == ["toothbrush", "person"]
    assert truth.ids[10, 10] == 3226956
    assert truth.crowd == {70000}


def loss_on(source, model, task, traced=True, **options):
    """The loss on a batch of the source, as in a step of training; or only traced, where compiling takes long."""
    batch = next(train_batches(source, Augment((64, 64)), batch_size=2, seed=0, **options))

    def loss(batch):
        variables = init_variables(model, task, batch, 0)
        rngs = {"sampling": jax.random.key(0), "dropout": jax.random.key(1)}
        outputs, _ = model.apply(variables, *task.inputs(batch), train=True, mutable=["batch_stats"], rngs=rngs)
        return task.loss(outputs, {**batch, "step": 0})[0]

    value = jax.eval_shape(loss, batch) if traced else jax.jit(loss)(batch)
    assert value.shape == ()
    return batch, value


def heads(source, **heads):
    backbone = ResNetFPN(ResNet((1, 1, 1, 1), bottleneck=False, base=4), FPN(8))
    return RegionHeads(FasterRCNN(len(source.things), backbone, TwoFC(8), SHAPES_RCNN), heads)


def test_label_maps_are_trained_on(home):
    source = voc_segmentation("trainaug", data_dir=home)
    batch, loss = loss_on(source, UNet(num_classes=21, base=4, depth=1), semantic(source.classes), traced=False)
    assert {int(v) for v in np.unique(batch["label"])} <= {*range(21), VOID}
    assert 2 < float(loss) < 5  # ln 21 is 3


@pytest.mark.slow
def test_instances_keypoints_segments_and_captions_are_trained_on(home):
    metric = Metric(list, lambda *_: [], lambda a, b: a + b, lambda _: {}, on_host=True)
    source = coco_instances("train", data_dir=home)
    options = {"max_instances": 4, "mask_side": 28}
    batch, _ = loss_on(
        source, heads(source, mask=MaskHead(80, 1, 8)), detection(source.things, metric, config=SHAPES_RCNN), **options
    )
    assert batch["instances"]["masks"].shape == (2, 4, 28, 28)
    people = coco_keypoints("train", data_dir=home)
    points = heads(people, keypoint=KeypointHead(17, convs=1, channels=8))
    batch, _ = loss_on(people, points, detection(people.things, metric, config=SHAPES_RCNN), max_instances=4)
    assert batch["instances"]["keypoints"].shape == (2, 4, 17, 3)
    both = coco_panoptic("train", data_dir=home)
    model = PanopticFPN(heads(both, mask=MaskHead(80, 1, 8)), SemanticHead(54, 8))
    loss_on(both, model, panoptic(both.stuff, both.things, metric, config=SHAPES_RCNN), **options)
    pictures = PictureCaptions(coco_captions("train", data_dir=home))
    words = Vocabulary.of(c for n in range(len(pictures)) for c in pictures[n]["instances"]["captions"])
    regions = WithTokens(pictures, words, 8)
    config = SHAPES_RCNN._replace(differentiable_proposals=True)
    model = heads(regions, caption=CaptionHead(len(words), 8, 16))
    batch, _ = loss_on(regions, model, dense_captioning(words, metric, config=config), max_instances=2)
    assert "a dog number" in words.decode(batch["instances"]["tokens"][0, 0])


def test_command_list_and_names(capsys):
    assert cli.main(["data", "list"]) == 0
    out = capsys.readouterr().out
    for name, data_set in DATA_SETS.items():
        assert f"{name}: {data_set.about}" in out
    assert tuple(sorted(DATA_SETS)) == tuple(sorted(PREPARABLE))
    assert [len(n) for n in (names.ADE20K, names.COCO_STUFF, names.COCO_THINGS, names.PET_BREEDS)] == [150, 53, 80, 37]


def test_command_prepares_and_goes_on(published, no_pause, tmp_path, monkeypatch, capsys):
    server, folder, _ = published
    monkeypatch.setitem(DATA_SETS, "ade20k", at(server, folder, DATA_SETS["ade20k"]))
    call = ["data", "prepare", "ade20k", "--data-dir", str(tmp_path)]
    server.cuts += [0] * download.TRIES
    assert cli.main(call) == 2
    assert "run it again to go on where it ended" in capsys.readouterr().err
    assert cli.main([*call, "--splits", "validation"]) == 0
    out = capsys.readouterr().out
    assert "validation: 2 examples" in out
    assert "jaxseg.data.ade20k('validation', data_dir=" in out
    asked = len(server.asked)
    assert cli.main(call) == 0  # the other split is added to it; nothing is fetched again
    assert "validation: was there already\ntrain: 2 examples" in capsys.readouterr().out
    assert len(server.asked) == asked
    assert [len(ade20k(split, data_dir=tmp_path)) for split in ("train", "validation")] == [2, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".ade20k.lock", "ade20k", "downloads"]
    assert [p.name for p in (tmp_path / "downloads" / "ade20k").iterdir()] == ["ADEChallengeData2016.zip"]
    assert cli.main(["data", "prepare", "ade20", "--data-dir", str(tmp_path)]) == 2
    assert "did you mean ade20k?" in capsys.readouterr().err
    assert cli.main([*call, "--splits", "val"]) == 2
    assert "no split 'val'; it has validation, train" in capsys.readouterr().err


def test_what_a_killed_process_left_is_cleared_away(published, tmp_path, monkeypatch):
    server, folder, _ = published
    data_set = at(server, folder, DATA_SETS["camvid"])
    prepare(data_set, ["validation"], data_dir=tmp_path)
    made = []

    def killed(pair):
        made.append(pair)
        if len(made) > 1:
            raise KeyboardInterrupt
        return miniatures_example(pair)

    from jaxseg.data.prepare import camvid
    from jaxseg.data.prepare.ade20k import example_of_pair as miniatures_example

    with monkeypatch.context() as patch:
        patch.setattr(camvid, "example_of_pair", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(data_set, data_dir=tmp_path)
    assert (tmp_path / ".camvid.part").exists()
    assert prepare(data_set, data_dir=tmp_path) == {"validation": None, "train": 2, "test": 2}
    assert not (tmp_path / ".camvid.part").exists()
    assert len(camvid_segnet("validation", data_dir=tmp_path)) == 2


def test_no_tensorflow_and_no_tfds_before_it_is_needed():
    code = (
        "import sys, jaxseg.cli; jaxseg.cli.main(['data', 'list'])\n"
        "assert not [m for m in sys.modules if m.startswith('tensorflow')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert "tensorflow" not in sys.modules
