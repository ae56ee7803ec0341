"""``jaxseg data inspect`` and ``jaxseg data convert``: what a data set holds, and what is wrong with it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import viz
from jaxseg.types import JaxsegError

EXAMPLES = 12  # of a contact sheet
_MOST_CLASSES = 40  # rows of the table
_PARTS = ("train", "val", "valid", "validation", "test")
_ROBOFLOW = "_annotations.coco.json"  # beside the images


def data_inspect(arguments: argparse.Namespace, overrides: Sequence[str] = ()) -> int:
    """Tell sizes, classes and problems of each part of a data set, draw some of it; 2 where training would break."""
    from jaxseg.data.survey import Problem, leaks, problems_of, survey
    from jaxseg.progress import progress

    sources, problems = _parts(arguments, overrides)
    surveys, files = {}, []
    for part, source in sources.items():
        try:
            count = len(source) if arguments.most is None else min(arguments.most, len(source))
            with progress(f"looking at {part}", count, "images") as show:
                found = surveys[part] = survey(source, show, arguments.most)
        except JaxsegError as error:  # of the source as a whole
            problems.append(Problem(" ".join(str(error).split()), ""))
            continue
        _tell(part, found, source)
        files.append(_draw(part, source, found, arguments.out))
        problems += [p._replace(what=f"{part}: {p.what}") for p in problems_of(found)]
    if train := surveys.get("train"):
        problems += [p for part, found in surveys.items() if part != "train" for p in leaks(train, found, part)]
    grave = [p for p in problems if p.grave]
    for kind, chosen in (("to mend", grave), ("to know", [p for p in problems if not p.grave])):
        if chosen:
            print(f"\n{kind}:")
        for problem in chosen:
            print(f"  - {problem}")
    print("" if problems else "\nnothing is wrong with it")
    for file in filter(None, files):
        print(f"see {file}")
    return 2 if grave or not surveys else 0


def data_convert(arguments: argparse.Namespace) -> int:
    """LabelMe's or YOLO's files as a JSON of COCO's; what was left out is told."""
    from jaxseg.data.labelme import labelme_to_coco
    from jaxseg.data.yolo import yolo_to_coco

    if arguments.kind == "labelme":
        writer = labelme_to_coco(arguments.folder)
    else:
        writer = yolo_to_coco(arguments.folder, arguments.split)
    writer.write(arguments.out)
    for what, where in writer.left_out.items():
        print(f"left out {len(where)} {what} ({', '.join(dict.fromkeys(where[:3]))}{', ...' * (len(where) > 3)})")
    content = writer.content
    counts = f"{len(content['images'])} images, {len(content['annotations'])} objects"
    print(f"{counts}, {len(content['categories'])} classes; in a config:")
    print(f"jaxseg.data.Coco({str(writer.root)!r}, {str(arguments.out)!r})")
    return 0


def _parts(arguments: argparse.Namespace, overrides: Sequence[str]) -> tuple[dict[str, Any], list[Any]]:
    """The sources to look at, by name, and what is wrong with the files they are made of."""
    target = Path(arguments.target)
    if target.is_dir() or target.suffix == ".json":
        if overrides:
            raise JaxsegError(f"unknown arguments {' '.join(overrides)}; only a config has arguments of its own")
        return _files(target, arguments)
    from jaxseg.config import find_config, load_config
    from jaxseg.data.coco import Coco

    prog = f"jaxseg data inspect {arguments.target}"
    # Of a config, the classes are its own argument.
    named = ["--classes", ",".join(arguments.classes)] if arguments.classes else []
    experiment = load_config(find_config(arguments.target), [*named, *overrides], tiny=arguments.tiny, prog=prog)
    data, problems = experiment.data, []
    for part, source in (("train", data.train), ("val", data.val)):
        inner = source
        while not isinstance(inner, Coco) and hasattr(inner, "source"):
            inner = inner.source
        if isinstance(inner, Coco):
            problems += _coco_problems(part, inner.annotations, inner.images)
    return {"train": data.train, "val": data.val}, problems


def _files(target: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    from jaxseg.data.coco import Coco
    from jaxseg.data.label_folder import label_folder
    from jaxseg.data.labelme import labelme_to_coco
    from jaxseg.data.survey import Problem

    if target.is_file():
        images = arguments.images or next((d for d in (target.parent / "images",) if d.is_dir()), target.parent)
        return {target.stem: Coco(images, target)}, _coco_problems(target.stem, target, images)
    if not target.is_dir():
        raise JaxsegError(f"{target}: no such file; check the path")
    if (target / "data.yaml").is_file():
        return _yolo(target, arguments.out)
    if (target / "masks").is_dir():
        try:
            source, problems = label_folder(target / "images", target / "masks", arguments.classes)
        except JaxsegError as error:
            return {}, [Problem(f"{target.name}: {error}", "")]
        return {target.name: source}, [p._replace(what=f"{target.name}: {p.what}") for p in problems]
    for file, images in ((target / "instances.json", target / "images"), (target / _ROBOFLOW, target)):
        if file.is_file():
            return {target.name: Coco(images, file)}, _coco_problems(target.name, file, images)
    inner = [d for name in _PARTS if (d := target / name).is_dir()]
    if inner:
        sources, problems = {}, []
        for folder in inner:
            try:
                found, wrong = _files(folder, arguments)
            except JaxsegError as error:  # of this part; the others are looked at all the same
                found, wrong = {}, [Problem(f"{folder.name}: {error}", "")]
            sources |= found
            problems += wrong
        return sources, problems
    if any(target.rglob("*.json")):
        return _converted({target.name: labelme_to_coco(target)}, arguments.out)
    raise JaxsegError(
        f"{target}: expected folders images and masks, images and instances.json, train and val of such, YOLO's "
        "data.yaml, or LabelMe's JSON files; or give a config, or a JSON of COCO's"
    )


def _yolo(folder: Path, out: Path) -> tuple[dict[str, Any], list[Any]]:
    """The splits that can be read; a split but ``train`` that is not there is no fault."""
    from jaxseg.data.survey import Problem
    from jaxseg.data.yolo import yolo_images, yolo_splits, yolo_to_coco

    writers, problems = {}, []
    for split in yolo_splits(folder):
        grave = split == "train"
        try:
            yolo_images(folder, split)
            grave = True
            writers[split] = yolo_to_coco(folder, split)
        except JaxsegError as error:
            problems.append(Problem(f"{split}: {error}", "", (), grave))
    sources, left_out = _converted(writers, out)
    return sources, problems + left_out


def _converted(writers: dict[str, Any], out: Path) -> tuple[dict[str, Any], list[Any]]:
    """Sources of what was written as COCO's JSON, and what was left out of it."""
    from jaxseg.data.coco import Coco
    from jaxseg.data.survey import Problem

    sources, problems = {}, []
    for part, writer in writers.items():
        file = out / f"{part}.json"
        writer.write(file)
        sources[part] = Coco(writer.root, file)
        for what, where in writer.left_out.items():
            problems.append(Problem(f"{part}: {len(where)} {what}", "left out", tuple(dict.fromkeys(where)), False))
    return sources, problems


def _coco_problems(part: str, file: Any, images: Any) -> list[Any]:
    from jaxseg.data.coco_problems import coco_problems

    try:
        return [p._replace(what=f"{part}: {p.what}") for p in coco_problems(file, images)]
    except JaxsegError:  # no JSON of COCO's: told when its source is looked at
        return []


def _tell(part: str, found: Any, source: Any) -> None:
    """Sizes and classes, in a few lines."""
    from jaxseg.data.survey import class_counts

    sizes = np.array([s.size for s in found.read]).reshape(-1, 2)
    looked = f"{len(found.seen)} of {len(source)}" if len(found.seen) < len(source) else str(len(found.seen))
    print(f"\n{part}: {looked} images, {len(found.read)} can be read")
    if not len(sizes):
        return
    for name, values, digits in (
        ("height", sizes[:, 0], 0),
        ("width", sizes[:, 1], 0),
        ("width / height", sizes[:, 1] / sizes[:, 0], 2),
    ):
        low, middle, high = (f"{v:.{digits}f}" for v in (values.min(), np.median(values), values.max()))
        print(f"  {name}: {low}" if low == high else f"  {name}: {low} to {high}, half below {middle}")
    counts = [len(s.classes) for s in found.read if s.classes is not None]
    if counts and hasattr(source, "things"):
        print(f"  objects an image: {min(counts)} to {max(counts)}, half below {np.median(counts):.0f}")
    captions = [s.captions for s in found.read if s.captions is not None]
    if captions:
        print(f"  captions an image: {min(captions)} to {max(captions)}")
    rows = class_counts(found)
    total = sum(s.pixels.sum() for s in found.read if s.pixels is not None)
    if rows:
        print(f"  {'class':<24}{'pixels':>9}{'objects':>10}{'images':>9}")
    for name, area, objects, images in rows[:_MOST_CLASSES]:
        part_of = f"{100 * area / total:.2f} %" if total else "-"
        print(f"  {name[:23]:<24}{part_of:>9}{objects or '-':>10}{images:>9}")
    if len(rows) > _MOST_CLASSES:
        print(f"  and {len(rows) - _MOST_CLASSES} classes more")
    if total:
        void = sum(s.pixels[-1] for s in found.read if s.pixels is not None)
        print(f"  {'(void)':<24}{100 * void / total:>7.2f} %")


def _draw(part: str, source: Any, found: Any, out: Path) -> Path | None:
    """A contact sheet of samples from all over the source, its truth drawn on them."""
    from jaxseg.data import write_png
    from jaxseg.data.survey import has_labels

    good = [n for n, s in enumerate(found.seen) if not s.error]
    if not good:
        return None
    chosen = [good[k] for k in np.unique(np.linspace(0, len(good) - 1, EXAMPLES).round().astype(int))]
    samples = [source[n] for n in chosen]
    panels = [panel for sample in samples for panel in (sample["image"], _truth(sample, source))]
    columns = ("image", "truth", "image ", "truth ")
    rows: list[dict[str, Any]] = [dict(zip(columns, panels[n : n + 4])) for n in range(0, len(panels), 4)]
    sheet = viz.contact_sheet(rows, source.classes, title=f"{part}: {len(found.seen)} images")
    labels = [s["label"] for s in samples if "label" in s and has_labels(source)]
    shown = sorted({int(k) for label in labels for k in np.unique(label) if k < len(source.classes)})
    if shown:
        sheet = viz.with_legend(sheet, source.classes, source.palette, shown)
    return write_png(out / f"{part}.png", sheet)


def _truth(sample: dict[str, Any], source: Any) -> np.ndarray:
    """What is known of one sample, drawn on it."""
    from jaxseg.data.survey import categories_of, has_labels

    picture, labelled = sample["image"], "label" in sample and has_labels(source)
    if labelled:
        picture = viz.overlay(picture, sample["label"], source.palette)
    if "instances" in sample:
        instances, things = sample["instances"], getattr(source, "things", source.classes)
        names = [things[k - 1] for k in instances["classes"]] if len(things) > 1 else []  # one class needs no name
        if "tokens" in instances or things == ("region",):
            names = [str(caption) for caption in instances["captions"]]
        picture = viz.draw_instances(
            picture,
            instances["boxes"],
            None if labelled else instances.get("masks"),
            names,
            keypoints=instances.get("keypoints"),
            width=240,  # a panel of the sheet: names stay readable
        )
    text = next(iter(sample.get("captions", ())), "")
    if "category" in sample:
        text = ", ".join(source.classes[k] for k in categories_of(sample["category"])) or "none of the classes"
    return viz.annotate(picture, text=text, width=240) if text else picture
