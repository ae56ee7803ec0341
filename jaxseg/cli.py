"""The command line: parsing only; the library does the work.

jaxseg train CONFIG --workdir DIR [--steps 100 --optimizer.learning-rate 0.01 ...]
jaxseg eval --workdir DIR [--crf]
jaxseg predict IMAGE... --workdir DIR [--out DIR] [--tile 512] [--scales 0.75,1,1.25] [--flip] [--crf]
jaxseg export --workdir DIR --out FILE [--format onnx --size 512,512]
jaxseg bench CONFIG [--size 512,512 --batch 4 --dtype bfloat16 --train]
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
    if rest and known.command != "train":
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
    run = {
        "eval": commands.evaluate,
        "predict": commands.predict,
        "export": commands.export,
        "bench": commands.bench,
        "demo": commands.demo,
        "models": commands.models,
        "env": commands.env,
    }
    return run[known.command](known)


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
        sub.add_argument(
            "--crf", nargs="?", const="", metavar="FILE",
            help="refine by a dense CRF: settings from FILE, or from crf.json in the work directory (see crf_search)",
        )  # fmt: skip

    export = command("export", "Write a trained run's model as a file that runs without jaxseg (StableHLO, or ONNX).")
    export.add_argument("--workdir", type=Path, required=True, help="the folder that train was given")
    export.add_argument("--out", type=Path, required=True, help="a file that ends in .jax or .onnx, or a folder")
    export.add_argument("--format", choices=("jax", "onnx"), help="which, where --out is a folder (jax)")
    export.add_argument("--size", type=_size, metavar="H,W", help="for pictures of this size only: faster on a CPU")
    export.add_argument("--batch", type=int, help="for so many pictures at once (any number, where the model allows)")
    export.add_argument("--uint8", action="store_true", help="pictures go in as bytes, 0 to 255 (float32, 0 to 1)")
    platforms = ("cpu", "cuda", "tpu")
    export.add_argument(
        "--platforms", type=_names, default=platforms, help=f"kinds of device it is for ({','.join(platforms)})"
    )

    bench = command("bench", "Time a config's model, with random parameters, or a run's; count its operations.")
    bench.add_argument("config", nargs="?", help="a config file, or the name of a shipped one (see: jaxseg models)")
    bench.add_argument("--workdir", type=Path, help="the folder of a run, to time its model with its parameters")
    bench.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    bench.add_argument("--size", type=_size, metavar="H,W", help="of the pictures (as the config prepares its own)")
    bench.add_argument("--batch", type=int, help="pictures at once (1; in training the config's)")
    bench.add_argument("--dtype", choices=("float32", "bfloat16"), help="what the network computes in (the config's)")
    bench.add_argument("--train", action="store_true", help="a whole training step, not a prediction")
    bench.add_argument("--repeat", type=int, default=20, help="how many runs are timed (%(default)s)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="the numbers, for programs")

    for sub in (evaluate, predict, export, bench):
        sub.add_argument("--checkpoint", choices=("best", "latest"), default="best", help="which (%(default)s)")

    demo = command("demo", "Train a small U-Net on built-in data and draw what it learnt: about two minutes on a CPU.")
    demo.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="folder to work in (%(default)s)")
    demo.add_argument("--tiny", action="store_true", help="a few steps only, to see that everything runs")
    command("models", "List the models: paper, file, parameters, config.")
    command("env", "Tell what a report of a bug needs: versions, machine, devices.")
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas between, as 0.75,1,1.25") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give height and width in pixels, as 480,640") from None
    return height, width


def _set_up_jax() -> None:
    """Compiled programs are kept between runs, in JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "jaxseg" / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")


if __name__ == "__main__":
    sys.exit(main())
