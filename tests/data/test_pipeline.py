"""Batches follow from (seed, step) alone."""

import itertools
import threading

import jax
import numpy as np
import pytest

from jaxseg.data import (
    Augment,
    ByAspect,
    InMemory,
    Pad,
    Resize,
    Shapes,
    Subset,
    eval_batches,
    prefetch_to_device,
    train_batches,
)
from jaxseg.data.pipeline import PREFETCH
from jaxseg.types import VOID, JaxsegError

AUGMENT = Augment(size=(48, 64), scale=(0.7, 1.4), rotate=10, elastic=2, brightness=0.2, hue=0.1, noise=0.01)
SOURCE = Shapes(length=25)


class Numbered:
    """Sample i is an image filled with i; reads are counted."""

    def __init__(self, count, size=(4, 5), fails_at=None, error=None):
        self.count, self.size, self.fails_at, self.error = count, size, fails_at, error
        self.reads, self.lock = 0, threading.Lock()

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        with self.lock:
            self.reads += 1
        if i == self.fails_at:
            raise self.error
        return {
            "image": np.full((*self.size, 3), i % 256, np.uint8),
            "label": np.full(self.size, i % 256, np.uint8),
        }


def take(batches, count):
    return list(itertools.islice(batches, count))


def numbers(batch):
    return batch["label"][:, 0, 0].tolist()


def train(source=SOURCE, transform=AUGMENT, **options):
    options = {"batch_size": 8, "seed": 3, "max_instances": 6, **options}
    return train_batches(source, transform, **options)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def uninterrupted():
    return take(train(num_threads=0), 8)


def test_keys_shapes_and_types(uninterrupted):
    batch = uninterrupted[0]
    assert set(batch) == {"image", "size", "valid", "label", "instances"}
    assert batch["image"].shape == (8, 48, 64, 3)
    assert batch["image"].dtype == np.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["label"].shape == (8, 48, 64)
    assert batch["label"].dtype == np.uint8
    assert batch["size"].dtype == np.int32
    assert batch["size"].tolist() == [[48, 64]] * 8
    assert batch["valid"].dtype == bool
    assert batch["valid"].all()
    found = {k: (v.shape, str(v.dtype)) for k, v in batch["instances"].items()}
    assert found == {
        "boxes": ((8, 6, 4), "float32"),
        "classes": ((8, 6), "int32"),
        "masks": ((8, 6, 48, 64), "bool"),
        "keypoints": ((8, 6, 4, 3), "float32"),
        "valid": ((8, 6), "bool"),
    }
    assert batch["instances"]["valid"].any()


@pytest.mark.parametrize("threads", [1, 4])
def test_the_same_for_any_number_of_threads(uninterrupted, threads):
    assert_same(uninterrupted, take(train(num_threads=threads), 8))


@pytest.mark.parametrize("step", [1, 3, 7])
def test_resumes_at_any_step(uninterrupted, step):
    assert_same(uninterrupted[step:], take(train(start_step=step, num_threads=2), 8 - step))


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_see_the_batch_of_one(uninterrupted, processes):
    shares = [take(train(process_index=p, process_count=processes), 4) for p in range(processes)]
    together = jax.tree.map(lambda *rows: np.concatenate(rows), *shares)
    assert_same(uninterrupted[:4], together)


def test_another_seed_gives_other_batches(uninterrupted):
    assert not np.array_equal(take(train(seed=4), 1)[0]["image"], uninterrupted[0]["image"])


def test_every_epoch_holds_every_sample_once_in_a_new_order():
    batches = take(train_batches(Numbered(10), None, batch_size=5, seed=0), 6)
    epochs = [numbers(batches[2 * e]) + numbers(batches[2 * e + 1]) for e in range(3)]
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_may_exceed_the_source():
    batch = next(train_batches(Numbered(3), None, batch_size=7, seed=0))
    seen = numbers(batch)
    assert sorted(seen[:3]) == sorted(seen[3:6]) == [0, 1, 2]


def test_augmentation_differs_between_epochs():
    source = Shapes(length=1)
    a, b = take(train_batches(source, AUGMENT, batch_size=1, seed=0), 2)
    assert not np.array_equal(a["image"], b["image"])


def test_evaluation_sees_every_sample_once_in_order():
    batches = list(eval_batches(Numbered(10), None, batch_size=4))
    assert [b["valid"].tolist() for b in batches] == [[True] * 4] * 2 + [[True, True, False, False]]
    assert [i for b in batches for i in b["index"].tolist()] == [*range(10), -1, -1]
    last = batches[-1]
    assert numbers(last) == [8, 9, VOID, VOID]
    assert not last["image"][2:].any()
    assert last["size"][2:].tolist() == [[0, 0], [0, 0]]


def test_evaluation_gives_all_processes_equally_many_batches():
    shares = [list(eval_batches(Numbered(9), None, batch_size=4, process_index=p, process_count=4)) for p in range(4)]
    assert [len(s) for s in shares] == [3] * 4
    assert [i for step in zip(*shares) for b in step for i in b["index"].tolist()] == [*range(9), -1, -1, -1]


def test_evaluation_tells_the_way_back_and_blanks_instances():
    source = Shapes(length=3, size=(64, 80))
    batch = list(eval_batches(source, Resize((64, 64), mode="pad"), batch_size=2, max_instances=5, mask_side=14))[-1]
    assert batch["original"].tolist() == [[64, 80], [0, 0]]
    assert batch["size"].tolist() == [[51, 64], [0, 0]]
    np.testing.assert_allclose(batch["matrix"][0], [[0.8, 0, 0], [0, 51 / 64, 0]], rtol=1e-6)
    assert batch["instances"]["masks"].shape == (2, 5, 14, 14)
    assert batch["instances"]["valid"][0].any()
    assert not batch["instances"]["valid"][1].any()


def test_without_max_instances_there_are_none():
    assert "instances" not in next(train(max_instances=None))


@pytest.mark.parametrize("threads", [0, 4])
def test_a_failing_sample_is_named(threads):
    mine = JaxsegError("b.png: truncated; download it again")
    with pytest.raises(JaxsegError, match=r"^b\.png: truncated"):
        list(eval_batches(Numbered(6, fails_at=3, error=mine), None, batch_size=2, num_threads=threads))
    other = Numbered(6, fails_at=3, error=RuntimeError("disk on fire"))
    with pytest.raises(JaxsegError, match=r"sample 3 of Numbered: RuntimeError: disk on fire"):
        list(eval_batches(other, None, batch_size=2, num_threads=threads))


def test_sizes_that_differ_are_named_with_the_mend():
    class Mixed(Numbered):
        def __getitem__(self, i):
            return {"image": np.zeros((4, 4 + i, 3), np.uint8), "name": f"{i}.jpg"}

    with pytest.raises(JaxsegError, match=r"1\.jpg: 4 x 5 pixels, but 0\.jpg .* 4 x 4; .*Resize"):
        list(eval_batches(Mixed(2), None, batch_size=2))
    assert next(eval_batches(Mixed(2), Pad(size=(8, 8)), batch_size=2))["size"].tolist() == [[4, 4], [4, 5]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 3, "process_count": 2}, "multiple of 2"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"process_index": 1, "process_count": 1}, "process_index 1"),
    ],
)
def test_mistakes_are_told_at_the_call(options, message):
    with pytest.raises(JaxsegError, match=message):
        train(**options)


def test_an_empty_source_is_told_at_the_call():
    with pytest.raises(JaxsegError, match="no samples"):
        train_batches(Numbered(0), None, batch_size=1, seed=0)


def test_reads_no_more_than_a_few_batches_ahead():
    source, threads = Numbered(1000), 2
    batches = train_batches(source, None, batch_size=4, seed=0, num_threads=threads)
    next(batches)
    threading.Event().wait(0.3)  # as long as the threads may want to run ahead
    assert source.reads <= 4 * (PREFETCH + threads + 2)


def test_prefetch_keeps_order_and_runs_ahead():
    put = []
    ahead = prefetch_to_device(iter(range(6)), lambda x: put.append(x) or -x, size=2)
    assert next(ahead) == 0
    assert put == [0, 1, 2]
    assert list(ahead) == [-1, -2, -3, -4, -5]


class Mixed(Numbered):
    """Wide, tall and square pictures: 6, 3 and 4 of them."""

    shapes = ((4, 8),) * 6 + ((9, 4),) * 3 + ((5, 5),) * 4

    def __init__(self):
        super().__init__(13)

    def __getitem__(self, i):
        return {
            key: np.resize(value, (*self.shapes[i], *value.shape[2:])) for key, value in super().__getitem__(i).items()
        }


BUCKETS = ByAspect(tuple(Resize(size, mode="pad") for size in ((8, 16), (16, 8), (12, 12))))


def mixed():
    source = Mixed()
    return source, [BUCKETS.choose(shape) for shape in source.shapes]


def test_each_batch_is_of_one_canvas_and_an_epoch_holds_every_sample():
    source, groups = mixed()
    assert groups == [0] * 6 + [1] * 3 + [2] * 4
    batches = take(train_batches(source, BUCKETS, batch_size=2, seed=0), 21)
    epochs = [batches[i : i + 7] for i in (0, 7, 14)]
    for epoch in epochs:
        for batch in epoch:
            seen = numbers(batch)
            assert batch["image"].shape[1:3] == BUCKETS.transforms[groups[seen[0]]].size
            assert len({groups[i] for i in seen}) == 1
        seen = [i for batch in epoch for i in numbers(batch)]
        assert set(seen) == set(range(13))
        assert len(seen) == 14  # one of the three tall ones comes twice
    assert [numbers(b) for b in epochs[0]] != [numbers(b) for b in epochs[1]]


def test_canvases_are_the_same_for_a_resumed_run_and_several_processes():
    source, _ = mixed()
    whole = take(train_batches(source, BUCKETS, batch_size=2, seed=0), 12)
    for step in (5, 9):
        assert_same(next(train_batches(source, BUCKETS, batch_size=2, seed=0, start_step=step)), whole[step])
    half = {"batch_size": 2, "seed": 0, "process_count": 2}
    shares = [take(train_batches(source, BUCKETS, **half, process_index=p), 12) for p in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert_same(batch["image"], np.concatenate([part["image"] for part in parts]))


def test_evaluation_sees_every_sample_of_every_canvas_once():
    source, _ = mixed()
    batches = list(eval_batches(source, BUCKETS, batch_size=4))
    assert [b["image"].shape[1:3] for b in batches] == [(8, 16)] * 2 + [(16, 8), (12, 12)]
    assert [i for b in batches for i in b["index"].tolist()] == [*range(6), -1, -1, 6, 7, 8, -1, *range(9, 13)]
    for batch in batches:
        np.testing.assert_array_equal(batch["valid"], batch["index"] >= 0)
        assert [i for i in numbers(batch) if i != VOID] == batch["index"][batch["valid"]].tolist()


def test_sizes_are_those_that_the_source_tells():
    source, _ = mixed()
    source.sizes = np.array(source.shapes)
    subset = Subset(InMemory(source), (0, 7, 9))
    assert subset.sizes.tolist() == [[4, 8], [9, 4], [5, 5]]
    assert source.reads == 0
    assert InMemory(source, Resize((3, 2))).sizes.tolist() == [[3, 2]] * 13
    with pytest.raises(JaxsegError, match="fixed size"):
        ByAspect((Pad(multiple=4),))
