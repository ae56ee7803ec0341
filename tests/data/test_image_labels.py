"""Labels of whole pictures: what they say is what the masks show."""

import numpy as np
import pytest

from jaxseg.data import Augment, MainObject, Present, Resize, Shapes, eval_batches, tight_boxes, train_batches
from jaxseg.types import UNKNOWN, JaxsegError

SOURCE = Shapes("val", size=(48, 48), length=30)


def test_present_says_what_the_label_map_shows():
    classes = ("star", "grass", "disk")
    source = Present(SOURCE, classes)
    for i in range(len(source)):
        shown = {SOURCE.classes[k] for k in np.unique(SOURCE[i]["label"])}
        sample = source[i]
        np.testing.assert_array_equal(sample["category"], [int(name in shown) for name in classes])
        assert set(sample) == {"image", "name", "category"}
    assert 0 < np.mean([source[i]["category"][0] for i in range(30)]) < 1


def test_kept_instances_are_those_of_the_classes():
    source = Present(SOURCE, ("star", "disk"), keep_instances=True)
    for i in range(10):
        here, there = source[i]["instances"], SOURCE[i]["instances"]
        of = [SOURCE.things[c - 1] for c in there["classes"]]
        rows = [n for n, name in enumerate(of) if name in source.classes]
        assert [source.classes[c - 1] for c in here["classes"]] == [of[n] for n in rows]
        np.testing.assert_array_equal(here["boxes"], there["boxes"][rows])
        np.testing.assert_array_equal(here["masks"], there["masks"][rows])
        assert here["flip_pairs"] == there["flip_pairs"]


def test_sources_with_label_maps_alone_or_instances_alone():
    class Part(Shapes):
        keys = ()

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {key: sample[key] for key in ("image", *self.keys)}

    for keys in (("label",), ("instances",)):
        source = Present(type("P", (Part,), {"keys": keys})("val", length=30, size=(48, 48)), ("star", "ring"))
        full = Present(SOURCE, ("star", "ring"))
        same = [np.array_equal(source[i]["category"], full[i]["category"]) for i in range(30)]
        assert np.mean(same) > 0.95  # a sliver of under 12 pixels is in the label map only


def test_the_main_object_is_the_largest():
    source = MainObject(SOURCE)
    assert source.classes == SOURCE.things
    for i in range(10):
        there = SOURCE[i]["instances"]
        n = np.argmax(np.prod(there["boxes"][:, 2:] - there["boxes"][:, :2], axis=1))
        sample = source[i]
        assert sample["category"] == there["classes"][n] - 1
        np.testing.assert_array_equal(sample["instances"]["boxes"], there["boxes"][n : n + 1])
        np.testing.assert_array_equal(sample["instances"]["keypoints"], there["keypoints"][n : n + 1])
    nothing = MainObject(Shapes("val", length=1, count=(0, 0)))[0]
    assert nothing["category"] == UNKNOWN
    assert len(nothing["instances"]["boxes"]) == 0


def test_batches_carry_categories_and_filling_rows_are_unknown():
    one, several = MainObject(SOURCE), Present(SOURCE, ("star", "disk", "grass"))
    last = list(eval_batches(one, Resize((48, 48)), batch_size=20, num_threads=0, max_instances=1))[-1]
    assert last["category"].dtype == np.int32
    np.testing.assert_array_equal(last["category"][:10], [one[i]["category"] for i in range(20, 30)])
    assert (last["category"][10:] == UNKNOWN).all()
    assert not last["instances"]["valid"][10:].any()
    last = list(eval_batches(several, Resize((48, 48)), batch_size=20, num_threads=0))[-1]
    np.testing.assert_array_equal(last["category"][:10], [several[i]["category"] for i in range(20, 30)])
    assert (last["category"][10:] == UNKNOWN).all()
    assert "label" not in last
    assert "instances" not in last


def test_boxes_and_joints_move_with_the_picture():
    source = MainObject(Shapes("train", length=20, count=(1, 1)))
    transform = Augment((64, 64), scale=(0.7, 1.4), rotate=15)
    batch = next(train_batches(source, transform, batch_size=20, seed=0, num_threads=0, max_instances=1))
    instances = batch["instances"]
    seen = instances["valid"][:, 0]
    assert seen.sum() > 15
    np.testing.assert_array_equal(instances["boxes"][seen, 0], tight_boxes(instances["masks"][seen, 0]))
    for mask, points in zip(instances["masks"][seen, 0], instances["keypoints"][seen, 0]):
        for x, y, visible in points[1:]:  # all but the centre, which in a ring is a hole
            near = mask[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
            assert visible == 0 or near.any()


def test_counts_and_classes_are_checked():
    assert {len(Shapes("val", count=(1, 1))[i]["instances"]["classes"]) for i in range(20)} == {1}
    with pytest.raises(JaxsegError, match="count of \\(fewest, most\\)"):
        Shapes(count=(3, 2))
    for classes in ("star", ("sta",), ()):
        with pytest.raises(JaxsegError, match="expected a tuple of grass, water, brick"):
            Present(SOURCE, classes)
