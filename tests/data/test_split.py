"""Splits: nothing is in both parts, nothing is lost, and nothing is read before it is asked for."""

import copy
import pickle

import numpy as np
import pytest

from jaxseg.data import Folder, Shapes, Subset, WithBackground, panoptic_truth, split
from jaxseg.types import JaxsegError


def names(part):
    return [part[i]["name"] for i in range(len(part))]


def test_the_parts_share_nothing_and_are_drawn_by_the_seed():
    source = Shapes(length=20)
    first, rest = split(source, 0.75)
    assert (len(first), len(rest)) == (15, 5)
    assert sorted(names(first) + names(rest)) == sorted(names(source))
    assert names(split(source, 0.75)[1]) == names(rest)
    assert names(split(source, 0.75, seed=1)[1]) != names(rest)


def test_files_are_looked_for_when_a_sample_is_asked_for(tmp_path):
    first, rest = split(Folder(tmp_path / "images", tmp_path / "masks", ("a", "b")), 0.5)
    assert first.classes == rest.classes == ("a", "b")
    assert rest.palette.shape == (2, 3)
    with pytest.raises(JaxsegError, match="no such folder of images"):
        first[0]


@pytest.mark.parametrize("source", [Shapes(length=6), WithBackground(Shapes(length=6))])
def test_parts_know_what_their_source_knows_of_its_classes(source):
    for part, indices in (
        (Subset(source, (4, 1)), (4, 1)),
        (split(source, 0.5)[1], split(source, 0.5)[1].samples.indices),
    ):
        for twin in (part, copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
            assert (twin.classes, twin.things, twin.stuff) == (source.classes, source.things, source.stuff)
            np.testing.assert_array_equal(twin.palette, source.palette)
            assert getattr(twin, "keypoint_names", None) == getattr(source, "keypoint_names", None)
            assert not hasattr(twin, "image_ids")
            assert len(twin.sizes) == len(indices)
            for n, place in enumerate(indices):
                ours, theirs = panoptic_truth(twin, n), panoptic_truth(source, place)
                np.testing.assert_array_equal(ours.ids, theirs.ids)
                assert (ours.classes, ours.crowd) == (theirs.classes, theirs.crowd)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 1.0, 2.0])
def test_an_empty_part_is_refused(fraction):
    with pytest.raises(JaxsegError, match="both parts need at least one"):
        len(split(Shapes(length=10), fraction)[0])
