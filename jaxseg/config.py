"""An experiment as a value: a config file is Python whose ``get_config()`` builds one from real objects.

No name is looked up in a registry: what a config imports is what it runs. Overrides from the command line are typed by
the fields themselves (:func:`override`), and a misspelt one is refused with what was probably meant.
"""

import argparse
import dataclasses
import difflib
import importlib.util
import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.train.optimizer import Optimizer
from jaxseg.types import JaxsegError, Task

DtypeName = Literal["float32", "bfloat16"]
PLAIN = (int, float, bool, str, type(None))


@dataclass(frozen=True)
class Data:
    """Where examples come from and what becomes of them.

    ``train`` and ``val`` are sources (``len``, ``[i] -> sample``, ``classes``, ``palette``); ``augment`` and
    ``prepare`` are transforms ``(sample, rng) -> sample`` for training and for everything else. ``max_instances``: how
    many instances a picture is padded to; None leaves them out of the batch. ``mask_side``: their masks are
    box-relative, of so many cells a side; None keeps them whole, of the picture's size.
    """

    train: Any
    val: Any
    augment: Any
    prepare: Any
    num_threads: int = 4
    max_instances: int | None = None
    mask_side: int | None = None


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run.

    ``pretrained`` maps fresh variables to the ones training begins with. Steps are optimiser steps; ``eval_every``
    and ``save_every`` count them. ``ema`` is the decay of the averaged parameters (0: none), ``accumulate`` the parts
    a batch is split into. ``patience``: so many evaluations in a row without a better score end training (0: none do).
    """

    model: nn.Module
    task: Task
    data: Data
    optimizer: Optimizer = field(default_factory=Optimizer)
    steps: int = 1000
    batch_size: int = 8
    eval_batch_size: int = 8
    seed: int = 0
    ema: float = 0.0
    accumulate: int = 1
    eval_every: int = 500
    save_every: int = 500
    patience: int = 0
    log_every: int = 20
    keep: int = 2
    spread: Literal["jit", "pmap"] = "jit"
    devices: int | None = None
    model_devices: int = 1
    pretrained: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None


# What may differ between a run and its continuation, since it changes no parameter.
_FREE = ("eval_every", "save_every", "patience", "log_every", "keep", "eval_batch_size", "data.num_threads", "spread",
         "devices", "model_devices")  # fmt: skip


def load_config(
    path: str | Path, arguments: Sequence[str] = (), *, tiny: bool = False, prog: str = "jaxseg train CONFIG"
) -> Experiment:
    """The experiment of a config file, given by path or, for the configs that jaxseg ships, by name.

    ``arguments`` are those of its ``get_config`` beside ``tiny`` (``--root DIR``), and then overrides (see
    :func:`override`). ``tiny`` asks for the version that takes seconds, for tests.
    """
    get_config = load_get_config(path)
    parser = argparse.ArgumentParser(prog, add_help=False, allow_abbrev=False)
    for name, parameter in inspect.signature(get_config).parameters.items():
        flag, default = "--" + name.replace("_", "-"), parameter.default
        if isinstance(default, bool):
            if name != "tiny":
                parser.add_argument(flag, action="store_true", default=default)
        else:
            parser.add_argument(flag, type=type(default), default=default)
    own, overrides = parser.parse_known_args(list(arguments))
    return override(get_config(tiny=tiny, **vars(own)), overrides, prog=prog)


def load_get_config(path: str | Path) -> Callable[..., Experiment]:
    """The ``get_config`` of a config file, by path or shipped name. Raises JaxsegError where there is none."""
    file = find_config(path)
    spec = importlib.util.spec_from_file_location(f"jaxseg_config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise JaxsegError(f"{file} is no Python file; a config ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except JaxsegError:
        raise
    except Exception as error:
        raise JaxsegError(f"{file} can't be read: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "get_config", None)):
        raise JaxsegError(f"{file} has no get_config(tiny=False) that returns a jaxseg.config.Experiment")
    if "tiny" not in inspect.signature(module.get_config).parameters:
        raise JaxsegError(f"{file}: get_config must take tiny (False, or True for a version that takes seconds)")
    return module.get_config


def config_folder() -> Path:
    """Where the shipped configs are: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).parent
    return next((d for d in (here / "configs", here.parent / "configs") if d.is_dir()), here / "configs")


def find_config(path: str | Path) -> Path:
    """The file that ``path`` means: itself, or a shipped config of that name."""
    for candidate in (Path(path), Path(f"{path}.py")):
        if candidate.is_file():
            return candidate
    return shipped_config(path)


def shipped_config(path: str | Path) -> Path:
    """The shipped config of that name, whatever else lies in the working directory."""
    files = {file.stem: file for file in sorted(config_folder().glob("*.py"))}
    stem = Path(path).name.removesuffix(".py")
    if stem in files:
        return files[stem]
    close = difflib.get_close_matches(stem, files, 1)
    hint = f"did you mean {close[0]}?" if close else f"the shipped ones are {', '.join(files)}"
    raise JaxsegError(f"no config {path}; {hint}")


def settings(value: Any, prefix: str = "") -> dict[str, Any]:
    """An experiment as ``{"optimizer.learning_rate": 0.001, ...}``, everything plain that can be read or overridden.

    Objects and functions stand for themselves by name, so that two experiments can be compared.
    """
    found: dict[str, Any] = {}
    for f in _fields(value):
        item, name = getattr(value, f.name), prefix + f.name
        if dataclasses.is_dataclass(item):
            found[name] = type(item).__name__
            found |= settings(item, name + ".")
        elif f.name == "dtype":
            found[name] = jnp.dtype(item).name
        elif is_plain(item):
            found[name] = item
        elif callable(item) and hasattr(item, "__qualname__"):
            found[name] = item.__qualname__
    return found


def differences(ours: Experiment, theirs: Mapping[str, Any]) -> list[str]:
    """What differs between an experiment and the settings of an earlier run, of what decides its result."""
    mine = json.loads(json.dumps(settings(ours)))
    names = [n for n in [*mine, *(t for t in theirs if t not in mine)] if n not in _FREE]
    return [f"{n}: {theirs.get(n)!r} there, {mine.get(n)!r} here" for n in names if theirs.get(n) != mine.get(n)]


def override(experiment: Experiment, arguments: Sequence[str], *, prog: str = "jaxseg train CONFIG") -> Experiment:
    """``["--steps", "100", "--model.base", "32"]`` applied to an experiment, each value read as its field's type.

    A name that does not exist, or a value of another type, ends the program with code 2 and what was probably meant.
    """
    if not arguments:
        return experiment
    import tyro

    return _apply(experiment, tyro.cli(_flags(experiment), args=list(arguments), prog=prog))


def is_plain(item: Any) -> bool:
    """Whether a value can be written on a command line: a number, a word, or a tuple of such."""
    return isinstance(item, PLAIN) or (isinstance(item, tuple) and all(is_plain(i) for i in item))


def _fields(value: Any) -> list[dataclasses.Field[Any]]:
    hidden = ("parent", "name") if isinstance(value, nn.Module) else ()
    return [f for f in dataclasses.fields(value) if f.name not in hidden]


def _flags(value: Any) -> type:
    """A dataclass of just the fields of ``value`` that a command line can set, with its values as defaults."""
    hints, fields = typing.get_type_hints(type(value)), []
    for f in _fields(value):
        item = getattr(value, f.name)
        if dataclasses.is_dataclass(item):
            inner = _flags(item)
            if dataclasses.fields(inner):
                fields.append((f.name, inner, dataclasses.field(default_factory=inner)))
        elif f.name == "dtype":
            fields.append((f.name, DtypeName, dataclasses.field(default=jnp.dtype(item).name)))
        elif is_plain(item) and hints[f.name] is not Any:
            fields.append((f.name, hints[f.name], dataclasses.field(default=item)))
    return dataclasses.make_dataclass(type(value).__name__, fields, frozen=True)


def _apply(value: Any, flags: Any) -> Any:
    """``value`` with what ``flags`` says, part by part."""
    changes = {}
    for f in dataclasses.fields(flags):
        old, new = getattr(value, f.name), getattr(flags, f.name)
        if dataclasses.is_dataclass(old):
            new = _apply(old, new)
        elif f.name == "dtype":
            new = old if jnp.dtype(old).name == new else jnp.dtype(new).type
        if new is not old:
            changes[f.name] = new
    return dataclasses.replace(value, **changes)
