"""Examples written as a TFDS data set: ArrayRecord, split by split, without TensorFlow."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetIdentity

from jaxseg.progress import progress
from jaxseg.types import JaxsegError

EXAMPLES_PER_FILE = 2000
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
    """The splits of a data set's version that are there.

    Raises JaxsegError: a damaged ``dataset_info.json``, or one of TFDS's own in another format.
    """
    path = folder / "dataset_info.json"
    if not path.exists():
        return []
    try:
        info = json.loads(path.read_text())
        splits, kind = [split["name"] for split in info["splits"]], info.get("fileFormat", "tfrecord")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JaxsegError(f"{path} is damaged ({error}); remove the folder {folder} and prepare it again") from error
    if kind != "array_record":
        raise JaxsegError(
            f"{folder} has been prepared as {kind}, expected array_record, which is read without TensorFlow; move that "
            "folder away, or choose another data folder by --data-dir"
        )
    return splits


def write(name: str, version: str, split: str, contents: Contents, data_dir: Path) -> int:
    """Write one split of ``DATA_DIR/NAME/VERSION``, beside those that are there; gives the number of examples.

    It appears whole or not at all: what a killed process leaves is removed by the next. Examples are in an order drawn
    by a fixed seed, so that a part of the split (``train[:10%]``) is one of all kinds.
    """
    scratch, folder = data_dir / f".{name}.part", data_dir / name / version
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    identity = DatasetIdentity(
        name=name, version=tfds.core.Version(version), data_dir=os.fspath(scratch), module_name=__name__
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=tfds.features.FeaturesDict(dict(contents.features)),
        metadata=tfds.core.MetadataDict(contents.metadata) if contents.metadata else None,
    )
    # TFDS's builder would write every example twice, to shuffle them; its writer takes them in the order they come.
    writer = tfds.core.SequentialWriter(info, EXAMPLES_PER_FILE, file_format="array_record")
    writer.initialize_splits([split])
    try:
        for example in _examples(f"{name} {split}", contents):
            writer.add_examples({split: [example]})
        writer.close_all()
    except RuntimeError as error:  # of the writer of records, which is not Python and has no OSError
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, "No space left on device", os.fspath(data_dir)) from error
        raise
    _adopt(scratch, folder, split)
    shutil.rmtree(scratch, ignore_errors=True)
    return info.splits[split].num_examples


@contextlib.contextmanager
def locked(data_dir: Path, name: str) -> Iterator[None]:
    """One process at a time prepares what is called ``name``; another waits."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / f".{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _examples(title: str, contents: Contents) -> Iterator[dict[str, Any]]:
    left_out = []
    order = np.random.default_rng(0).permutation(len(contents.keys))
    with progress(title, len(order), "examples") as show:
        for done, place in enumerate(order.tolist(), 1):
            example = contents.make(contents.keys[place])
            if example is None:
                left_out.append(str(contents.keys[place]))
            else:
                yield example
            show(done)
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
