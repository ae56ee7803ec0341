"""The command line, end to end: train, stop, go on, evaluate, predict; and what it says of bad input."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import cli, config
from jaxseg.data import Shapes, read_image, read_mask, write_png
from jaxseg.data.pipeline import _order
from jaxseg.infer import Predictor, Tiles
from jaxseg.models import PAPERS
from jaxseg.train.log import read_records
from tests.helpers import TINY_CONFIG

FOLDER_CONFIG = """
import dataclasses
from jaxseg.data import Folder, Shapes
from tests.helpers import tiny_experiment
def get_config(tiny=False):
    folder = Folder({root!r} + "/images", {root!r} + "/masks", Shapes().classes)
    e = tiny_experiment(steps=20, batch_size=2)
    return dataclasses.replace(e, data=dataclasses.replace(e.data, train=folder))
"""


@pytest.fixture(autouse=True, scope="module")
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_eval_needs_the_work_directory_alone(trained, capsys):
    assert cli.main(["eval", "--workdir", str(trained)]) == 0
    out = capsys.readouterr().out
    scores = json.loads((trained / "eval.json").read_text())
    assert f"miou {scores['miou']:.4f}" in out
    assert "best checkpoint, step 3" in out or "best checkpoint, step 4" in out
    assert "iou: grass" in out
    assert (trained / "eval.png").exists()


def test_predict_pictures_of_any_size(trained, tmp_path, capsys):
    rng = np.random.default_rng(0)
    sizes = {"wide": (20, 90), "tall": (70, 33), "one": (1, 1), "same": (32, 32)}
    for name, size in sizes.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    assert cli.main(["predict", str(tmp_path), "--workdir", str(trained), "--out", str(out)]) == 0
    for name, size in sizes.items():
        label = read_mask(out / f"{name}_label.png")
        assert label.shape == size
        assert label.max() < len(Shapes().classes)
        assert np.asarray(Image.open(out / f"{name}.png")).shape[0] > size[0]  # a legend stands below
    assert f"{out / 'wide.png'}" in capsys.readouterr().out


def test_a_bad_picture_is_told_and_the_others_are_done(trained, tmp_path, capsys):
    good, bad, missing = tmp_path / "good.png", tmp_path / "bad.jpg", tmp_path / "missing.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(good)
    bad.write_bytes(b"\xff\xd8 no picture")
    out = tmp_path / "out"
    code = cli.main(["predict", str(bad), str(missing), str(good), "--workdir", str(trained), "--out", str(out)])
    errors = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(errors) == 2
    assert "bad.jpg" in errors[0]
    assert "missing.png" in errors[1]
    assert (out / "good_label.png").exists()


def test_predict_in_tiles_by_views_and_several_runs(trained, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path / "a.png"), "--workdir", str(trained)]
    options = ["--workdir", str(trained), "--tile", "32", "--overlap", "0.25", "--blend", "mean"]
    views = ["--scales", "0.5,1", "--flip"]
    assert cli.main([*command, *options, *views, "--out", str(tmp_path / "out")]) == 0
    predictor = Predictor.load(trained, tiles=Tiles((32, 32), 0.25, "mean"), scales=(0.5, 1.0), flip=True)
    label = predictor(read_image(tmp_path / "a.png"))  # the mean of a run and itself is the run
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a_label.png"), label)

    for arguments, message in (
        (["--tile", "0"], "tile of 0x0 pixels"),
        (["--tile", "32", "--overlap", "1"], "give a part of the tile from 0 to below 1"),
        (["--overlap", "0.5", "--blend", "mean"], "--overlap and --blend say how tiles are joined; give --tile SIZE"),
        (["--min-score", "0.3"], "--min-score is of instances; this run is about pixels: leave it out"),
        (["--scales", "0,1"], "scales (0.0, 1.0); give at least one, all positive"),
    ):
        capsys.readouterr()
        assert cli.main([*command, *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*command, "--scales", "1;2"])
    assert "numbers with commas between" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*command, "--min-score", "30"])
    assert "'30': give a number from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "out", "message"),
    [
        (["a.png"], "pictures", "pictures/a.png would be overwritten; give another folder as --out"),
        (["a.jpg", "a_label.png"], "pictures/../pictures", "pictures/a_label.png would be overwritten"),
        (["a.png", "a_label.png"], "out", "a.png and pictures/a_label.png would both be written to out/a_label.png"),
        (["a.png", "a.jpg"], "out", "a.jpg and pictures/a.png would both be written to out/a.png; predict them apart"),
    ],
)
def test_predict_overwrites_nothing(trained, tmp_path, monkeypatch, capsys, names, out, message):
    monkeypatch.chdir(tmp_path)
    for name in names:
        write_png(tmp_path / "pictures" / name, np.zeros((8, 8, 3), np.uint8))
    assert cli.main(["predict", "pictures", "--workdir", str(trained), "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert {p.name for p in tmp_path.rglob("*.*")} == set(names)


SPLIT_CONFIG = """
import dataclasses
from jaxseg.data import Folder, Shapes, split
from tests.helpers import tiny_experiment
def get_config(tiny=False):
    train, val = split(Folder({root!r} + "/images", {root!r} + "/masks", Shapes().classes), 0.5)
    e = tiny_experiment(steps=1, batch_size=2)
    return dataclasses.replace(e, data=dataclasses.replace(e.data, train=train, val=val))
"""


def test_predict_does_not_need_the_data_and_eval_says_what_it_misses(tmp_path, capsys):
    shapes, data, workdir = Shapes("train", size=(32, 32), length=8), tmp_path / "data", tmp_path / "run"
    for i in range(8):
        write_png(data / "images" / f"{i}.png", shapes[i]["image"])
        write_png(data / "masks" / f"{i}.png", shapes[i]["label"])
    (tmp_path / "mine.py").write_text(SPLIT_CONFIG.format(root=str(data)))
    assert cli.main(["train", str(tmp_path / "mine.py"), "--workdir", str(workdir)]) == 0
    photo = shutil.copy(data / "images" / "0.png", tmp_path)
    predict = ["predict", str(photo), "--workdir", str(workdir), "--out"]
    assert cli.main([*predict, str(tmp_path / "before")]) == 0
    shutil.rmtree(data)
    (tmp_path / "mine.py").unlink()
    for checkpoint in ("best", "latest"):
        assert cli.main([*predict, str(tmp_path / "after"), "--checkpoint", checkpoint]) == 0
        labels = [read_mask(tmp_path / when / "0_label.png") for when in ("before", "after")]
        np.testing.assert_array_equal(*labels)
    for command in (["eval"], ["train", str(workdir / "config.py")]):
        capsys.readouterr()
        assert cli.main([*command, "--workdir", str(workdir)]) == 2
        assert f"{data / 'images'}: no such folder of images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "unet_shape", "--workdir", "x"], "did you mean unet_shapes?"),
        (["eval", "--workdir", "nowhere"], "holds no run; train first"),
        (["predict", "a.png", "--workdir", "nowhere"], "holds no run; train first"),
        (["export", "--workdir", "nowhere", "--out", "x"], "holds no run; train first"),
        (["export", "--workdir", "x", "--out", "x.onnx", "--format", "jax"], "ends in .onnx and --format is jax"),
        (["bench"], "bench takes a config, or a run by --workdir or --weights"),
        (["train", "unet_camvid", "--workdir", "x", "--root", "nowhere"], "nowhere"),
        (["train", "fcn8s_camvid", "--tiny", "--workdir", "x", "--batch-size", "3"], "batch of 3 can't be shared by 8"),
    ],
)
def test_what_can_be_mended_is_one_line_and_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("jaxseg: ")
    assert "\n" not in error


def test_a_file_where_a_folder_is_needed_and_the_reverse(trained, tmp_path, capsys):
    file, folder = tmp_path / "file", tmp_path / "folder.safetensors"
    file.write_text("mine")
    folder.mkdir()
    for arguments, message in (
        (["weights", "unpack", "shapes", "--workdir", str(file)], f"{file}: a file stands where a folder is needed"),
        (["weights", "unpack", "shapes", "--workdir", str(file / "new")], "a file stands where a folder is needed"),
        (
            ["weights", "pack", "--workdir", str(trained), "--out", str(folder)],
            f"{folder}: a folder stands where a file is needed; name another, or move that away",
        ),
    ):
        assert cli.main(arguments) == 2
        assert message in capsys.readouterr().err
    assert file.read_text() == "mine"


@pytest.mark.slow
def test_a_damaged_image_ends_training_with_its_name_and_mended_it_goes_on(tmp_path, capsys):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    shapes = Shapes("train", size=(32, 32), length=40)
    for i in range(40):
        Image.fromarray(shapes[i]["image"]).save(tmp_path / "images" / f"{i:02}.png")
        Image.fromarray(shapes[i]["label"]).save(tmp_path / "masks" / f"{i:02}.png")
    (tmp_path / "mine.py").write_text(FOLDER_CONFIG.format(root=str(tmp_path)))
    late = (
        tmp_path / "images" / f"{_order(0, np.zeros(40, int), 2, 0)[30]:02}.png"
    )  # first read for step 16, of 2 images each
    whole = late.read_bytes()
    late.write_bytes(whole[: len(whole) // 2])
    command = ["train", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run")]
    assert cli.main(command) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"jaxseg: {late}")
    saved = [int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir() if p.name.isdigit()]
    assert max(saved) >= 8
    late.write_bytes(whole)
    assert cli.main(command) == 0
    assert f"at step {max(saved)} of 20" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("most", [3_000, 120_000])
def test_a_full_disk_is_one_line_and_code_2(trained, tmp_path, most):
    """Real writes that fail, some in the background: no file may grow beyond so many bytes. What stood there stays."""
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    shutil.rmtree(workdir / "checkpoints" / "4")
    program = (
        "import resource, sys; from jaxseg import cli;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}));"
        f"sys.exit(cli.main(['train', {str(workdir / 'config.py')!r}, '--workdir', {str(workdir)!r}]))"
    )
    env = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("jaxseg: ")
    assert "free some space" in error
    assert "Traceback" not in done.stderr
    assert cli.main(["train", str(workdir / "config.py"), "--workdir", str(workdir)]) == 0


def test_misspelt_settings_and_commands(capsys):
    for arguments, hint in (
        (["train", "unet_shapes", "--workdir", "x", "--optimizer.learning-rat", "1"], "--optimizer.learning-rate"),
        (["trian", "unet_shapes"], "train"),
        (["eval", "--workdirr", "x"], "--workdir"),
        (["bench", "unet_shapes", "--size=-3,40"], "'-3,40': give height and width in pixels, as 480,640"),
        (["bench", "unet_shapes", "--size", "40"], "'40': give height and width in pixels, as 480,640"),
    ):
        with pytest.raises(SystemExit) as error:
            cli.main(arguments)
        assert error.value.code == 2
        assert hint in capsys.readouterr().err


def test_settings_are_those_of_the_arguments_given(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "deconvnet_camvid", "--workdir", "x", "--settings", "--fast", "--vgg", "", "--root", "none"])
    assert "(default: 800)" in capsys.readouterr().out  # --steps of --fast


def test_models_lists_the_configs(tmp_path, monkeypatch, capsys):
    """A plain network, two whose parameters are known, one with heads, and one that takes proposals."""
    shipped, few = config.config_folder(), tmp_path / "configs"
    few.mkdir()
    for name in ("unet_shapes", "fcn8s_camvid", "mask_rcnn_shapes", "fast_rcnn_shapes"):
        shutil.copy(shipped / f"{name}.py", few)
    monkeypatch.setattr(config, "config_folder", lambda: few)
    monkeypatch.chdir(tmp_path)  # where no config finds its data
    assert cli.main(["models"]) == 0
    table = capsys.readouterr().out
    for path in few.glob("*.py"):
        assert f"configs/{path.name}" in table
    assert "Ronneberger et al. 2015" in table
    assert "RegionHeads (mask)" in table
    assert "0.48 M" in table  # U-Net of base 16, depth 3
    assert "134.32 M" in table  # FCN-8s: VGG-16's 14.7 M, fc6 and fc7 119.5 M, and the score layers


def test_export_leaves_a_file_and_its_card(trained, tmp_path, capsys):
    assert cli.main(["export", "--workdir", str(trained), "--out", str(tmp_path / "mine")]) == 0
    card, out = json.loads((tmp_path / "mine" / "model.json").read_text()), capsys.readouterr().out
    assert "b: any number of pictures" in out
    assert f"see {tmp_path / 'mine' / 'model.jax'}" in out
    assert card["classes"] == list(Shapes().classes)
    assert card["run_of"]["settings"]["model.base"] == 4
    run = jax.export.deserialize(bytearray((tmp_path / "mine" / card["file"]).read_bytes())).call
    image = Shapes("val", size=(32, 32), length=1)[0]["image"]
    label = Predictor.load(trained)(image)
    np.testing.assert_array_equal(run(np.float32(image[None] / 255))["label"][0], label)


def test_bench_tells_and_writes_its_numbers(trained, tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert cli.main(["bench", "--workdir", str(trained), "--repeat", "3", "--batch", "2", "--json", str(file)]) == 0
    numbers = json.loads(file.read_text())
    assert numbers["images"] == [2, 32, 32, 3]
    assert numbers["p10_s"] <= numbers["median_s"] <= numbers["p90_s"]
    assert numbers["images_per_s"] == pytest.approx(2 / numbers["median_s"])
    assert f"{numbers['parameters'] / 1e6:.2f} M" in capsys.readouterr().out


def test_every_config_loads_in_full_size_and_has_a_paper(tmp_path, monkeypatch):
    """What ``jaxseg models`` asks of each, but for tracing it."""
    monkeypatch.chdir(tmp_path)  # where no config finds its data
    for path in config.config_folder().glob("*.py"):
        model = config.load_config(path).model
        for part in (model, *getattr(model, "heads", {}).values()):
            assert type(part).__module__ in PAPERS, path


def test_a_dry_run_tells_what_a_run_would_do_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(TINY_CONFIG)
    command = ["train", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run")]
    whole = shlex.join(["jaxseg", *command, "--log-every", "1"])
    assert cli.main([*command, "--dry-run", "--log-every", "1"]) == 0
    out = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert out.strip().endswith(whole)
    assert "40 pictures to learn from and 10 to be judged by" in out
    assert "a batch: [8, 32, 32, 3]" in out
    assert cli.main([*command, "--log-every", "1"]) == 0
    assert f"seed 0; stopped at any moment, this goes on: {whole}" in capsys.readouterr().out
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert f"the first loss: {first['train/loss']:.4f}" in out


def test_env_tells_versions_and_devices(capsys, monkeypatch):
    monkeypatch.setenv("JAX_OF_MINE", "7")
    assert cli.main(["env"]) == 0
    out = capsys.readouterr().out
    assert f"jax {jax.__version__}" in out
    assert "devices: 8 x cpu (cpu)" in out
    assert "JAX_OF_MINE=7" in out


def test_demo_runs(tmp_path):
    command = [sys.executable, "-m", "jaxseg.cli", "demo", "--tiny", "--workdir", str(tmp_path / "demo")]
    env = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert "predictions.png" in done.stdout
    assert (tmp_path / "demo" / "predictions.png").exists()
    last = read_records(tmp_path / "demo" / "metrics.jsonl")[-1]
    assert last["step"] == 2
    assert 0 <= last["val/miou"] <= 1


def test_a_shell_completes_commands_and_options(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["--print-completion", "bash"])
    (tmp_path / "jaxseg.sh").write_text(capsys.readouterr().out)
    ask = 'source jaxseg.sh; COMP_WORDS=({}); COMP_CWORD={}; _shtab_jaxseg; echo "${{COMPREPLY[@]}}"'
    (tmp_path / "photo.png").touch()
    (tmp_path / "phone.py").touch()
    (tmp_path / "photos").mkdir()
    for words, place, *expected in (
        ("jaxseg pre", 1, "predict"),
        ("jaxseg predict --wei", 2, "--weights"),
        ("jaxseg predict photo", 2, "photo.png", "photos"),
        ("jaxseg predict photo.png --workdir pho", 4, "photos"),
        ("jaxseg predict photo.png --out pho", 4, "phone.py", "photo.png", "photos"),
        ("jaxseg predict photo.png --crf pho", 4, "phone.py", "photo.png", "photos"),
        ("jaxseg predict photo.png --weights nu", 4, "nuclei"),
        ("jaxseg predict photo.png --weights maskr", 4),
        ("jaxseg weights show maskrcnn_resnet50_fpn_coco", 3, "maskrcnn_resnet50_fpn_coco_v1"),
        ("jaxseg train unet_sha", 2, "unet_shapes"),
        ("jaxseg train phon", 2, "phone.py"),
        ("jaxseg weights import photo.png unet_sha", 4, "unet_shapes"),
        ("jaxseg data prepare ade", 3, "ade20k"),
    ):
        found = subprocess.run(
            ["bash", "-c", ask.format(words, place)], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert sorted(found.stdout.split()) == expected, words


def test_report_writes_one_page(trained, tmp_path, capsys):
    assert cli.main(["eval", "--workdir", str(trained)]) == 0
    assert cli.main(["report", str(trained), "--images", "2"]) == 0
    assert f"see {trained / 'report.html'}" in capsys.readouterr().out
    html = (trained / "report.html").read_text()
    assert html.count("<figure") == 4
    score = f"{json.loads((trained / 'eval.json').read_text())['miou']:.4f}"
    for part in (score, "Confusion matrix", "</span> get_config", "jaxseg train", "optimizer.learning_rate"):
        assert part in html, part
    out = tmp_path / "new" / "page.html"
    assert cli.main(["report", str(trained), "--images", "1", "--checkpoint", "latest", "--out", str(out)]) == 0
    assert "latest, step 4" in out.read_text()
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert cli.main(["report", str(trained), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert cli.main(["report", str(out)]) == 2
    assert f"page.html is a file; give a run's folder: jaxseg weights unpack {out}" in capsys.readouterr().err


NO_DATA = """'Its story in a line.'
import dataclasses, functools
from jaxseg.data import Folder, Shapes
from tests.helpers import tiny_experiment
def get_config(tiny=False):
    e = tiny_experiment(steps=4)
    val = Folder("/nowhere/images", "/nowhere/masks", Shapes().classes)
    return dataclasses.replace(e, data=dataclasses.replace(e.data, val=val))
get_config = functools.partial(get_config)
"""


@pytest.mark.parametrize("gone", ["data", "checkpoints"])
def test_report_without_data_or_checkpoints_says_so(trained, tmp_path, capsys, gone):
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("report.html", *["best"] * (gone == "checkpoints")))
    if gone == "data":
        (run / "config.py").write_text(NO_DATA)
        shutil.copy(trained / "metrics.jsonl", run)
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 4, "time": 0, "val/miou": 0.25, "val/iou/road/street": 0.125}\n')
    assert cli.main(["report", str(run)]) == 0
    told, html = capsys.readouterr(), (run / "report.html").read_text()
    reason = "/nowhere/images" if gone == "data" else "no checkpoints in"
    assert reason in told.err
    assert "Traceback" not in told.err
    assert reason in html
    assert "was not evaluated for this page" in html
    assert "<figure" not in html
    last = [r for r in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "val/miou" in r][-1]
    assert f"{last['val/miou']:.4f}" in html  # as training logged it
    assert "iou by class" in html
    assert ("Its story in a line." in html) == (">road/street</th>" in html) == (gone == "data")


def test_view_shows_the_runs_given_to_this_machine_alone(trained, tmp_path, capsys, monkeypatch):
    asked = {}
    monkeypatch.setattr("jaxseg.infer.viewer.serve", lambda named, **how: asked.update(named=named, **how))
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    (other / "crf.json").write_text('{"iterations": 2}')
    assert cli.main(["view", "--workdir", str(trained), "--workdir", str(other), "--no-browser"]) == 0
    assert [name for name, _ in asked["named"]] == [trained.name, "other"]
    assert isinstance(asked["named"][0][1], Predictor)
    assert asked["named"][1][1].crf.iterations == 2
    assert (asked["host"], asked["browser"]) == ("127.0.0.1", False)
    assert cli.main(["view", "--workdir", str(tmp_path / "none")]) == 2
    assert "holds no run" in capsys.readouterr().err
    monkeypatch.setattr("jaxseg.commands.viewing._predictor", lambda run, which: run.name)
    assert cli.main(["view"]) == 0
    assert asked["named"] == [(name, f"{name}.safetensors") for name in ("nuclei", "shapes")]


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "jaxseg.cli", "data", "list"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 141)
    process.stderr.close()
