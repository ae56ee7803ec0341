"""The command line: parsing only; the library does the work.

jaxseg train CONFIG --workdir DIR [--steps 100 --optimizer.learning-rate 0.01 ...]
jaxseg eval --workdir DIR | --weights NAME [--crf] [--root DIR]
jaxseg predict IMAGE... --workdir DIR | --weights NAME [--out DIR] [--tile 512] [--scales 0.75,1,1.25] [--flip] [--crf]
jaxseg demo
jaxseg models
"""

import argparse
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import shtab

from jaxseg.types import JaxsegError

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0, or 2 where the user can mend something."""
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command not in ("train", "eval") and getattr(known, "action", "") != "import":
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

    configured = {"train": commands.train, "eval": commands.evaluate, "weights": commands.weights}
    if known.command in configured:
        return configured[known.command](known, rest)
    run = {
        "predict": commands.predict,
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
    shtab.add_argument_to(parser, help="print a script that completes commands in a shell, for it to source")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    train = command("train", "Train a config; go on where an earlier call with the same --workdir was stopped.")
    train.add_argument("config", help="a config file, or the name of a shipped one (see: jaxseg models)")
    train.add_argument("--workdir", type=Path, required=True, help="folder for checkpoints, curves and pictures")
    train.add_argument("--tiny", action="store_true", help="the config's version that takes seconds")
    train.add_argument("--wandb", metavar="PROJECT", help="tell Weights & Biases as well")
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
    evaluate.add_argument("--out", type=Path, help="folder to write to (the run's; of weights, evaluation)")
    one = evaluate.add_mutually_exclusive_group(required=True)
    for sub, several in ((one, ""), (predict, "; several: their mean")):
        sub.add_argument("--workdir", type=Path, action="append", help="the folder that train was given" + several)
        sub.add_argument("--weights", action="append", help="or weights: a file, or a name of jaxseg weights list")
    for sub in (evaluate, predict):
        sub.add_argument("--checkpoint", choices=("best", "latest"), default="best", help="which (%(default)s)")
        sub.add_argument(
            "--crf", nargs="?", const="", metavar="FILE",
            help="refine by a dense CRF: settings from FILE, or from crf.json in the work directory (see crf_search)",
        )  # fmt: skip

    demo = command("demo", "Train a small U-Net on built-in data and draw what it learnt: about two minutes on a CPU.")
    demo.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="folder to work in (%(default)s)")
    demo.add_argument("--tiny", action="store_true", help="a few steps only, to see that everything runs")
    _weights_parser(command("weights", "Weights as files: what there is, and to and fro.").add_subparsers)
    command("models", "List the models: paper, file, parameters, config.")
    command("env", "Tell what a report of a bug needs: versions, machine, devices.")
    return parser


def _weights_parser(subparsers: Callable[..., Any]) -> None:
    actions = subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, allow_abbrev=False)

    action("list", "The weights that are part of jaxseg, and those of others that it can fetch.")
    show = action("show", "What weights tell of themselves.")
    show.add_argument("weights", help="a file, a name, or hf:USER/NAME")
    fetch = action("fetch", "Fetch weights, and say where they are.")
    fetch.add_argument("weights", help="a name of jaxseg weights list, or hf:USER/NAME")
    take = action("import", "A file of weights out of another library's: torchvision, detectron2, timm, smp, ...")
    take.add_argument("weights", help="a name of jaxseg weights list, or a .pth, .safetensors, .npz, .pkl, ... file")
    take.add_argument("config", help="the config whose network they are of; its own arguments may follow")
    take.add_argument("--part", default="", help="only this part of the network takes weights, as backbone")
    take.add_argument("--fresh", default="", metavar="PATTERN", help="layers that stay fresh, as score")
    pack = action("pack", "A run as one file of weights, which predict, eval and train take.")
    push = action("push", "Put a run, or a file of weights, on the Hugging Face Hub.")
    push.add_argument("repository", help="USER/NAME on the Hub")
    push.add_argument("--private", action="store_true", help="for yourself alone")
    unpack = action("unpack", "A run's folder out of a file of weights, whose config can then be read.")
    unpack.add_argument("weights", help="a file, a name, or hf:USER/NAME")
    for sub in (pack, unpack):
        sub.add_argument("--workdir", type=Path, required=True, help="the run's folder")
    push.add_argument("--workdir", type=Path, help="the run's folder")
    push.add_argument("--weights", help="or a file of weights")
    for sub in (take, pack):
        sub.add_argument("--out", type=Path, required=True, help="the file to write, ending in .safetensors")
    for sub in (take, pack, push):
        sub.add_argument("--title", help="what they are, in a few words")
        sub.add_argument("--data", help="what they learnt from")
        sub.add_argument("--licence", help="what others may do with them, as cc0-1.0")
    for sub in (pack, push):
        sub.add_argument("--checkpoint", choices=("best", "latest"), default="best", help="which (%(default)s)")


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
