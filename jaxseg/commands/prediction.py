"""``jaxseg predict``: what a trained run finds in pictures of your own."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import viz
from jaxseg.commands.evaluation import chosen_crf, chosen_runs
from jaxseg.types import JaxsegError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
WRITTEN = {
    "pixels": (".png", "_label.png"),
    "instances": (".png", ".json"),
    "segments": (".png", ".json", "_segments.png"),
}
"""What each picture gives, by what a run is about: the ends of names after the picture's stem."""


def predict(arguments: argparse.Namespace) -> int:
    """Every picture gives ``NAME.png``, what was found drawn on it, and ``NAME_label.png``, the classes; or, of
    instances, ``NAME.json`` and a mesh ``NAME_0.obj`` of each that has one; or, of segments, ``NAME.json`` and
    ``NAME_segments.png``, whose colours are their ids. A bad picture is told and passed over, and the exit code is then
    2."""
    from jaxseg.train.build import noted_experiment

    runs = chosen_runs(arguments)
    about = {noted_experiment(run).task.about for run in runs}
    kind = about.pop() if len(about) == 1 else ""
    if kind not in WRITTEN or (kind != "pixels" and len(runs) > 1):
        raise JaxsegError(
            f"{' '.join(map(str, runs))}: predict labels pixels, by one run or several, or finds "
            "instances or segments, by one run; what a run says of whole pictures, jaxseg eval draws"
        )
    _refuse_options_of_others(arguments, kind)
    files = _picture_files(arguments.images)
    _refuse_overwriting(files, arguments.out, WRITTEN[kind])
    if kind == "pixels":
        return _predict_pixels(arguments, runs, files)
    return _predict_found(arguments, runs[0], kind, files)


def _predict_pixels(arguments: argparse.Namespace, runs: Sequence[Path], files: Sequence[Path]) -> int:
    from jaxseg.data import write_png
    from jaxseg.infer import Ensemble, Predictor, Refined

    options = {"tiles": _tiles(arguments), "scales": arguments.scales, "flip": arguments.flip}
    predictor = Ensemble(tuple(Predictor.load(w, arguments.checkpoint, **options) for w in runs))
    if arguments.crf is not None:
        predictor = Refined(predictor, chosen_crf(arguments.crf, runs[0]))
    classes, palette = predictor.classes, predictor.palette

    def draw(file: Path, image: np.ndarray, watch: Callable[[float], None]) -> None:
        label = predictor(image, lambda done: watch(done / len(image)))
        shown = [k for k in range(len(classes)) if (label == k).any()]
        picture = viz.with_legend(viz.overlay(image, label, palette), classes, palette, shown)
        print(write_png(arguments.out / f"{file.stem}.png", picture))
        print(write_png(arguments.out / f"{file.stem}_label.png", label, palette=palette))

    return _each_picture(files, draw)


def _predict_found(arguments: argparse.Namespace, run: Path, about: str, files: Sequence[Path]) -> int:
    """Of runs that find instances or segments: the picture, what was found, and what else there is to each kind."""
    from jaxseg.data import write_png
    from jaxseg.infer import InstancePredictor, SegmentPredictor
    from jaxseg.train.checkpoint import write_json

    kind, more = (InstancePredictor, _write_meshes) if about == "instances" else (SegmentPredictor, _write_ids)
    options = {} if arguments.min_score is None else {"min_score": arguments.min_score}
    predictor: Any = kind.load(run, arguments.checkpoint, **options)

    def draw(file: Path, image: np.ndarray, watch: Callable[[float], None]) -> None:
        found = predictor(image)
        watch(1.0)
        picture = predictor.draw(image, found, max(image.shape[1], viz.READABLE))
        print(write_png(arguments.out / f"{file.stem}.png", picture))
        more(found, arguments.out / file.stem)
        write_json(arguments.out / f"{file.stem}.json", predictor.entries(found))
        print(arguments.out / f"{file.stem}.json")

    return _each_picture(files, draw)


def _write_meshes(found: Any, path: Path) -> None:
    from jaxseg.data import write_mesh

    for n, shape in enumerate(found.shapes or ()):
        if len(shape.faces):
            print(write_mesh(path.with_name(f"{path.name}_{n}.obj"), shape))


def _write_ids(found: Any, path: Path) -> None:
    from jaxseg.data import write_png
    from jaxseg.data.panoptic import colours_of_ids

    print(write_png(path.with_name(f"{path.name}_segments.png"), colours_of_ids(found.panoptic.ids)))


def _refuse_options_of_others(arguments: argparse.Namespace, about: str) -> None:
    if about != "instances" and arguments.min_score is not None:
        raise JaxsegError(f"--min-score is of instances; this run is about {about}: leave it out")
    if about == "pixels":
        return
    if arguments.tile is not None or arguments.crf is not None or arguments.flip or arguments.scales != (1.0,):
        raise JaxsegError(
            "--tile, --scales, --flip and --crf are of label maps; this run finds no such map: leave them out"
        )


def _refuse_overwriting(files: Sequence[Path], out: Path, ends: Sequence[str]) -> None:
    """Nothing that is written may take the place of a picture given, or of what another picture gives."""
    given, writers = {file.resolve(): file for file in files}, dict[Path, Path]()
    for file in files:
        for path in (out / f"{file.stem}{end}" for end in ends):
            if path.resolve() in given:
                raise JaxsegError(f"{given[path.resolve()]} would be overwritten; give another folder as --out")
            if path in writers:
                raise JaxsegError(f"{writers[path]} and {file} would both be written to {path}; predict them apart")
            writers[path] = file


def _each_picture(files: Sequence[Path], draw: Callable[[Path, np.ndarray, Callable[[float], None]], None]) -> int:
    from jaxseg.data import read_image
    from jaxseg.progress import progress

    failed = 0
    with progress("predict", len(files), "pictures") as show:
        for number, file in enumerate(files):
            try:
                image = read_image(file)
            except JaxsegError as error:
                print(f"jaxseg: {error}", file=sys.stderr)
                failed += 1
                continue
            draw(file, image, lambda part: show(number + part))  # noqa: B023
    return 2 if failed else 0


def _tiles(arguments: argparse.Namespace) -> Any:
    """What ``--tile`` and its like ask for, or None for the whole picture at once."""
    from jaxseg.infer import Tiles

    joined = {name: value for name in ("overlap", "blend") if (value := getattr(arguments, name)) is not None}
    if arguments.tile is not None:
        return Tiles((arguments.tile, arguments.tile), **joined)
    if joined:
        raise JaxsegError(f"--{' and --'.join(joined)} say how tiles are joined; give --tile SIZE as well")
    return None


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
    return files
