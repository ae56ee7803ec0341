"""``jaxseg export``: a trained run's model as a file that runs without jaxseg."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.commands.evaluation import chosen_run
from jaxseg.types import JaxsegError


def export(arguments: argparse.Namespace) -> int:
    """Write the run's predictions as a file and its card; tell what it is for, its size and how it was checked."""
    from jaxseg.infer import card, export_model
    from jaxseg.progress import stages
    from jaxseg.train.evaluate import load_run

    file, format = _file(arguments.out, arguments.format)
    watch = stages()
    run = chosen_run(arguments)
    experiment, variables, step = load_run(run, arguments.checkpoint)
    usual, proposals = _usual(experiment)
    about = card.of_run(experiment, run, arguments.checkpoint, step)
    made = export_model(
        file,
        experiment.model,
        variables,
        task=experiment.task,
        size=arguments.size,
        batch=arguments.batch,
        uint8=arguments.uint8,
        proposals=proposals,
        format=format,
        platforms=arguments.platforms,
        usual_size=usual,
        about=about,
        watch=watch,
    )
    _tell(file, made)
    return 0


def _file(out: Path, format: str | None) -> tuple[Path, Any]:
    """Where to, and in which format: ``out`` itself if it ends in ``.jax`` or ``.onnx``, else one in that folder."""
    ending = out.suffix.removeprefix(".")
    if ending not in ("jax", "onnx"):
        return out / f"model.{format or 'jax'}", format or "jax"
    if format not in (None, ending):
        raise JaxsegError(f"--out {out} ends in .{ending} and --format is {format}; leave out one of them")
    return out, ending


def _usual(experiment: Any) -> tuple[tuple[int, int], int | None]:
    """The size that pictures of a run have before the network sees them, and how many proposals they come with."""
    from jaxseg.infer.instances import one_picture

    batch = one_picture(experiment, np.zeros((64, 64, 3), np.uint8))
    proposals = batch["proposals"]["boxes"].shape[1] if "proposals" in batch else None
    return (batch["image"].shape[1], batch["image"].shape[2]), proposals


def _tell(file: Path, made: dict[str, Any]) -> None:
    compared = made["compared_with_the_model"]
    for kind in ("inputs", "outputs"):
        for name, x in made[kind].items():
            line = f"{kind[:-1]:6}  {name:16}  {x['dtype']:7}  [{', '.join(map(str, x['shape']))}]"
            if name in compared and kind == "outputs":
                equal, apart = 100 * compared[name]["equal"], compared[name]["largest_difference"]
                line = f"{line:60}  {equal:.4g} % as the model's, at most {apart:.2g} apart"
            print(line)
    for letter, words in made["letters"].items():
        print(f"{letter}: {words}")
    for words, reason in made["not_for"].items():
        print(f"not for {words} ({reason})")
    if not compared:
        print("not compared with the model: there is no device here of a kind that it is for")
    print(f"see {file} ({file.stat().st_size / 1e6:.1f} MB)")
    print(f"see {file.with_suffix('.json')}")
