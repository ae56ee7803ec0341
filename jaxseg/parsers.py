"""What the command line understands: each command's arguments, and the function of :mod:`jaxseg.commands` it runs.

``run`` is that function's name; with ``more`` it is also given what follows: a config's own arguments, and overrides.
"""

import argparse
from pathlib import Path
from typing import Any

import shtab

from jaxseg.completion import PrintCompletion
from jaxseg.names import names_in


def parser() -> argparse.ArgumentParser:
    """The whole of it. ``run`` and ``more`` are defaults of every command."""
    whole = argparse.ArgumentParser("jaxseg", description="Segmentation and detection in JAX.", allow_abbrev=False)
    text = "print a script that completes commands in a shell, for it to source"
    whole.add_argument("--print-completion", action=PrintCompletion, choices=shtab.SUPPORTED_SHELLS, help=text)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _train(commands)
    _of_runs(commands)
    _shown(commands)
    _elsewhere(commands)
    _data(_command(commands, "data", "Data sets: prepare published ones, look at your own, convert."))
    _weights(_command(commands, "weights", "Weights as files: list, fetch, import, pack, push."))
    _command(commands, "models", "List the models: paper, file, parameters, config.", run="models")
    _command(commands, "env", "Tell what a report of a bug needs: versions, machine, devices.", run="env")
    return whole


def _command(
    commands: Any, name: str, text: str, *, run: str | None = None, more: bool = False
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    if run:
        made.set_defaults(run=run, more=more)
    return made


def _train(commands: Any) -> None:
    text = "Train a config; go on where an earlier call with the same --workdir was stopped."
    train = _command(commands, "train", text, run="train", more=True)
    train.add_argument("config", help="a config file, or the name of a shipped one (see: jaxseg models)")
    train.add_argument("--workdir", type=Path, required=True, help="folder for checkpoints, curves and pictures")
    train.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    train.add_argument("--wandb", metavar="PROJECT", help="tell Weights & Biases as well")
    _hosts(train)
    only = train.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="a few steps and their time, with nothing written")
    only.add_argument("--find-rate", action="store_true", help="train a hundred steps at ever higher rates, draw it")
    only.add_argument("--settings", action="store_true", help="list what can be overridden, and stop")
    text = "Train a small U-Net on built-in data and draw what it learnt: about two minutes on a CPU."
    demo = _command(commands, "demo", text, run="demo")
    demo.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="folder to work in (%(default)s)")
    demo.add_argument("--tiny", action="store_true", help="a few steps only, to see that everything runs")


def _of_runs(commands: Any) -> None:
    text = "Score a trained run on its validation data, and draw predictions beside the truth."
    evaluate = _command(commands, "eval", text, run="evaluate", more=True)
    evaluate.add_argument("--out", type=Path, help="folder to write to (the run's; of weights, evaluation)")
    _hosts(evaluate)
    one = evaluate.add_mutually_exclusive_group(required=True)
    text = "Find in pictures what a run was trained to: overlays, and labels or instances as files."
    predict = _command(commands, "predict", text, run="predict")
    predict.add_argument("images", nargs="+", type=Path, help="pictures of any size, or folders of them")
    predict.add_argument("--out", type=Path, default=Path("predictions"), help="folder to write to (%(default)s)")
    predict.add_argument("--tile", type=int, metavar="SIZE", help="cut pictures into squares of this side, unscaled")
    predict.add_argument("--overlap", type=float, help="part of a tile that it shares with the next (0.5)")
    predict.add_argument("--blend", choices=("gaussian", "mean"), help="how overlapping tiles are averaged (gaussian)")
    predict.add_argument("--scales", type=_numbers, default=(1.0,), help="average over these, as 0.75,1,1.25 (1)")
    predict.add_argument("--flip", action="store_true", help="average with the prediction for the mirrored picture")
    predict.add_argument("--min-score", type=_part, help="leave out instances of a lower score (0.5)")
    _which(one)
    _which(predict, "; several: their mean")
    for sub in (evaluate, predict):
        sub.add_argument(
            "--crf", nargs="?", const="", metavar="FILE",
            help="refine by a dense CRF: settings from FILE, or from crf.json in the work directory (see crf_search)",
        )  # fmt: skip
        _checkpoint(sub)


def _shown(commands: Any) -> None:
    text = "Write a run as one HTML page: curves, scores, its best and worst pictures, settings."
    report = _command(commands, "report", text, run="report")
    report.add_argument("workdir", type=Path, metavar="RUN", help="the folder that train was given")
    report.add_argument("--out", type=Path, metavar="FILE", help="where to write it (report.html in that folder)")
    report.add_argument(
        "--images", type=int, default=6, metavar="N", help="show so many of the best and of the worst (%(default)s)"
    )
    text = (
        "Try runs on pictures of your own, in a browser: a page that this machine serves. With neither --workdir nor "
        "--weights: the weights that are part of jaxseg."
    )
    view = _command(commands, "view", text, run="view")
    view.add_argument("--host", default="127.0.0.1", help="who may reach it: this machine alone (%(default)s)")
    view.add_argument("--port", type=int, default=7860, help="0: any that is free (%(default)s)")
    view.add_argument("--no-browser", action="store_true", help="do not open the page")
    _which(view, "; or several")
    for sub in (report, view):
        _checkpoint(sub)


def _elsewhere(commands: Any) -> None:
    text = "Write a trained model as a file that runs without jaxseg (StableHLO, or ONNX)."
    export = _command(commands, "export", text, run="export")
    export.add_argument("--out", type=Path, required=True, help="a file that ends in .jax or .onnx, or a folder")
    export.add_argument("--format", choices=("jax", "onnx"), help="which, where --out is a folder (jax)")
    export.add_argument("--size", type=_size, metavar="H,W", help="for pictures of this size only: faster on a CPU")
    export.add_argument("--batch", type=int, help="for so many pictures at once (any number, where the model allows)")
    export.add_argument("--uint8", action="store_true", help="pictures go in as bytes, 0 to 255 (float32, 0 to 1)")
    platforms = ("cpu", "cuda", "tpu")
    export.add_argument(
        "--platforms", type=names_in, default=platforms, help=f"kinds of device it is for ({','.join(platforms)})"
    )
    _which(export.add_mutually_exclusive_group(required=True))
    text = "Time a config's model, with random parameters, or a run's; count its operations."
    bench = _command(commands, "bench", text, run="bench")
    bench.add_argument("config", nargs="?", help="a config file, or the name of a shipped one (see: jaxseg models)")
    _which(bench.add_mutually_exclusive_group())
    bench.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    bench.add_argument("--size", type=_size, metavar="H,W", help="of the pictures (as the config prepares its own)")
    bench.add_argument("--batch", type=int, help="pictures at once (1; in training the config's)")
    bench.add_argument("--dtype", choices=("float32", "bfloat16"), help="what the network computes in (the config's)")
    bench.add_argument("--train", action="store_true", help="a whole training step, not a prediction")
    bench.add_argument("--repeat", type=int, default=20, help="how many runs are timed (%(default)s)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="the numbers, for programs")
    for sub in (export, bench):
        _checkpoint(sub)


def _data(whole: argparse.ArgumentParser) -> None:
    commands = whole.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "List the data sets that can be prepared: size, licence, where they come from."
    _command(commands, "list", text, run="data_list")
    text = "Fetch a published data set and write it as ArrayRecord; go on where it was stopped."
    prepare = _command(commands, "prepare", text, run="data_prepare")
    prepare.add_argument("name", help="see: jaxseg data list")
    prepare.add_argument("--data-dir", type=Path, help="where to ($TFDS_DATA_DIR, or ~/tensorflow_datasets)")
    prepare.add_argument(
        "--from", type=Path, metavar="DIR", dest="given", help="folder of archives that are here already, or unpacked"
    )
    prepare.add_argument("--splits", type=names_in, default=(), metavar="A,B", help="only these (all)")
    text = "Tell what a data set holds and what is wrong with it, and draw some of it."
    inspect = _command(commands, "inspect", text, run="data_inspect", more=True)
    inspect.add_argument(
        "target", help="a config (with arguments as for train), a JSON of COCO's, or a folder: see the docs"
    )
    inspect.add_argument("--out", type=Path, default=Path("inspected"), help="folder for pictures (%(default)s)")
    inspect.add_argument("--images", type=Path, metavar="DIR", help="the images of a JSON of COCO's")
    inspect.add_argument(
        "--classes", type=names_in, default=(), metavar="A,B", help="classes of masks, in order; or of a config"
    )
    inspect.add_argument("--most", type=_count, metavar="N", help="look at the first N images only")
    inspect.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    text = "Write LabelMe's or YOLO's files as a JSON of COCO's."
    convert = _command(commands, "convert", text, run="data_convert")
    convert.add_argument("kind", choices=("labelme", "yolo"))
    convert.add_argument("folder", type=Path, help="with a JSON beside each image; or with data.yaml")
    convert.add_argument("out", type=Path, metavar="OUT.json")
    convert.add_argument("--split", default="train", help="of YOLO's data.yaml (%(default)s)")


def _weights(whole: argparse.ArgumentParser) -> None:
    actions = whole.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "The weights that are part of jaxseg, and those of others that it can fetch."
    _command(actions, "list", text, run="weights_list")
    show = _command(actions, "show", "What weights tell of themselves.", run="weights_show")
    fetch = _command(actions, "fetch", "Fetch weights, and say where they are.", run="weights_fetch")
    text = "A file of weights out of another library's: torchvision, detectron2, timm, smp, ..."
    take = _command(actions, "import", text, run="weights_import", more=True)
    take.add_argument("weights", help="a name of jaxseg weights list, or a .pth, .safetensors, .npz, .pkl, ... file")
    take.add_argument("config", help="the config whose network they are of; its own arguments may follow")
    take.add_argument("--part", default="", help="only this part of the network takes weights, as backbone")
    take.add_argument("--fresh", default="", metavar="PATTERN", help="layers that stay fresh, as score")
    text = "A run as one file of weights, which predict, eval and train take."
    pack = _command(actions, "pack", text, run="weights_pack")
    text = "A run's folder out of a file of weights, whose config can then be read."
    unpack = _command(actions, "unpack", text, run="weights_unpack")
    text = "Put a run, or a file of weights, on the Hugging Face Hub."
    push = _command(actions, "push", text, run="weights_push")
    push.add_argument("repository", help="USER/NAME on the Hub")
    push.add_argument("--private", action="store_true", help="for yourself alone")
    push.add_argument("--workdir", type=Path, help="the run's folder")
    push.add_argument("--weights", help="or a file of weights")
    for sub in (show, fetch, unpack):
        sub.add_argument("weights", help="a file, a name of jaxseg weights list, or hf:USER/NAME")
    for sub in (pack, unpack):
        sub.add_argument("--workdir", type=Path, required=True, help="the run's folder")
    for sub in (take, pack):
        sub.add_argument("--out", type=Path, required=True, help="the file to write, ending in .safetensors")
    for sub in (take, pack, push):
        sub.add_argument("--title", help="what they are, in a few words")
        sub.add_argument("--data", help="what they learnt from")
        sub.add_argument("--licence", help="what others may do with them, as cc0-1.0")
    for sub in (pack, push):
        _checkpoint(sub)


def _which(sub: Any, several: str = "") -> None:
    sub.add_argument("--workdir", type=Path, action="append", help="the folder that train was given" + several)
    sub.add_argument("--weights", action="append", help="or weights: a file, or a name of jaxseg weights list")


def _hosts(sub: argparse.ArgumentParser) -> None:
    text = "join the other hosts that run this command, as a Cloud TPU slice or SLURM tells of them"
    sub.add_argument("--hosts", action="store_true", help=text)


def _checkpoint(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--checkpoint", choices=("best", "latest"), default="best", help="which (%(default)s)")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        height = width = 0
    if min(height, width) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give height and width in pixels, as 480,640")
    return height, width


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to 1")
    return value


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas between, as 0.75,1,1.25") from None
