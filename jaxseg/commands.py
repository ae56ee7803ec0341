"""What each command of the command line does, from parsed arguments to files and printed lines."""

import argparse
import math
import os
import platform
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxseg import config, viz
from jaxseg.config import Experiment
from jaxseg.types import JaxsegError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_READABLE = 480  # pixels across, which smaller pictures are drawn at, so that names do not hide them


def train(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train a config, or go on; tell the scores and the pictures to look at, or how to resume."""
    from jaxseg.train import build, loop, parallel

    parallel.connect_hosts()
    workdir: Path = arguments.workdir
    file = config.find_config(arguments.config)
    command = shlex.join(["jaxseg", "train", arguments.config, "--workdir", str(workdir)]) + " --tiny" * arguments.tiny
    overrides = [*overrides, *["--help"] * arguments.settings]
    experiment = config.load_config(file, overrides, tiny=arguments.tiny, prog=command)
    whole = shlex.join([*shlex.split(command), *overrides])
    if arguments.dry_run:
        return _dry_run(experiment, whole)
    if arguments.find_rate:
        return _find_rate(experiment, workdir)
    build.open_workdir(experiment, workdir)
    build.note_config(workdir, file, arguments.tiny, overrides)
    print(f"seed {experiment.seed}; stopped at any moment, this goes on: {whole}", flush=True)
    result = loop.train(experiment, workdir)
    if result.stopped:
        print(f"stopped at step {result.step}, saved; to go on: {whole}")
        return 0
    _print_scores(experiment, result.scores)
    for path in result.files:
        print(f"see {path}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a run's checkpoint over its validation data; leaves ``eval.json`` and ``eval.png``."""
    from jaxseg.data import write_png
    from jaxseg.infer.refine import refined_eval_step
    from jaxseg.train import evaluate as evaluation
    from jaxseg.train.checkpoint import write_json

    experiment, variables, step = evaluation.load_run(arguments.workdir, arguments.checkpoint)
    eval_step = None
    if arguments.crf is not None:
        eval_step = refined_eval_step(experiment, _crf(arguments.crf, arguments.workdir))
    scores, sheet = evaluation.evaluate(experiment, variables, eval_step=eval_step)
    print(f"{arguments.checkpoint} checkpoint, step {step}")
    _print_scores(experiment, scores)
    write_json(arguments.workdir / "eval.json", {"step": step, **scores})
    print(f"see {write_png(arguments.workdir / 'eval.png', sheet)}")
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Every picture gives ``NAME.png``, what was found drawn on it, and ``NAME_label.png``, the classes; or, of
    instances, ``NAME.json`` and a mesh ``NAME_0.obj`` of each that has one; or, of segments, ``NAME.json`` and
    ``NAME_segments.png``, whose colours are their ids. A bad picture is told and passed over, and the exit code is then
    2."""
    from jaxseg.train.build import noted_experiment

    about = {noted_experiment(workdir).task.about for workdir in arguments.workdir}
    if about == {"pixels"}:
        return _predict_pixels(arguments)
    if about in ({"instances"}, {"segments"}) and len(arguments.workdir) == 1:
        return _predict_found(arguments, *about)
    raise JaxsegError(
        f"--workdir {' '.join(map(str, arguments.workdir))}: predict labels pixels, by one run or several, or finds "
        "instances or segments, by one run; what a run says of whole pictures, jaxseg eval draws"
    )


def _predict_pixels(arguments: argparse.Namespace) -> int:
    from jaxseg.data import write_png
    from jaxseg.infer import Ensemble, Predictor, Refined

    options = {"tiles": _tiles(arguments), "scales": arguments.scales, "flip": arguments.flip}
    predictor = Ensemble(tuple(Predictor.load(w, arguments.checkpoint, **options) for w in arguments.workdir))
    if arguments.crf is not None:
        predictor = Refined(predictor, _crf(arguments.crf, arguments.workdir[0]))
    classes, palette = predictor.classes, predictor.palette

    def draw(file: Path, image: np.ndarray, watch: Callable[[float], None]) -> None:
        label = predictor(image, lambda done: watch(done / len(image)))
        shown = [k for k in range(len(classes)) if (label == k).any()]
        picture = viz.with_legend(viz.overlay(image, label, palette), classes, palette, shown)
        print(write_png(arguments.out / f"{file.stem}.png", picture))
        print(write_png(arguments.out / f"{file.stem}_label.png", label, palette=palette))

    return _each_picture(arguments.images, draw)


def _predict_found(arguments: argparse.Namespace, about: str) -> int:
    """Of runs that find instances or segments: the picture, what was found, and what else there is to each kind."""
    from jaxseg.data import write_png
    from jaxseg.infer import InstancePredictor, SegmentPredictor
    from jaxseg.train.checkpoint import write_json

    _refuse_options_of_labels(arguments)
    kind, more = (InstancePredictor, _write_meshes) if about == "instances" else (SegmentPredictor, _write_ids)
    predictor: Any = kind.load(arguments.workdir[0], arguments.checkpoint)

    def draw(file: Path, image: np.ndarray, watch: Callable[[float], None]) -> None:
        found = predictor(image)
        watch(1.0)
        picture = predictor.draw(image, found, max(image.shape[1], _READABLE))
        print(write_png(arguments.out / f"{file.stem}.png", picture))
        more(found, arguments.out / file.stem)
        write_json(arguments.out / f"{file.stem}.json", predictor.entries(found))
        print(arguments.out / f"{file.stem}.json")

    return _each_picture(arguments.images, draw)


def _write_meshes(found: Any, path: Path) -> None:
    from jaxseg.data import write_mesh

    for n, shape in enumerate(found.shapes or ()):
        if len(shape.faces):
            print(write_mesh(path.with_name(f"{path.name}_{n}.obj"), shape))


def _write_ids(found: Any, path: Path) -> None:
    from jaxseg.data import write_png
    from jaxseg.data.panoptic import colours_of_ids

    print(write_png(path.with_name(f"{path.name}_segments.png"), colours_of_ids(found.panoptic.ids)))


def _refuse_options_of_labels(arguments: argparse.Namespace) -> None:
    if arguments.tile is not None or arguments.crf is not None or arguments.flip or arguments.scales != (1.0,):
        raise JaxsegError(
            "--tile, --scales, --flip and --crf are of label maps; this run finds no such map: leave them out"
        )


def _each_picture(images: Sequence[Path], draw: Callable[[Path, np.ndarray, Callable[[float], None]], None]) -> int:
    from jaxseg.data import read_image
    from jaxseg.infer import PictureProgress

    files, failed = _picture_files(images), 0
    with PictureProgress(len(files)) as progress:
        for number, file in enumerate(files):
            try:
                image = read_image(file)
            except JaxsegError as error:
                print(f"jaxseg: {error}", file=sys.stderr)
                failed += 1
                continue
            draw(file, image, lambda part: progress.show(file.name, number + part))  # noqa: B023
    return 2 if failed else 0


def _crf(given: str, workdir: Path) -> Any:
    """The settings in the file that ``--crf`` names; by itself it means those that a search left with the run, or
    else the usual ones."""
    from jaxseg.infer import refine

    file = Path(given) if given else workdir / refine.FILE
    crf = refine.CRF.read(file) if given or file.exists() else refine.CRF()
    print(f"refined by {crf}", file=sys.stderr)
    return crf


def _tiles(arguments: argparse.Namespace) -> Any:
    """What ``--tile`` and its like ask for, or None for the whole picture at once."""
    from jaxseg.infer import Tiles

    joined = {name: value for name in ("overlap", "blend") if (value := getattr(arguments, name)) is not None}
    if arguments.tile is not None:
        return Tiles((arguments.tile, arguments.tile), **joined)
    if joined:
        raise JaxsegError(f"--{' and --'.join(joined)} say how tiles are joined; give --tile SIZE as well")
    return None


def demo(arguments: argparse.Namespace) -> int:
    """The main job on built-in data: train, evaluate, draw."""
    print(f"training a small U-Net on drawn shapes, in {arguments.workdir}", flush=True)
    return train(
        argparse.Namespace(**vars(arguments), config="unet_shapes", settings=False, dry_run=False, find_rate=False), []
    )


def models(arguments: argparse.Namespace) -> int:
    """A table of every shipped config's model, its parameters counted without making any."""
    del arguments
    import jax

    from jaxseg.models import PAPERS

    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    proposals = {"boxes": jax.ShapeDtypeStruct((1, 4, 4), np.float32), "valid": jax.ShapeDtypeStruct((1, 4), bool)}
    table = Table(box=None, header_style="bold")
    for heading in ("model", "paper", "file", "parameters", "config"):
        table.add_column(heading, no_wrap=True)
    for file in sorted(config.config_folder().glob("*.py")):
        model = config.load_config(file).model
        given = {"proposals": proposals} if "proposals" in signature(type(model).__call__).parameters else {}
        variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images, **given)
        count = f"{sum(math.prod(x.shape) for x in jax.tree.leaves(variables['params'])) / 1e6:.2f} M"
        heads = getattr(model, "heads", {})  # of which the paper tells more than the detector's own
        module = type([model, *heads.values()][-1]).__module__
        name = type(model).__name__ + (f" ({', '.join(heads)})" if heads else "")
        source = module.replace(".", "/") + ".py"
        table.add_row(name, PAPERS[module], source, count, f"configs/{file.name}")
    Console(width=max(200, shutil.get_terminal_size().columns)).print(table)
    return 0


def env(arguments: argparse.Namespace) -> int:
    """Versions of what jaxseg is built on, the machine, its devices, and the variables that change what JAX does."""
    del arguments
    import jax

    import jaxseg

    print(f"jaxseg {metadata.version('jaxseg')} in {Path(jaxseg.__file__).parent}")
    print(f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} CPUs")
    needed = [re.split(r"[^\w-]", line)[0] for line in metadata.requires("jaxseg") or () if "extra ==" not in line]
    for name in ("jaxlib", *needed):
        try:
            print(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed")
    try:
        kinds = Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
        print("devices: " + ", ".join(f"{count} x {kind}" for kind, count in kinds.items()))
    except RuntimeError as error:  # a driver that does not fit, as a rule: what a report is about
        print(f"devices: none, for {error}")
    for name in sorted(name for name in os.environ if name.startswith(("JAX_", "XLA_", "CUDA_VISIBLE", "TPU_"))):
        print(f"{name}={os.environ[name]}")
    return 0


def _dry_run(experiment: Experiment, command: str) -> int:
    """What a run would do and how long it would take; ``command`` begins it."""
    from jaxseg.train.rehearse import rehearse

    e, found = experiment, rehearse(experiment)
    print(f"{type(e.model).__name__}, {found.parameters / 1e6:.2f} M parameters")
    print(f"{len(e.data.train)} pictures to learn from and {len(e.data.val)} to be judged by, seed {e.seed}")
    if e.steps:
        print(f"a batch: {list(found.shape)}; the first loss: {found.loss:.4f}")
        print(f"the first step took {found.first_step:.1f} s, one after it {found.step:.3f} s")
    print(f"an evaluation: about {_duration(found.evaluation)}")
    print(f"{e.steps} steps and all evaluations: about {_duration(found.in_all)}; nothing was written; to begin:")
    print(command)
    return 0


def _find_rate(experiment: Experiment, workdir: Path) -> int:
    """The range test, drawn in the work directory, which is otherwise left alone."""
    from jaxseg.train.find_rate import find_rate

    found = find_rate(experiment)
    print(
        f"loss {found.losses[0]:.4f} at first, {min(found.losses):.4f} at the least; it was {found.losses[-1]:.4f} at"
    )
    print(f"a rate of {found.rates[-1]:.2g}, the last tried. A tenth of where it is least:")
    print(f"--optimizer.learning-rate {found.suggested:.1e}")
    print(f"see {viz.plot_rates(found.rates, found.losses, found.suggested, workdir / 'learning_rate.png')}")
    return 0


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _picture_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise JaxsegError(f"{path} holds no picture; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
            files += found
        else:
            files.append(path)  # a missing or unreadable one is told when its turn comes
    stems = [f.stem for f in files]
    twice = sorted({s for s in stems if stems.count(s) > 1})
    if twice:
        raise JaxsegError(f"several pictures are called {twice[0]} and would overwrite each other; predict them apart")
    return files


def _print_scores(experiment: Experiment, scores: dict[str, Any]) -> None:
    """The numbers in one line, then what each class scored."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    first = experiment.task.main_metric
    names = [first, *(name for name in numbers if name != first)]
    print("  ".join(f"{n} {numbers[n]:.4f}" if isinstance(numbers[n], float) else f"{n} {numbers[n]}" for n in names))
    for name, values in scores.items():
        if isinstance(values, dict):
            print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
        elif isinstance(values, list | tuple) and values:
            print(f"{name}: " + ", ".join(str(v) for v in values))
