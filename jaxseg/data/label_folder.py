"""A folder of images and one of masks of which nothing else is known: what classes they seem to have."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxseg.data.folder import Folder
from jaxseg.data.images import read_mask
from jaxseg.data.survey import THREADS, Problem
from jaxseg.progress import progress
from jaxseg.types import VOID, JaxsegError

_MANY = 64  # classes; more are seldom meant
_SUFFIXES = ("", "_mask", "_label", "_labels", "_seg", "_L", "_gt", "_labelIds")


def label_folder(images: Path, masks: Path, classes: Sequence[str] = ()) -> tuple[Folder, list[Problem]]:
    """The folders as a source whose classes are those named, else as many as the masks' values tell; and what is wrong
    with the values.

    Raises JaxsegError as :class:`jaxseg.data.Folder` does on looking for the files.
    """
    suffix = _suffix(images, masks)
    found = Folder(images, masks, tuple(classes) or ("?",), mask_suffix=suffix)
    if classes:
        return found, []
    values: set[int] = set()
    black_and_white = []
    paths = [mask for _, mask in found.files]
    with progress(f"masks of {masks.parent.name}", len(paths), "masks") as show, ThreadPoolExecutor(THREADS) as threads:
        for done, (path, own) in enumerate(zip(paths, threads.map(_values, paths)), 1):
            values |= own
            black_and_white += [path.name] * (own == {0, 255})
            show(done)
    if values <= {0, VOID} and VOID in values:
        mend = "divide them by 255, or give Folder(..., color_map={0: 0, 255: 1}), or 255 counts as void"
        problem = Problem("the masks hold 0 and 255 only, black and white", mend, tuple(black_and_white))
        return Folder(images, masks, ("black", "white"), color_map={0: 0, VOID: 1}, mask_suffix=suffix), [problem]
    used = sorted(values - {VOID})
    count = (used or [0])[-1] + 1
    problems = []
    if count > _MANY:
        text = f"the masks hold {len(used)} values from {used[0]} to {used[-1]}"
        mend = "are they class numbers, from 0 on? Map others by Folder(..., color_map={value: class}), or --classes"
        problems.append(Problem(text, mend))
    names = tuple(f"class {k}" for k in range(count))
    return Folder(images, masks, names, mask_suffix=suffix), problems


def _suffix(images: Path, masks: Path) -> str:
    """What the masks' names have after the images'."""
    for suffix in _SUFFIXES:
        try:
            _ = Folder(images, masks, ("?",), mask_suffix=suffix).files
        except JaxsegError:
            continue
        return suffix
    return ""


def _values(path: Path) -> set[int]:
    try:
        return {int(v) for v in np.unique(read_mask(path))}
    except JaxsegError:  # told when its sample is read
        return set()
