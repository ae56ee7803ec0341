"""Instances on a picture: marks where they belong, and every name to be read."""

import numpy as np
import pytest

from jaxseg import viz

GREY = np.full((240, 320, 3), 120, np.uint8)
MIDDLE = [100.0, 100, 180, 180]


def test_a_box_and_a_mask_lie_where_they_are():
    mask = np.zeros((1, 240, 320), bool)
    mask[0, 120:160, 110:170] = True
    picture = viz.draw_instances(GREY, np.array([MIDDLE]), mask)
    changed = (picture != GREY).any(-1)
    rows, columns = np.nonzero(changed)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (100, 179, 100, 179)
    assert changed[120:160, 110:170].all()
    assert not changed[102:118, 102:178].any()
    twice = viz.draw_instances(GREY, np.array([MIDDLE]), mask, width=640)
    rows, columns = np.nonzero((twice != 120).any(-1))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (200, 359, 200, 359)


def names_on(boxes, names):
    """Pixels that names change."""
    boxes = np.array(boxes)
    return (viz.draw_instances(GREY, boxes, names=names) != viz.draw_instances(GREY, boxes)).any(-1)


@pytest.mark.parametrize("corner", [(290, 100), (100, 0), (-20, 235), (319, 239)])
def test_names_are_moved_into_the_picture(corner):
    whole = names_on([MIDDLE], ["a small grey triangle"])
    moved = names_on([[*corner, corner[0] + 5, corner[1] + 5]], ["a small grey triangle"])
    assert abs(moved.sum() - whole.sum()) < 60  # but for what changes where the box's own line was


def test_names_do_not_hide_each_other():
    names = ["a large green star", "a large yellow star", "a medium star", "a ring"]
    alone = [names_on([MIDDLE], [name]).sum() for name in names]
    together = names_on([MIDDLE, [110.0, 100, 180, 180], [100.0, 108, 180, 180], [90.0, 98, 180, 180]], names)
    assert abs(together.sum() - sum(alone)) < 200
    assert (names_on([MIDDLE] * 2, names[:2]).any(1)).sum() > 1.8 * names_on([MIDDLE], names[:1]).any(1).sum()


def test_many_are_not_named():
    assert not names_on([MIDDLE] * 31, ["star"] * 31).any()


def test_letters_and_lines_grow_with_the_picture():
    large = np.full((2400, 3200, 3), 120, np.uint8)
    box = np.array([[1000.0, 1000, 1800, 1800]])
    plain, named = viz.draw_instances(large, box), viz.draw_instances(large, box, names=["star"])
    letters = np.nonzero((named != plain).any((1, 2)))[0]
    assert 30 < np.ptp(letters) < 80
    assert (plain[1400, 1000:1010] != 120).any(-1).sum() == 6
    legend = viz.with_legend(large, ("sky",), np.zeros((1, 3), np.uint8))
    assert 60 < len(legend) - len(large) < 120


def test_points_that_are_seen_are_dots():
    points = np.array([[[120.0, 130, 1], [150.0, 130, 0]]])
    changed = (viz.draw_instances(GREY, np.zeros((1, 4)), keypoints=points) != GREY).any(-1)
    rows, columns = np.nonzero(changed)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [120, 130], atol=0.6)
    assert np.ptp(columns) < 12
