"""Examples written as a TFDS data set: ArrayRecord, split by split, without TensorFlow."""

import contextlib
import fcntl
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from jaxseg.progress import progress
from jaxseg.types import JaxsegError

SEMANTIC = {
    "image": tfds.features.Image(shape=(None, None, 3)),
    "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
    "image/filename": tfds.features.Text(),
}
"""Features of a set of images with label maps."""


class Contents(NamedTuple):
    """One split: what an example has, the keys of all, and how one is made of its key (None: it is left out).

    Images are paths or the bytes of files, and are stored as they are.
    """

    features: Mapping[str, Any]
    keys: Sequence[Any]
    make: Callable[[Any], dict[str, Any] | None]
    metadata: Mapping[str, Any] = {}


def prepared_splits(folder: Path) -> list[str]:
    """The splits of a data set's version that are there."""
    path = folder / "dataset_info.json"
    try:
        return [split["name"] for split in json.loads(path.read_text())["splits"]] if path.exists() else []
    except (ValueError, KeyError, TypeError) as error:
        raise JaxsegError(f"{path} is damaged ({error}); remove the folder {folder} and prepare it again") from error


def write(name: str, version: str, split: str, contents: Contents, data_dir: Path) -> int:
    """Write one split of ``DATA_DIR/NAME/VERSION``, beside those that are there; gives the number of examples.

    It appears whole or not at all: what a killed process leaves is removed by the next.
    """
    scratch, folder = data_dir / f".{name}.part", data_dir / name / version
    shutil.rmtree(scratch, ignore_errors=True)
    builder = _builder(name, version, split, contents, scratch)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS tells things that mean nothing here
            builder.download_and_prepare()
    except Exception as error:
        if isinstance(error, JaxsegError | OSError):
            raise
        free = shutil.disk_usage(data_dir).free
        if free < 1 << 26:  # the writer of records is not Python and does not raise OSError
            raise OSError(28, "No space left on device", str(data_dir)) from error
        raise
    _adopt(scratch / name / version, folder, split)
    shutil.rmtree(scratch, ignore_errors=True)
    return builder.info.splits[split].num_examples


@contextlib.contextmanager
def locked(data_dir: Path, name: str) -> Iterator[None]:
    """One process at a time prepares a data set; another waits."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / f".{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _builder(name: str, version: str, split: str, contents: Contents, data_dir: Path) -> Any:
    """TFDS's builder of one split. The class is not registered: it is of this call only."""

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        pkg_dir_path: Any = None  # else TFDS looks for files beside this one

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(dict(contents.features)),
                metadata=tfds.core.MetadataDict(contents.metadata) if contents.metadata else None,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            yield from _examples(f"{name} {split}", contents)

    Prepared.name = name
    return Prepared(data_dir=os.fspath(data_dir), file_format="array_record")


def _examples(title: str, contents: Contents) -> Iterator[tuple[int, dict[str, Any]]]:
    left_out = []
    with progress(title, len(contents.keys), "examples") as show:
        for done, key in enumerate(contents.keys):
            example = contents.make(key)
            if example is None:
                left_out.append(str(key))
            else:
                yield done, example
            show(done + 1)
    if left_out:
        text = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        logging.getLogger("jaxseg").warning("%s: left out %d that can't be read (%s)", title, len(left_out), text)


def _adopt(new: Path, folder: Path, split: str) -> None:
    """Move the one split of ``new`` into ``folder``; the JSON, which names the splits that count, comes last."""
    if not (folder / "dataset_info.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        new.rename(folder)
        return
    for file in new.glob(f"*-{split}.array_record-*"):
        file.replace(folder / file.name)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"] += json.loads((new / "dataset_info.json").read_text())["splits"]
    partial = folder / "dataset_info.json.part"
    partial.write_text(json.dumps(info, indent=2, sort_keys=True))
    partial.replace(folder / "dataset_info.json")
