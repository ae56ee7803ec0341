"""Checkpoints (Orbax): the latest few, and the best, each with a checksum of every array.

A step is saved in the background and appears whole or not at all. Reading it back compares the checksums, so that
damage is found and the next older sound step is taken instead, with a line that says so.
"""

import json
import logging
import shutil
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from jaxseg.types import JaxsegError

Say = Callable[[str], None]
_WHEN_FULL = ("no space left", "disk quota", "file too large", "resource_exhausted")


class Checkpoints:
    """The checkpoints in one folder: ``save``, ``restore`` the newest sound one, ``close``. Relative paths work."""

    def __init__(self, directory: str | Path, *, keep: int = 2, say: Say = print) -> None:
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax's own lines are not for our users
        self.directory, self.say = Path(directory).absolute(), say
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.LatestN(keep),
            enable_async_checkpointing=True,
            # Hosts meet by name at each stage of a save; two folders saved at once must not meet by the same name.
            multiprocessing_options=ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.directory.name),
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def save(self, step: int, tree: Any, about: dict[str, Any]) -> None:
        """Begin to save ``tree`` as ``step``, with ``about`` (JSON) beside it. A step already there is kept.

        Raises when an earlier save failed in the background (``wait`` does too).
        """
        if step in self._manager.all_steps():
            return
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(tree),
                    about=ocp.args.JsonSave({**about, "checksums": checksums(tree)}),
                ),
                force=True,
            )
        except Exception as error:
            raise self._save_error(step, error) from error

    def wait(self) -> None:
        """Return once everything begun is on disk."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._save_error(None, error) from error

    def steps(self) -> list[int]:
        """Saved steps, oldest first."""
        return sorted(self._manager.all_steps())

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """``(tree, about)`` of the newest sound step, on one device, or ``None`` where nothing was ever saved.

        ``like`` gives the tree's structure, shapes and dtypes. Damaged steps are passed over, each with a line.
        Only reads. Raises AllDamagedError if there are steps and none is sound, JaxsegError if a sound one has other
        shapes.
        """
        steps = list(reversed(self.steps()))
        for step in steps:
            try:
                tree, about = self._read(step, like)
            except _DamagedError as error:
                self.say(f"checkpoint {self.directory / str(step)} is damaged ({error}); trying the one before it")
                continue
            return tree, about
        if steps:
            raise AllDamagedError(
                f"all {len(steps)} checkpoints in {self.directory} are damaged; move that folder away to start anew"
            )
        return None

    def remove_after(self, step: int) -> None:
        """Remove the steps after ``step``: damaged ones stand in the way of those that training will save again."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(self.directory / str(later), ignore_errors=True)
        self._manager.reload()

    def close(self) -> None:
        self.wait()
        self._manager.close()

    def _read(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        try:
            about = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
            expected = about["checksums"]
        except Exception as error:
            raise _DamagedError(_first_line(error)) from error
        _check_fits(like, expected, self.directory / str(step))
        device = SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
        try:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            tree = self._manager.restore(step, args=args)["state"]
        except Exception as error:
            raise _DamagedError(_first_line(error)) from error
        wrong = [name for name, value in checksums(tree).items() if value != expected[name]]
        if wrong:
            raise _DamagedError(f"{wrong[0]} is not what was saved: checksums differ in {len(wrong)} arrays")
        return tree, about

    def _save_error(self, step: int | None, error: Exception) -> JaxsegError:
        which = "the checkpoint" if step is None else f"checkpoint {step}"
        reason = _first_line(error)
        full = any(words in str(error).lower() for words in _WHEN_FULL)
        mend = "free some space" if full else "see that the folder can be written"
        kept = [s for s in self.steps() if s != step]
        left = f"the last good one is step {kept[-1]}" if kept else "nothing was saved before it"
        return JaxsegError(
            f"could not save {which} in {self.directory}: {reason}; {left}; {mend} and run the same command again"
        )


class _DamagedError(Exception):
    """A step can't be read, or is not what was saved."""


class AllDamagedError(JaxsegError):
    """There are checkpoints, and none of them is sound."""


def checksums(tree: Any) -> dict[str, str]:
    """``path -> "dtype[shape] crc32"`` of every array, of what this process can see of it."""

    def one(x: Any) -> str:
        parts = x.addressable_shards if isinstance(x, jax.Array) and not x.is_fully_addressable else None
        value = np.ascontiguousarray(x if parts is None else parts[0].data)
        return f"{value.dtype}{list(np.shape(x))} {zlib.crc32(value.view(np.uint8).data):08x}"

    flat = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): one(x) for path, x in flat}


def _check_fits(like: Any, expected: dict[str, str], where: Path) -> None:
    ours = {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}"
        for path, x in jax.tree_util.tree_leaves_with_path(like)
    }
    theirs = {name: value.rsplit(" ", 1)[0] for name, value in expected.items()}
    names = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    if names:
        name = min(names)
        raise JaxsegError(
            f"{where} holds another model: {name} is {theirs.get(name, 'absent')} there and "
            f"{ours.get(name, 'absent')} here ({len(names)} such arrays); use the config and the classes it was "
            "trained with, or another --workdir"
        )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else 'no message'}"


def write_json(path: Path, value: Any) -> None:
    """As :func:`write_text`."""
    write_text(path, json.dumps(value, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all; several hosts may write the same one at once, and the last stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
