import numpy as np

from jaxseg import viz
from jaxseg.viz.overlay import _overlay


def test_default_palette_is_vocs():
    expected = [(128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128)]
    np.testing.assert_array_equal(viz.default_palette(7), expected)
    assert len({tuple(c) for c in viz.default_palette(100)}) == 100


def test_overlay_mixes_and_leaves_void():
    image = np.full((4, 6, 3), 100, np.uint8)
    label = np.zeros((4, 6), np.uint8)
    label[:, 3:] = 255
    out = viz.overlay(image, label, np.array([[200, 0, 0]], np.uint8), alpha=0.5)
    np.testing.assert_array_equal(out[1, 1], [150, 50, 50])
    np.testing.assert_array_equal(out[1, 5], [100, 100, 100])
    assert out[1, 3].min() > 150  # the line between
    np.testing.assert_array_equal(out, viz.overlay(image / 255, label, np.array([[200, 0, 0]], np.uint8), alpha=0.5))


def test_without_any_colour_the_picture_stays():
    image = np.full((4, 6, 3), 100, np.uint8)
    nothing = viz.draw_segments(
        image, np.zeros((4, 6), np.int32), np.zeros(3, np.int32), stuff=("sky",), things=("dog",)
    )
    np.testing.assert_array_equal(nothing, image)


def test_a_sheet_shows_only_the_classes_that_occur():
    rows = [{"image": np.zeros((20, 30, 3), np.uint8), "truth": np.full((20, 30), k, np.uint8)} for k in (0, 2)]
    palette = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    sheet = viz.contact_sheet(rows, ("red", "green", "blue"), palette, panel_width=120)
    legend = sheet[-30:].reshape(-1, 3)
    shown = [bool((legend == colour).all(-1).any()) for colour in palette]
    assert shown == [True, False, True]
    assert sheet.shape[1] >= 2 * 120


def test_curves_survive_a_single_point_and_none(tmp_path):
    path = viz.plot_curves([{"step": 1, "train/loss": 2.0}, {"step": 1, "val/miou": 0.5}], tmp_path / "a.png")
    assert path.stat().st_size > 1000
    assert viz.plot_curves([], tmp_path / "b.png").exists()


def test_strips_leave_no_trace():
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (600, 7, 3), np.uint8), rng.integers(0, 3, (600, 7))
    label[200:300] = 1
    label[256:300] = 2  # classes that meet where one strip ends
    palette = viz.default_palette(3)
    np.testing.assert_array_equal(viz.overlay(image, label, palette), _overlay(image, label, palette, 0.55))
