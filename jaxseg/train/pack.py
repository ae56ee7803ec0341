"""A run as one file of weights (:mod:`jaxseg.weights.packed`), and back."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import config
from jaxseg.train import evaluate
from jaxseg.train.checkpoint import write_json
from jaxseg.train.log import read_records
from jaxseg.types import JaxsegError
from jaxseg.weights import packed

PLACES = ("--root", "--weights", "--vgg", "--begin", "--coarser")  # what configs are told of where something is


def pack(
    workdir: Path, file: Path, which: str = "best", *, card: Mapping[str, str] | None = None, dtype: Any = np.float16
) -> Path:
    """Write the best (or latest) checkpoint of a run, and what it takes to use it, as a file of weights.

    ``card``: what a person should know of them. ``dtype``: of the parameters in the file.
    """
    _, variables, step = evaluate.load_run(workdir, which)
    command = json.loads((workdir / "command.json").read_text())
    noted, scores = workdir / "config.py", _scores(workdir / "metrics.jsonl", step)
    what = about(noted, command["overrides"], tiny=command["tiny"], step=step, scores=scores, card=card)
    return packed.write_packed(file, variables, what, dtype)


def about(file: Path, arguments: Sequence[str], *, card: Mapping[str, str] | None = None, **more: Any) -> packed.About:
    """What weights of the config ``file`` tell: its name or text, its ``arguments`` but for places on this disk."""
    kept = tuple(_without_places(arguments))
    return packed.About(_config(file), kept, version=metadata.version("jaxseg"), card=card or {}, **more)


def unpack(file: Path, workdir: Path) -> Path:
    """A run's folder from a file of weights, whose config can be read there before anything runs it."""
    what = packed.about(file)
    if workdir.exists() and any(workdir.iterdir()):
        raise JaxsegError(f"--workdir {workdir} is not empty; name a new folder")
    workdir.mkdir(parents=True, exist_ok=True)
    text = what.config if what.own_config else config.shipped_config(what.config).read_text()
    (workdir / "config.py").write_text(text)
    shutil.copyfile(file, workdir / evaluate.PACKED)
    write_json(workdir / "command.json", {"tiny": what.tiny, "overrides": list(what.arguments)})
    return workdir


def _config(noted: Path) -> str:
    """The name of the shipped config that the noted one is, or else its text."""
    text = noted.read_text()
    same = (file for file in sorted(config.config_folder().glob("*.py")) if file.read_text() == text)
    return next((file.stem for file in same), text)


def _without_places(arguments: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for argument in arguments:
        if skip or argument.split("=")[0] in PLACES:
            skip = not skip and "=" not in argument
        else:
            kept.append(argument)
    return kept


def _scores(metrics: Path, step: int) -> dict[str, float]:
    """What the run noted of its validation at that step."""
    scores = {}
    for record in read_records(metrics):
        if record["step"] == step:
            scores |= {k.removeprefix("val/"): v for k, v in record.items() if k.startswith("val/")}
    return {name: value for name, value in scores.items() if isinstance(value, int | float) and math.isfinite(value)}
