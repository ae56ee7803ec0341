"""What a shell completes: commands and options, files and folders, and the names of what comes with jaxseg."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import join
from typing import Any

import shtab

_FOLDERS = ("workdir", "data_dir", "given", "folder")
_FILES = ("crf",)  # not read as a path, since it may be left out


class PrintCompletion(argparse.Action):
    """``--print-completion SHELL``: prints the script, and ends there."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        names = _shipped_names()
        for action in _arguments(parser):
            if (kind := _kind(action, names)) is not None:
                action.complete = kind
        print(shtab.complete(parser, values))
        parser.exit()


def _shipped_names() -> dict[str, Sequence[str]]:
    """What may be given by name, by the argument that takes it; ``--weights`` takes only those in the package."""
    from jaxseg import config
    from jaxseg.data.prepare import DATA_SETS
    from jaxseg.weights import PUBLISHED, packed

    configs = sorted(file.stem for file in config.config_folder().glob("*.py"))
    shipped = list(packed.shipped())
    return {
        "config": configs,
        "target": configs,
        "--weights": shipped,
        "weights": [*shipped, *PUBLISHED],
        "name": list(DATA_SETS),
    }


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Any]:
    for action in parser._actions:
        yield action
        # A command is a parser among the choices.
        for choice in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from _arguments(choice)


def _kind(action: Any, names: dict[str, Sequence[str]]) -> Any:
    """What ``shtab`` is to complete an argument with; None: nothing."""
    name = action.option_strings[0] if action.option_strings else action.dest
    if name in names:
        return _names_and_files(name, names[name])
    if action.dest in _FOLDERS:
        return shtab.DIRECTORY
    return shtab.FILE if action.type is Path or action.dest in _FILES else None


def _names_and_files(argument: str, names: Sequence[str]) -> dict[str, Any]:
    """In bash these names and files; in other shells files."""
    function = f"_jaxseg_{argument.replace('-', '_')}_or_files"
    script = f'{function}() {{\n  compgen -W {join([join(names)])} -- "$1"\n  compgen -f -- "$1"\n}}'
    return {**shtab.FILE, "bash": function, "preamble": {"bash": script}}
