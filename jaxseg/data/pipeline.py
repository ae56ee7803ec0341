"""Sources to batches: by Grain, reproducible from ``(seed, step)`` and from nothing else.

Step ``s`` holds positions ``s*B .. s*B + B - 1`` of an endless list of samples: the source in a new order
each epoch, one epoch after another (so a batch may span two, and may be larger than the source). What is at
a position, and how it is augmented, follows from the seed and the position. Hence the batches are the same
for any number of threads, a run resumes at any step without saved state, and P processes, each reading its
own B/P consecutive positions, together see exactly the batch that one process would see.

Where the transform makes pictures of several sizes (:class:`jaxseg.data.ByAspect`) each batch is of one of them.
"""

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import cv2
import grain
import numpy as np

from jaxseg.data.instances import pad_instances
from jaxseg.data.photometric import to_float
from jaxseg.data.transforms import ByAspect, sizes_of
from jaxseg.types import UNKNOWN, VOID, Batch, JaxsegError

Sample = dict[str, Any]
Transform = Callable[[Sample, np.random.Generator], Sample]
PREFETCH = 4  # batches read ahead, beside the one each thread is at work on
_KEYS = ("image", "size", "valid", "label", "category")
_EVAL_KEYS = ("index", "original", "matrix")
_GROUPS = ("instances", "proposals")  # dictionaries of arrays


class Source(Protocol):
    """What samples come from: :class:`jaxseg.data.Shapes`, :class:`jaxseg.data.Folder`, your own."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


def train_batches(
    source: Source,
    transform: Transform | None,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    num_threads: int = 4,
    process_index: int = 0,
    process_count: int = 1,
    max_instances: int | None = None,
    mask_side: int | None = None,
) -> Iterator[Batch]:
    """Endless training batches, the first of them that of ``start_step``.

    Args:
        source: the samples. The order is drawn anew each epoch; no sample comes twice before all have come
            once (with :class:`jaxseg.data.ByAspect` but those that fill up the last batch of a size).
        transform: ``(sample, rng) -> sample``, its images all of one size (:class:`jaxseg.data.Augment`), or
            :class:`jaxseg.data.ByAspect`.
        batch_size: B of all processes together; ``process_count`` must divide it. It may exceed the source.
        seed: of order and augmentation.
        start_step: step to begin with; the batches are those an uninterrupted run would see from there on.
        num_threads: reading threads; 0 reads in the caller's. At most ``PREFETCH + num_threads`` batches
            lie ready.
        process_index, process_count: which consecutive B/P rows of each batch to read.
        max_instances: N to pad instances to (the largest are kept if there are more). None: no instances.
        mask_side: M for box-relative instance masks [B, N, M, M] float32; None keeps them whole, bool.

    Returns:
        An iterator of numpy batches: ``image`` [B/P, H, W, 3] float32, ``size`` [B/P, 2] int32, ``valid``
        [B/P] bool, and what the samples have of ``label`` [B/P, H, W], ``category`` [B/P] or [B/P, K],
        ``instances`` and ``proposals``.

    Raises:
        JaxsegError: empty source, sizes that do not divide, or, while iterating, a sample that cannot be
            read or does not fit; the message names it.
    """
    rows = _rows_of_process(source, batch_size, process_index, process_count)
    groups = _groups(source, transform)
    # The orders of a few epochs are kept: a batch may span two, and threads read ahead.
    order = functools.lru_cache(maxsize=4)(functools.partial(_order, seed, groups, batch_size))
    count = len(order(0))

    def read(position: int) -> Sample:
        epoch, place = divmod(position, count)
        index = int(order(epoch)[place])
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1, position])))
        return _read(source, transform, index, rng, max_instances, mask_side)

    def positions(local: int) -> int:
        step, row = divmod(local, len(rows))
        return step * batch_size + rows.start + row

    endless = grain.MapDataset.range(start_step * len(rows), 2**62)
    return _batches(endless.map(lambda i: read(positions(int(i)))), len(rows), num_threads, _KEYS)


def eval_batches(
    source: Source,
    transform: Transform | None,
    *,
    batch_size: int,
    num_threads: int = 4,
    process_index: int = 0,
    process_count: int = 1,
    max_instances: int | None = None,
    mask_side: int | None = None,
) -> Iterator[Batch]:
    """Every sample once, in order (with :class:`jaxseg.data.ByAspect` one size after another). Arguments as in
    :func:`train_batches`.

    The last batch (of a size) is filled up with rows whose ``valid`` is False, whose image is 0 and whose labels are
    void; all processes get equally many batches. Beside the keys of training a batch holds ``index`` [B/P]
    int32, the place in the source (-1 in filling rows), ``original`` [B/P, 2] int32 and ``matrix`` [B/P, 2,
    3] float32 where the transform gives them (:mod:`jaxseg.data.transforms`). The transform is called with
    a generator of seed 0.
    """
    rows = _rows_of_process(source, batch_size, process_index, process_count)
    groups = _groups(source, transform)
    order, fills = _filled([np.flatnonzero(groups == g) for g in np.unique(groups)], batch_size)

    def read(local: int) -> Sample:
        step, row = divmod(local, len(rows))
        place = step * batch_size + rows.start + row
        index = int(order[place])
        # A filling row is made of a sample, so that it has every key and shape; then it is blanked.
        sample = _read(source, transform, index, np.random.default_rng([0, index]), max_instances, mask_side)
        sample["index"] = np.int32(-1 if fills[place] else index)
        return _blank(sample) if fills[place] else sample

    finite = grain.MapDataset.range(0, len(order) // batch_size * len(rows))
    return _batches(finite.map(lambda i: read(int(i))), len(rows), num_threads, _KEYS + _EVAL_KEYS)


def prefetch_to_device(batches: Iterator[Any], put: Callable[[Any], Any], size: int = 2) -> Iterator[Any]:
    """Keep ``size`` batches on their way: ``put`` (say ``jax.device_put``, or a jitted function) returns at once.

    Yields what ``put`` returns, in order. ``size`` batches live on the device beside the one in use.
    """
    queue: collections.deque[Any] = collections.deque()
    for batch in batches:
        queue.append(put(batch))
        if len(queue) > size:
            yield queue.popleft()
    while queue:
        yield queue.popleft()


def _rows_of_process(source: Source, batch_size: int, process_index: int, process_count: int) -> range:
    """Rows of the whole batch that this process reads."""
    if len(source) == 0:
        raise JaxsegError("the source has no samples; check its folder, split or length")
    if batch_size < 1 or batch_size % process_count:
        raise JaxsegError(
            f"batch_size {batch_size} cannot be shared evenly by {process_count} process(es); "
            f"make it a multiple of {process_count}"
        )
    if not 0 <= process_index < process_count:
        raise JaxsegError(f"process_index {process_index} is not one of the {process_count} process(es)")
    share = batch_size // process_count
    return range(process_index * share, (process_index + 1) * share)


def _groups(source: Source, transform: Transform | None) -> np.ndarray:
    """Which samples may share a batch: for each the number of its group."""
    if not isinstance(transform, ByAspect):
        return np.zeros(len(source), np.int64)
    return np.array([transform.choose((int(h), int(w))) for h, w in sizes_of(source)])


def _order(seed: int, groups: np.ndarray, batch_size: int, epoch: int) -> np.ndarray:
    """The order of one epoch. Of several groups each fills whole batches, some of its samples twice if need be."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0, epoch])))
    order = rng.permutation(len(groups)).astype(np.int64)
    kinds = np.unique(groups)
    if len(kinds) == 1:
        return order
    batches = _filled([order[groups[order] == g] for g in kinds], batch_size)[0].reshape(-1, batch_size)
    return batches[rng.permutation(len(batches))].ravel()


def _filled(parts: Sequence[np.ndarray], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts one after another, each made a multiple of the batch by its own first ones; and which those are."""
    fills = [-len(part) % batch_size for part in parts]
    order = [x for part, fill in zip(parts, fills) for x in (part, np.resize(part, fill))]
    return np.concatenate(order), np.repeat([False, True] * len(parts), [len(x) for x in order])


def _read(
    source: Source,
    transform: Transform | None,
    index: int,
    rng: np.random.Generator,
    max_instances: int | None,
    mask_side: int | None,
) -> Sample:
    """One row of a batch. Whatever goes wrong becomes a JaxsegError that names the sample."""
    name = f"sample {index} of {type(source).__name__}"
    try:
        sample = dict(source[index])
        name = sample.get("name", name)
        if max_instances is None:
            sample.pop("instances", None)  # nobody will see them: do not spend time on warping them
        if transform is not None:
            sample = transform(sample, rng)
        row = {
            "image": to_float(sample["image"]),
            "size": np.asarray(sample.get("size", sample["image"].shape[:2]), np.int32),
            "valid": np.bool_(True),
        }
        row |= {k: sample[k] for k in ("label", "category", "original", "matrix") if k in sample}
        if "label" in row and row["label"].shape != row["image"].shape[:2]:
            raise ValueError(f"label map {row['label'].shape} for an image {row['image'].shape[:2]}")
        if max_instances is not None and "instances" in sample:
            row["instances"] = pad_instances(sample["instances"], max_instances, mask_side=mask_side)
        if "proposals" in sample:
            row["proposals"] = sample["proposals"]
        return {**row, "name": name}
    except JaxsegError:
        raise
    except Exception as error:
        raise JaxsegError(f"{name}: {type(error).__name__}: {error}; mend or remove this sample") from error


def _blank(row: Sample) -> Sample:
    """The row as filling: image and instances 0, labels void, category unknown, not valid."""
    blank: Sample = {k: np.zeros_like(v) for k, v in row.items() if isinstance(v, np.ndarray | np.generic)}
    blank |= {"name": row["name"], "index": row["index"]}
    for group in _GROUPS:
        if group in row:
            blank[group] = {k: np.zeros_like(v) for k, v in row[group].items()}
    if "label" in row:
        blank["label"] = np.full_like(row["label"], VOID)
    if "category" in row:
        blank["category"] = np.full_like(row["category"], UNKNOWN)
    return blank


def _stack(rows: Sequence[Sample], keys: tuple[str, ...]) -> Batch:
    """Rows to one batch; sizes must agree."""
    for row in rows[1:]:
        if row["image"].shape != rows[0]["image"].shape:
            a, b = (" x ".join(map(str, r["image"].shape[:2])) for r in (rows[0], row))
            raise JaxsegError(
                f"{row['name']}: {b} pixels, but {rows[0]['name']} in the same batch has {a}; "
                "give a transform of fixed size (Augment or Resize), or batch_size=1"
            )
    batch: Batch = {k: np.stack([row[k] for row in rows]) for k in keys if k in rows[0]}
    for group in _GROUPS:
        if group in rows[0]:
            batch[group] = {k: np.stack([row[group][k] for row in rows]) for k in rows[0][group]}
    return batch


def _batches(rows: grain.MapDataset, size: int, num_threads: int, keys: tuple[str, ...]) -> Iterator[Batch]:
    """Batch (before the threads, so that their number changes nothing) and iterate."""
    cv2.setNumThreads(0)  # Grain's threads already use the cores
    batched = rows.batch(size, batch_fn=functools.partial(_stack, keys=keys))
    return _mended(iter(batched.to_iter_dataset(grain.ReadOptions(num_threads, PREFETCH if num_threads else 0))))


def _mended(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Grain wraps exceptions or hangs notes on them: give the user ours, on one line."""
    try:
        yield from batches
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, JaxsegError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise JaxsegError(str(cause)) from cause.__cause__
