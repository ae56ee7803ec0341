"""Weights in one file of our own: a model's variables by their paths, and what must be known to use them.

A file of weights is ``.safetensors``: arrays named ``params/backbone/conv1/kernel``, and in the header, under
``jaxseg``, JSON (:class:`About`). Parameters are float16 where that holds them; nothing in the file is ever run. A few
such files are part of the package (:func:`shipped`).
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg.types import JaxsegError
from jaxseg.weights.match import listed
from jaxseg.weights.published import PUBLISHED

SUFFIX = ".safetensors"
_FOLDER = Path(__file__).parent / "shipped"
_KEY = "jaxseg"


@dataclass(frozen=True)
class About:
    """What a file of weights tells of itself.

    ``config``: the name of the shipped config that they were trained by, or the text of another; ``arguments``: what
    was given to it on the command line, but for places on a disk; ``step``: how long it was trained; ``scores``: on
    its validation data; ``version``: of jaxseg; ``card``: what a person should know, by name (``title``, ``data``,
    ``licence``, ...).
    """

    config: str
    arguments: tuple[str, ...] = ()
    tiny: bool = False
    step: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    version: str = ""
    card: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what such a file can't tell, since anyone may have written it."""
        texts = (self.config, self.version, *self.arguments, *self.card, *self.card.values(), *self.scores)
        numbers = (self.step, *self.scores.values())
        if not all(isinstance(x, str) for x in texts) or not all(type(x) in (int, float) for x in numbers):
            raise TypeError("a text or a number is something else")
        if {"-h", "--help", "--settings"}.intersection(self.arguments):
            raise ValueError(f"arguments are {' '.join(self.arguments)}")

    @property
    def own_config(self) -> bool:
        """Whether ``config`` is a text, no name: Python that someone should read before it is run."""
        return re.fullmatch(r"\w+", self.config) is None


def shipped() -> dict[str, Path]:
    """The files of weights that are part of the package, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob(f"*{SUFFIX}"))}


def packed_file(name: str | Path) -> Path:
    """The file that ``name`` means: a path, the name of shipped weights, or ``hf:USER/NAME`` of the Hugging Face Hub
    (:func:`jaxseg.weights.hub.pull`). Raises JaxsegError if there is none."""
    if str(name).startswith("hf:"):
        from jaxseg.weights import hub

        return hub.pull(str(name))
    path, known = Path(name), shipped()
    if path.is_file():
        return path
    if str(name) in known:
        return known[str(name)]
    if str(name) in PUBLISHED:
        raise JaxsegError(
            f"{name} are arrays of another library; make a file of weights of them: jaxseg weights import {name} CONFIG"
        )
    close = difflib.get_close_matches(str(name), known, 1)
    raise JaxsegError(
        f"no weights {name}; "
        + (f"did you mean {close[0]}?" if close else f"give a file, or one of {', '.join(known)}")
    )


def is_packed(weights: str | Path) -> bool:
    """Whether these are weights of ours: a name of :func:`shipped`, ``hf:USER/NAME``, or a file that tells of a network
    of jaxseg."""
    if str(weights) in shipped() or str(weights).startswith("hf:"):
        return True
    path = Path(weights)
    return path.suffix == SUFFIX and path.is_file() and _KEY in _header(path)


def about(path: Path) -> About:
    """What the file tells of itself. Raises JaxsegError where it is no file of weights of ours."""
    header = _header(path)
    if _KEY not in header:
        raise JaxsegError(
            f"{path} tells nothing of a network of jaxseg; make a file that does: jaxseg weights import {path} CONFIG"
        )
    try:
        told = json.loads(header[_KEY])
        return About(**{**told, "arguments": tuple(told.get("arguments", ()))})
    except (TypeError, ValueError, AttributeError) as error:
        raise JaxsegError(
            f"{path}: what it tells is not understood ({error}); a newer jaxseg may have made it"
        ) from error


def write_packed(path: Path, variables: Mapping[str, Any], what: About, dtype: Any = np.float16) -> Path:
    """Write ``variables`` whole or not at all. ``dtype``: of the parameters; one that does not fit keeps its own."""
    from safetensors.numpy import save

    arrays = {}
    for where, value in jax.tree_util.tree_leaves_with_path(dict(variables)):
        value, name = np.asarray(value), _name(where)
        if name.startswith("params/") and np.issubdtype(value.dtype, np.floating):
            with np.errstate(over="ignore"):
                narrow = value.astype(dtype)
            value = narrow if np.isfinite(narrow).all() else value
        arrays[name] = np.ascontiguousarray(value)
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(arrays, {_KEY: json.dumps(asdict(what))}))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def from_packed(
    path: Path, variables: Mapping[str, Any], *, part: str = "", fresh: str = "", exempt: Sequence[str] = ()
) -> dict[str, Any]:
    """``variables`` (or their shapes) with every array taken from the file; arguments and errors as in
    :func:`jaxseg.weights.load`, names being our own paths."""
    from jaxseg.weights.read import read_arrays

    left = read_arrays(path)
    faults: dict[str, list[str]] = {"missing": [], "unexpected": [], "misshapen": []}

    def kept(name: str) -> bool:
        layer = name.partition("/")[2]
        return (bool(part) and not layer.startswith(f"{part}/")) or bool(fresh and re.search(fresh, layer))

    def excused(name: str) -> bool:
        return any(re.search(pattern, name) for pattern in exempt)

    def take(where: Any, ours: Any) -> Any:
        name = _name(where)
        theirs = left.pop(name, None)
        if kept(name):
            return ours
        if theirs is None:
            faults["missing"] += [] if excused(name) else [name]
        elif theirs.shape != np.shape(ours):
            misfit = f"{name} {list(theirs.shape)}, not {list(np.shape(ours))}"
            faults["misshapen"] += [] if excused(name) else [misfit]
        else:
            return theirs.astype(ours.dtype)
        return ours

    result = jax.tree_util.tree_map_with_path(take, dict(variables))
    faults["unexpected"] = [name for name in left if not kept(name) and not excused(name)]
    if any(faults.values()):
        raise JaxsegError(f"{path} does not fit the model: {listed(faults)}; build the model they were trained in")
    return result


def _header(path: Path) -> Mapping[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise JaxsegError(f"{path} is no readable {SUFFIX} ({error}); fetch it again") from error


def _name(where: Any) -> str:
    return "/".join(entry.key for entry in where)
