"""Marks lie where they should, at the picture's scale."""

import numpy as np

from jaxseg import viz

GREY = np.full((32, 64, 3), 0.5, np.float32)


def test_boxes_and_points_are_drawn_at_scale():
    red, white = (255, 0, 0), (255, 255, 255)
    picture = viz.annotate(GREY, boxes=[((8, 4, 40, 28), red)], points=[((20, 16), white)], width=256)
    assert picture.shape == (128, 256, 3)
    rows, columns = np.nonzero((picture == red).all(-1))
    assert (columns.min(), columns.max()) == (8 * 4 + 1, 40 * 4 - 2)
    assert (rows.min(), rows.max()) == (4 * 4 + 1, 28 * 4 - 2)
    rows, columns = np.nonzero((picture == white).all(-1))
    np.testing.assert_allclose([columns.mean(), rows.mean()], [80, 64], atol=1)
    plain = viz.annotate(GREY, boxes=[((5, 5, 5, 9), red), ((0, 0, 0, 0), red)], width=256)
    assert (plain == plain[0, 0]).all()  # empty boxes leave no mark


def test_text_stands_below():
    plain, named = viz.annotate(GREY, width=128), viz.annotate(GREY, text="a star", width=128)
    np.testing.assert_array_equal(named[: len(plain)], plain)
    assert (named[len(plain) :] < 100).any()


def test_a_heat_map_is_warm_where_the_values_are_high():
    values = np.full((4, 8), -1.0)
    values[1, 6] = 3
    picture = viz.heat_map(GREY, values, alpha=1.0).astype(int)
    warmth = picture[..., 0] - picture[..., 2]
    y, x = np.unravel_index(warmth.argmax(), warmth.shape)
    assert (y // 8, x // 8) == (1, 6)
    assert (warmth[:, :32] < 0).all()
    np.testing.assert_array_equal(viz.heat_map(GREY, -values * 0 - 1)[0, 0], viz.heat_map(GREY, values * 0)[0, 0])
    np.testing.assert_array_equal(viz.heat_map(GREY, values, alpha=0.0), np.full((32, 64, 3), 128))


def test_a_sheet_takes_pictures_beside_the_image():
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[..., 1] = 200
    sheet = viz.contact_sheet([{"image": GREY, "where": picture}], ())
    assert (sheet == (0, 200, 0)).all(-1).sum() >= 240 * 120
