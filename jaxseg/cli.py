"""The command line: parsing only; the library does the work.

jaxseg train CONFIG --workdir DIR [--steps 100 --optimizer.learning-rate 0.01 ...]
jaxseg eval --workdir DIR [--crf]
jaxseg predict IMAGE... --workdir DIR [--out DIR] [--tile 512] [--scales 0.75,1,1.25] [--flip] [--crf]
jaxseg data list | prepare NAME [--data-dir DIR] [--from DIR] [--splits train,validation]
jaxseg data inspect CONFIG_OR_PATH [--out DIR] | convert labelme DIR OUT.json | convert yolo DIR OUT.json
jaxseg demo
jaxseg models
"""

import argparse
import errno
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jaxseg.types import JaxsegError

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0, or 2 where the user can mend something."""
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    own = known.command == "train" or getattr(known, "data_command", "") == "inspect"  # a config's own arguments
    if rest and not own:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    _set_up_jax()
    try:
        with _threads_silent_on_full_disks():
            return _run(known, rest)
    except JaxsegError as error:
        print(f"jaxseg: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        print(
            f"jaxseg: {error.filename or 'a file'}: {error.strerror}; what was saved before is kept: free some space "
            "or mend the permissions, and run the same command again",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("jaxseg: interrupted", file=sys.stderr)
        return 130


def _run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    from jaxseg import commands

    if known.command == "train":
        return commands.train(known, rest)
    if known.command == "data" and known.data_command == "inspect":
        return commands.data_inspect(known, rest)
    run = {
        "eval": commands.evaluate,
        "predict": commands.predict,
        "demo": commands.demo,
        "models": commands.models,
        "env": commands.env,
        "data convert": commands.data_convert,
        "data list": commands.data_list,
        "data prepare": commands.data_prepare,
    }
    return run[f"data {known.data_command}" if known.command == "data" else known.command](known)


@contextmanager
def _threads_silent_on_full_disks() -> Iterator[None]:
    """TensorBoard writes in a thread, whose traceback would bury the line that tells what the main thread met."""
    before = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if getattr(failure.exc_value, "errno", None) not in _DISK_FAULTS:
            before(failure)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("jaxseg", description="Segmentation and detection in JAX.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    train = command("train", "Train a config; go on where an earlier call with the same --workdir was stopped.")
    train.add_argument("config", help="a config file, or the name of a shipped one (see: jaxseg models)")
    train.add_argument("--workdir", type=Path, required=True, help="folder for checkpoints, curves and pictures")
    train.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    only = train.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="a few steps and their time, with nothing written")
    only.add_argument("--find-rate", action="store_true", help="train a hundred steps at ever higher rates, draw it")
    only.add_argument("--settings", action="store_true", help="list what can be overridden, and stop")

    evaluate = command("eval", "Score a trained run on its validation data, and draw predictions beside the truth.")
    predict = command("predict", "Segment pictures with a trained run: overlays with a legend, and label PNGs.")
    predict.add_argument("images", nargs="+", type=Path, help="pictures of any size, or folders of them")
    predict.add_argument("--out", type=Path, default=Path("predictions"), help="folder to write to (%(default)s)")
    predict.add_argument("--tile", type=int, metavar="SIZE", help="cut pictures into squares of this side, unscaled")
    predict.add_argument("--overlap", type=float, help="part of a tile that it shares with the next (0.5)")
    predict.add_argument("--blend", choices=("gaussian", "mean"), help="how overlapping tiles are averaged (gaussian)")
    predict.add_argument("--scales", type=_numbers, default=(1.0,), help="average over these, as 0.75,1,1.25 (1)")
    predict.add_argument("--flip", action="store_true", help="average with the prediction for the mirrored picture")
    evaluate.add_argument("--workdir", type=Path, required=True, help="the folder that train was given")
    predict.add_argument(
        "--workdir", type=Path, required=True, action="append", help="as train was given; several: their mean"
    )
    for sub in (evaluate, predict):
        sub.add_argument("--checkpoint", choices=("best", "latest"), default="best", help="which (%(default)s)")
        sub.add_argument(
            "--crf", nargs="?", const="", metavar="FILE",
            help="refine by a dense CRF: settings from FILE, or from crf.json in the work directory (see crf_search)",
        )  # fmt: skip

    demo = command("demo", "Train a small U-Net on built-in data and draw what it learnt: about two minutes on a CPU.")
    demo.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="folder to work in (%(default)s)")
    demo.add_argument("--tiny", action="store_true", help="a few steps only, to see that everything runs")
    _data_commands(command("data", "Data sets: prepare published ones, look at your own, convert."))
    command("models", "List the models: paper, file, parameters, config.")
    command("env", "Tell what a report of a bug needs: versions, machine, devices.")
    return parser


def _data_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    command("list", "List the data sets that can be prepared: size, licence, where they come from.")
    prepare = command("prepare", "Fetch a published data set and write it as ArrayRecord; go on where it was stopped.")
    prepare.add_argument("name", help="see: jaxseg data list")
    prepare.add_argument("--data-dir", type=Path, help="where to ($TFDS_DATA_DIR, or ~/tensorflow_datasets)")
    prepare.add_argument(
        "--from", type=Path, metavar="DIR", dest="given", help="folder of archives that are here already, or unpacked"
    )
    prepare.add_argument("--splits", metavar="A,B", help="only these (all)")
    inspect = command("inspect", "Tell what a data set holds and what is wrong with it, and draw some of it.")
    inspect.add_argument(
        "target", help="a config (with arguments as for train), a JSON of COCO's, or a folder: see the docs"
    )
    inspect.add_argument("--out", type=Path, default=Path("inspected"), help="folder for pictures (%(default)s)")
    inspect.add_argument("--images", type=Path, metavar="DIR", help="the images of a JSON of COCO's")
    inspect.add_argument("--classes", type=_words, default=(), metavar="A,B", help="classes of masks, in their order")
    inspect.add_argument("--most", type=int, metavar="N", help="look at the first N images only")
    inspect.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    convert = command("convert", "Write LabelMe's or YOLO's files as a JSON of COCO's.")
    convert.add_argument("kind", choices=("labelme", "yolo"))
    convert.add_argument("folder", type=Path, help="with a JSON beside each image; or with data.yaml")
    convert.add_argument("out", type=Path, metavar="OUT.json")
    convert.add_argument("--split", default="train", help="of YOLO's data.yaml (%(default)s)")


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas between, as 0.75,1,1.25") from None


def _set_up_jax() -> None:
    """Compiled programs are kept between runs, in JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "jaxseg" / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")


if __name__ == "__main__":
    sys.exit(main())
