"""Windows side by side: every pixel of every picture counts once, as it is."""

import dataclasses

import numpy as np
import pytest

from jaxseg import config
from jaxseg.data import Folder, Pad, Windows, write_png
from jaxseg.types import VOID, JaxsegError


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Of given sizes; each pixel tells where it is, and its label is never void."""

    sizes: tuple[tuple[int, int], ...]
    classes: tuple[str, ...] = ("a", "b", "c")
    palette = np.zeros((3, 3), np.uint8)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        y, x = np.mgrid[: self.sizes[index][0], : self.sizes[index][1]]
        image = np.stack([y, x, np.full_like(y, index)], -1).astype(np.uint8)
        return {"image": image, "label": ((y + x) % 3).astype(np.uint8), "name": f"p{index}"}


def test_every_pixel_counts_once():
    source = Pictures(((10, 10), (25, 37), (40, 20), (8, 30), (20, 21)))
    windows = Windows(source, (20, 16))
    counts = [np.zeros(size, int) for size in source.sizes]
    for i in range(len(windows)):
        sample = windows[i]
        height, width = sample["label"].shape
        picture = sample["image"][0, 0, 2]
        assert (height, width) == tuple(np.minimum(source.sizes[picture], (20, 16)))
        y, x = sample["image"][..., 0], sample["image"][..., 1]
        counted = sample["label"] != VOID
        np.testing.assert_array_equal(sample["label"][counted], ((y + x) % 3)[counted])
        assert sample["name"] == f"p{picture} {x[0, 0]},{y[0, 0]}"
        counts[picture][y[counted], x[counted]] += 1
    assert all((count == 1).all() for count in counts)
    assert (windows.classes, len(windows)) == (source.classes, 1 + 2 * 3 + 2 * 2 + 1 * 2 + 1 * 2)
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_pictures_are_not_written_into():
    source = Pictures(((25, 37),))
    kept = [source[0]]
    kept_source = dataclasses.make_dataclass("Kept", ["sizes"], namespace={"__getitem__": lambda self, i: kept[i]})
    windows = Windows(kept_source(source.sizes), (20, 16))
    for i in range(len(windows)):
        _ = windows[i]
    np.testing.assert_array_equal(kept[0]["label"], source[0]["label"])


def test_a_folder_of_large_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("a", "b"):
            write_png(tmp_path / split / "images" / f"{name}.png", rng.integers(0, 256, (70, 90, 3), np.uint8))
            write_png(tmp_path / split / "masks" / f"{name}.png", rng.integers(0, 2, (70, 90), np.uint8))
    e = config.load_config("semantic_folder", ["--fast", "--window", "64", "--root", str(tmp_path)])
    assert isinstance(e.data.val.source, Folder)
    assert e.data.val.source.sizes.tolist() == [[70, 90]] * 2
    assert len(e.data.val) == 8
    assert e.data.prepare == Pad((64, 64))
    assert e.data.augment(e.data.train[0], rng)["image"].shape == (64, 64, 3)


def test_no_size_at_all_is_refused():
    with pytest.raises(JaxsegError, match=r"Windows.size is \(0, 16\)"):
        Windows(Pictures(((10, 10),)), (0, 16))
