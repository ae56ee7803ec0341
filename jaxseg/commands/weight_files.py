"""``jaxseg weights``: files of weights, those that are part of jaxseg, and those of others."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxseg.types import JaxsegError


def weights_list(arguments: argparse.Namespace) -> int:
    """Two tables: what is part of jaxseg, and what others have published."""
    del arguments
    from rich.console import Console
    from rich.table import Table

    from jaxseg.weights import PUBLISHED, packed

    ours = Table(title="part of jaxseg: jaxseg predict photo.jpg --weights NAME", title_justify="left", box=None)
    for heading in ("name", "what", "MB", "learnt from", "licence"):
        ours.add_column(heading, no_wrap=True)
    for name, file in packed.shipped().items():
        card = packed.about(file).card
        size = f"{file.stat().st_size / 1e6:.1f}"
        ours.add_row(name, card.get("title", ""), size, card.get("data", ""), card.get("licence", ""))
    theirs = Table(title="\nof others: jaxseg weights fetch NAME", title_justify="left", box=None)
    for heading in ("name", "data", "scores", "licence"):
        theirs.add_column(heading, no_wrap=True)
    for name, entry in PUBLISHED.items():
        scores = ", ".join(f"{key} {value}" for key, value in entry.card.metrics.items())
        theirs.add_row(name, entry.card.dataset, scores, entry.card.licence.split(" (")[0].split(";")[0])
    console = Console(width=max(160, os.get_terminal_size().columns if os.isatty(1) else 0))
    console.print(ours)
    console.print(theirs)
    return 0


def weights_show(arguments: argparse.Namespace) -> int:
    """What weights tell of themselves, a line each."""
    from jaxseg.weights import PUBLISHED, packed

    name = arguments.weights
    if name in PUBLISHED:
        entry = PUBLISHED[name]
        told = {"address": entry.url, **entry.card._asdict(), "classes": entry.preset.classes}
    else:
        file = packed.packed_file(name)
        what = packed.about(file)
        scores = ", ".join(f"{key} {value:.4f}" for key, value in what.scores.items())
        told = {"file": file, **what.card, "arguments": " ".join(what.arguments), "steps": what.step, "scores": scores}
        told |= {"jaxseg": what.version, "config": "\n" * what.own_config + what.config}
    for key, value in told.items():
        if value not in ("", None):
            print(f"{key}: {value}")
    return 0


def weights_fetch(arguments: argparse.Namespace) -> int:
    """Where the file is, which is fetched if it is not here yet."""
    from jaxseg.weights import PUBLISHED, fetch, packed

    name = arguments.weights
    print(fetch(name) if name in PUBLISHED else packed.packed_file(name))
    return 0


def weights_import(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Another library's weights as a file of ours, for the network of a config."""
    import jax

    from jaxseg import config
    from jaxseg.train import build, pack
    from jaxseg.weights import load, packed

    out, file = _out(arguments), config.find_config(arguments.config)
    experiment = config.load_config(file, overrides)
    whole = not (arguments.part or arguments.fresh)
    shapes = jax.eval_shape(lambda: build.fresh_variables(experiment))
    variables = load(
        arguments.weights,
        shapes if whole else build.fresh_variables(experiment),
        part=arguments.part,
        fresh=arguments.fresh,
    )
    what = pack.about(file, overrides, card={"from": Path(arguments.weights).name, **_card(arguments)})
    print(_told(packed.write_packed(out, variables, what)))
    return 0


def weights_pack(arguments: argparse.Namespace) -> int:
    """A run as one file."""
    print(_told(_packed(arguments, _out(arguments))))
    return 0


def _packed(arguments: argparse.Namespace, out: Path) -> Path:
    from jaxseg.train.pack import pack

    return pack(arguments.workdir, out, arguments.checkpoint, card=_card(arguments))


def weights_unpack(arguments: argparse.Namespace) -> int:
    """A run's folder, to be read before it is used."""
    from jaxseg.train.pack import unpack
    from jaxseg.weights import packed

    workdir = unpack(packed.packed_file(arguments.weights), arguments.workdir)
    print(f"see {workdir / 'config.py'}, which is run by: jaxseg predict photo.jpg --workdir {workdir}")
    return 0


def weights_push(arguments: argparse.Namespace) -> int:
    """A run or a file to the Hub; prints its address there."""
    from jaxseg.weights import hub, packed

    if (arguments.workdir is None) == (arguments.weights is None):
        raise JaxsegError("say what to push: --workdir RUN, or --weights FILE")
    if arguments.weights and _card(arguments):
        raise JaxsegError("a file of weights tells its title, data and licence itself: give them to weights pack")
    with TemporaryDirectory() as folder:
        made = arguments.weights is None
        file = _packed(arguments, Path(folder, hub.FILE)) if made else packed.packed_file(arguments.weights)
        print(hub.push(file, arguments.repository, private=arguments.private))
    return 0


def _card(arguments: argparse.Namespace) -> dict[str, str]:
    return {key: value for key in ("title", "data", "licence") if (value := getattr(arguments, key))}


def _out(arguments: argparse.Namespace) -> Path:
    if arguments.out.suffix != ".safetensors":
        raise JaxsegError(f"--out {arguments.out}: a file of weights ends in .safetensors")
    return arguments.out


def _told(file: Path) -> str:
    from jaxseg.weights import packed

    use = f"jaxseg predict photo.jpg --weights {file}"
    if packed.about(file).own_config:  # which is read before it is run
        use = f"jaxseg weights unpack {file} --workdir DIR, then jaxseg predict photo.jpg --workdir DIR"
    return f"{file} ({file.stat().st_size / 1e6:.1f} MB): {use}"
