"""Proposals in samples and batches: they go where the objects go."""

import numpy as np
import pytest

from jaxseg.data import Augment, InMemory, Pad, Propose, Resize, Shapes, eval_batches, train_batches
from jaxseg.data.transforms import apply_warp
from jaxseg.data.warp import Warp, affine
from jaxseg.types import JaxsegError


class TrueBoxes:
    """Proposes, for the picture of a sample, the boxes of its own instances (without masks, which redraw boxes)."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        sample = self.source[index]
        boxes = sample["instances"]["boxes"]
        padded = np.zeros((8, 4), np.float32)
        padded[: len(boxes)] = boxes
        instances = {key: sample["instances"][key] for key in ("boxes", "classes")}
        proposals = {"boxes": padded, "valid": np.arange(8) < len(boxes)}
        return {"image": sample["image"], "instances": instances, "proposals": proposals}


def kept(group):
    """The valid boxes of each row, sorted."""
    return [np.array(sorted(b[v].tolist())).reshape(-1, 4) for b, v in zip(group["boxes"], group["valid"])]


def test_augmented_proposals_are_where_augmented_instances_are():
    source = TrueBoxes(Shapes(length=12))
    augment = Augment((48, 56), scale=(0.8, 1.6), rotate=8)
    lost = 0
    for step, batch in zip(range(4), train_batches(source, augment, batch_size=6, seed=0, max_instances=8)):
        for ours, theirs in zip(kept(batch["proposals"]), kept(batch["instances"]), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=str(step))
            lost += 8 - len(ours)
        assert batch["proposals"]["boxes"].shape == (6, 8, 4)
    assert lost > 0


def test_a_mirror_by_hand():
    sample = TrueBoxes(Shapes())[0]
    sample["proposals"] = {"boxes": np.float32([[2, 3, 10, 20], [60, 0, 64, 5]]), "valid": np.array([True, True])}
    out = apply_warp(sample, Warp(affine(sx=-1, tx=60), (64, 60)))["proposals"]
    np.testing.assert_array_equal(out["boxes"], [[50, 3, 58, 20], [0, 0, 0, 0]])
    np.testing.assert_array_equal(out["valid"], [True, False])


def three(image):
    h, w = image.shape[:2]
    boxes = np.float32([[0, 0, w, h], [1, 1, w / 2, h / 2], [2, 2, 2.5, 30]])
    return boxes, np.float32([1, 3, 2])


def test_a_fixed_number_best_first_and_none_twice():
    asked = []

    def counted(image):
        asked.append((image.dtype, image.shape))
        return three(image)

    sample = Shapes()[0]
    propose = Propose(counted, count=4)
    out = propose(sample)
    np.testing.assert_array_equal(out["proposals"]["boxes"][:2], [[1, 1, 32, 32], [0, 0, 64, 64]])
    np.testing.assert_array_equal(out["proposals"]["valid"], [True, True, False, False])  # one is too thin
    assert propose(out) is out
    assert Propose(three, count=1)(sample)["proposals"]["boxes"].tolist() == [[1, 1, 32, 32]]
    padded = Propose(counted, count=4, after=Pad(size=(80, 90)))(sample)  # of the picture, not of its padding
    np.testing.assert_array_equal(padded["proposals"]["boxes"], out["proposals"]["boxes"])
    assert asked == [(np.uint8, (64, 64, 3))] * 2
    nothing = Propose(lambda image: (np.zeros((0, 4)), np.zeros(0)), count=3)(sample)["proposals"]
    assert not nothing["valid"].any()
    with pytest.raises(JaxsegError, match="count is 0"):
        Propose(count=0)


def test_batches_for_evaluation_and_filling_rows():
    source = InMemory(Shapes("val", length=3), Propose(three, count=5))
    (batch,) = eval_batches(source, Propose(three, count=5, after=Resize((32, 128))), batch_size=4)
    assert batch["proposals"]["valid"].tolist() == [[True, True, False, False, False]] * 3 + [[False] * 5]
    np.testing.assert_allclose(batch["proposals"]["boxes"][0, :2], [[2, 0.5, 64, 16], [0, 0, 128, 32]])
    assert not batch["proposals"]["boxes"][3].any()
