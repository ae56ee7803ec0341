"""``jaxseg weights``, and what predict, eval and train make of files of weights."""

import inspect
import json

import jax
import numpy as np
import pytest

from jaxseg import cli, config
from jaxseg.data import Shapes, read_mask, write_png
from jaxseg.infer import InstancePredictor
from jaxseg.train import build, pack
from jaxseg.train.evaluate import load_run
from jaxseg.types import JaxsegError
from jaxseg.weights import packed, smp, to_torch
from tests.helpers import TINY_CONFIG


@pytest.fixture(autouse=True, scope="module")
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_a_run_as_one_file_and_back(trained, tmp_path, capsys):
    file, unpacked = tmp_path / "mine.safetensors", tmp_path / "unpacked"
    assert cli.main(["weights", "pack", "--workdir", str(trained), "--out", str(file), "--title", "Mine"]) == 0
    what = packed.about(file)
    assert (what.config, what.card) == (TINY_CONFIG, {"title": "Mine"})
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert what.scores["miou"] == [r["val/miou"] for r in records if "val/miou" in r and r["step"] == what.step][-1]
    assert cli.main(["weights", "show", str(file)]) == 0
    assert "title: Mine" in capsys.readouterr().out

    # A config of one's own is Python: it is read by a person before it is run.
    assert cli.main(["predict", "photo.png", "--weights", str(file)]) == 2
    assert "is not run unread: jaxseg weights unpack" in capsys.readouterr().err
    assert cli.main(["weights", "unpack", str(file), "--workdir", str(unpacked)]) == 0
    assert (unpacked / "config.py").read_text() == TINY_CONFIG
    _, theirs, step = load_run(unpacked)
    _, ours, _ = load_run(trained)
    assert step == what.step
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7), theirs, jax.device_get(ours))
    assert cli.main(["weights", "unpack", str(file), "--workdir", str(unpacked)]) == 2
    assert "is not empty" in capsys.readouterr().err

    image = write_png(tmp_path / "photo.png", Shapes("val")[0]["image"])
    labels = []
    for workdir in (trained, unpacked):
        out = tmp_path / workdir.name
        assert cli.main(["predict", str(image), "--workdir", str(workdir), "--out", str(out)]) == 0
        labels.append(read_mask(out / "photo_label.png"))
    assert (labels[0] == labels[1]).mean() > 0.98


def test_shapes_are_found_by_the_weights_in_the_box(tmp_path, capsys):
    """Offline, from the name alone; what it finds is scored against how the pictures were drawn."""
    source = Shapes("val")
    images = [write_png(tmp_path / f"{i}.png", source[i]["image"]) for i in (1, 2, 3)]
    out = tmp_path / "out"
    assert cli.main(["predict", *map(str, images), "--weights", "shapes", "--out", str(out)]) == 0
    for i, image in enumerate(images, 1):
        found = json.loads((out / f"{image.stem}.json").read_text())
        truth = source[i]["instances"]
        assert sorted(f["class"] for f in found) == sorted(source.things[k - 1] for k in truth["classes"])
        scores = {f["score"] for f in found}
    assert cli.main(["predict", str(images[-1]), "--weights", "shapes", "--out", str(out), "--min-score", "0.05"]) == 0
    more = {f["score"] for f in json.loads((out / "3.json").read_text())}
    assert min(more) < 0.5 <= min(scores)
    assert scores < more
    assert cli.main(["predict", str(images[0]), "--weights", "shpes"]) == 2
    assert "no weights shpes; did you mean shapes?" in capsys.readouterr().err
    assert cli.main(["predict", str(images[0])]) == 2
    assert "say which network: --workdir RUN, or --weights" in capsys.readouterr().err


def test_the_weights_in_the_box_fit_and_tell_their_licence():
    for name, file in packed.shipped().items():
        what = packed.about(file)
        assert not what.own_config
        assert {"title", "data", "licence"} <= set(what.card)
        assert file.stat().st_size < 10e6
        predictor = InstancePredictor.load(file)
        assert predictor.classes, name
        assert what.scores[predictor.experiment.task.main_metric] > 0.45


def test_no_python_beside_the_weights_is_run(tmp_path, monkeypatch):
    """The config that a file names is the shipped one, even where a file of that name lies in the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unet_shapes.py").write_text("raise SystemExit('run unread')")
    file = packed.write_packed(tmp_path / "w.safetensors", {}, packed.About("unet_shapes"))
    assert build.noted_experiment(file).steps == config.load_config(config.config_folder() / "unet_shapes.py").steps
    (tmp_path / "mine.py").write_text("raise SystemExit('run unread')")
    for name, why in (("mine", "no config mine"), ("./mine.py", "not run unread"), ("import mine", "not run unread")):
        file = packed.write_packed(tmp_path / "w.safetensors", {}, packed.About(name))
        with pytest.raises(JaxsegError, match=why):
            build.noted_experiment(file)


def test_places_on_a_disk_stay_out_of_the_file():
    """Every argument of a shipped config that is a text is one of these, or known to be no place."""
    plain = {"classes", "network", "target"}
    for path in config.config_folder().glob("*.py"):
        for name, parameter in inspect.signature(config.load_get_config(path)).parameters.items():
            assert (
                not isinstance(parameter.default, str)
                or {name, f"--{name}"} & {*plain, *pack.PLACES}
                or (
                    parameter.annotation is not str  # one of a few words
                )
            ), f"{path.stem}: is --{name} a place on a disk? Then name it in pack.PLACES"
    what = pack.about(config.config_folder() / "fcn8s_camvid.py", ["--stride", "8", "--coarser", "/mine", "--root=/x"])
    assert what.arguments == ("--stride", "8")


def test_training_begins_with_weights_but_for_other_classes(tmp_path):
    fast = ["--fast", "--weights", "nuclei", "--root", str(tmp_path)]
    e = config.load_config("mask_rcnn_nuclei", [*fast, "--classes", "cell,debris"])
    shapes = jax.eval_shape(lambda: build.fresh_variables(e))
    fresh = jax.tree.map(lambda s: np.full(s.shape, 7, s.dtype), shapes)
    begun = e.pretrained(fresh)
    theirs = packed.from_packed(
        packed.shipped()["nuclei"], build.state_like(config.load_config("mask_rcnn_nuclei", fast)).variables
    )
    first = ("detector", "backbone", "resnet", "conv1", "kernel")
    np.testing.assert_array_equal(_at(begun, first), _at(theirs, first))
    last = ("heads_mask", "mask_fcn_logits", "kernel")
    np.testing.assert_array_equal(_at(begun, last), _at(fresh, last))
    assert _at(begun, last).shape[-1] == 2


def test_weights_of_another_library(tmp_path, capsys):
    e = config.load_config("unet_resnet_camvid", ["--fast"])
    shapes = jax.eval_shape(lambda: build.fresh_variables(e))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
    np.savez(tmp_path / "smp.npz", **to_torch(variables, smp.UNET))
    out = tmp_path / "unet.safetensors"
    command = ["weights", "import", str(tmp_path / "smp.npz"), "unet_resnet_camvid", "--fast"]
    assert cli.main([*command, "--out", str(out)]) == 0
    experiment, theirs, _ = load_run(out)
    assert type(experiment.model) is type(e.model)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7), theirs, variables)
    assert packed.about(out).card["from"] == "smp.npz"
    assert cli.main([*command, "--out", "unet.npz"]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err


def test_the_list_of_weights(capsys):
    assert cli.main(["weights", "list"]) == 0
    table = capsys.readouterr().out
    for name in ("nuclei", "shapes", "maskrcnn_resnet50_fpn_coco_v1", "panoptic_fpn_r_50_3x", "CC0-1.0"):
        assert name in table


def test_a_published_detector_is_named_and_built_by_a_config():
    e = config.load_config("detector_coco")
    assert e.data.val.things[:2] == ("person", "bicycle")
    assert e.model.detector.num_classes == 90
    e = config.load_config("detector_coco", ["--network", "fasterrcnn_resnet50_fpn_v2_coco_v1", "--classes", "cat,dog"])
    assert (e.model.num_classes, e.task.main_metric, e.data.mask_side) == (2, "box_ap", None)
    with pytest.raises(JaxsegError, match="no published detector 'yolo'"):
        config.load_config("detector_coco", ["--network", "yolo"])


def _at(variables, path):
    value = variables["params"]
    for name in path:
        value = value[name]
    return value
