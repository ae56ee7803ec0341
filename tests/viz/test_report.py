"""The report's page: what is on it, that it needs nothing beside itself, and that it works in a browser."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from jaxseg import viz
from jaxseg.viz.report import written
from jaxseg.viz.tables import MOST_POINTS, confusion_table, curve_panels, score_tables
from tests.browser import chromium, contrast
from tests.helpers import slowly

RED, GREEN, BLUE = (220, 30, 30), (30, 160, 30), (30, 30, 220)
RECORDS = [
    {"step": s, "time": 0.0, "train/loss": 4.0 / s, "train/pixel": 3.0 / s, "train/learning_rate": 0.1}
    for s in range(1, 60)
] + [{"step": s, "time": 0.0, "val/miou": s / 100, "val/iou/<b>": 0.5, "val/pixels": 9} for s in (20, 40)]


def plain(colour):
    return np.full((60, 90, 3), colour, np.uint8)


def page_of(**changes):
    views = {"image": plain(RED), "prediction": plain(GREEN), "truth": plain(BLUE)}
    page = viz.Page(
        title="a <run>",
        subtitle="it says </script><script>alert(1)</script>",
        facts={"miou": "0.5", "model": "UNet"},
        records=RECORDS,
        scores={"miou": 0.5, "iou": {"<b>": 0.5, "road": 0.25}, "absent": ["sky"], "pixels": 12345},
        main_metric="miou",
        classes=("<b>", "road", "sky"),
        counts={"<b>": 8, "road": 12, "sky": 0},
        unit="pixels",
        legend={"<b>": RED, "road": GREEN},
        confusion=np.array([[6, 2, 0], [9, 3, 0], [0, 0, 0]]),
        score="miou",
        by_picture=[0.1, 0.5, 0.9, float("nan")],
        worst=[viz.Shown("worst.png", 0.1, views)],
        best=[viz.Shown("best.png", 0.9, views)],
        command="jaxseg train x",
        config="def get_config(tiny=False):  # 'no'\n    return 1\n",
        settings={"steps": "60"},
        environment=["jaxseg 0", "Python 3"],
        made="now",
    )
    return page._replace(**changes)


def test_tables_tell_what_the_metric_said():
    scores = {"box_ap": 0.5, "box_ap50": 0.75, "box_ap_small": float("nan"), "mask_ap": 0.25, "mask_ar10": 0.1}
    scores |= {"speed": 2, "box_ap_of": {"dog": 0.5}, "pck_of": {"nose": 0.9}, "absent": ["cat", "cow"]}
    tables = {t.title: t for t in score_tables(scores, "speed", ("dog", "cat"), {"dog": 1200, "cat": 7}, "objects")}
    assert tables["All together"].rows == [("speed", [2])]
    sizes = tables["Average precision and recall, by size"]
    assert sizes.head[1:] == ("ap", "ap50", "ap_small", "ar10")
    assert [name for name, _ in sizes.rows] == ["box", "mask"]
    assert sizes.rows[1][1] == [0.25, None, None, 0.1]
    assert tables["By class"].rows == [("dog", [1200, 0.5]), ("cat", [7, None])]
    assert tables["pck_of"].rows == [("nose", [0.9])]
    assert tables["Also"].rows == [("absent", ["cat, cow"])]
    assert [written(v) for v in (float("nan"), None, 1200, 0.25, 1e-9)] == ["–", "–", "1\u202f200", "0.2500", "1e-09"]


def test_the_confusion_matrix_is_by_true_class_and_names_what_is_commonest():
    table = confusion_table(np.array([[6, 2, 0], [9, 3, 0], [0, 0, 0]]), ("a", "b", "c"), "pixels")
    assert table["classes"] == ["a", "b"]  # c is nowhere
    assert table["rows"] == [("a", [75.0, 25.0]), ("b", [75.0, 25.0])]
    assert table["mistakes"].rows == [("b", ["a", 9, "75.0 %", "81.8 %"]), ("a", ["b", 2, "25.0 %", "18.2 %"])]
    only_found = confusion_table(np.array([[0, 0], [1, 1]]), ("a", "b"), "pixels")
    assert only_found["rows"][0] == ("a", [None, None])  # never true: no part of it is known
    many = confusion_table(np.eye(50), [str(k) for k in range(50)], "pixels")
    assert many["rows"] == []


def test_curves_are_sorted_into_panels():
    panels = {p["title"]: p["series"] for p in curve_panels(RECORDS, "miou")}
    assert list(panels) == ["scores", "losses", "learning rate", "iou by class"]
    assert [s["name"] for s in panels["losses"]] == ["loss", "pixel"]
    (slashed,) = curve_panels([{"step": 1, "val/iou/road/street": 0.5, "val/iou/sky": 0.5}], "miou")
    assert (slashed["title"], [s["name"] for s in slashed["series"]]) == ("iou by class", ["road/street", "sky"])
    assert panels["scores"] == [{"name": "miou", "x": [20, 40], "y": [0.2, 0.4], "shown": True}]  # no counts
    long = [{"step": s, "train/loss": float("nan") if s == 5 else 1.0} for s in range(3 * MOST_POINTS)]
    (series,) = curve_panels(long, "miou")[0]["series"]
    assert len(series["x"]) <= MOST_POINTS
    many = curve_panels([{"step": 1} | {f"val/{n}": 0.5 for n in "abcdefgh"}], "d")[0]["series"]
    assert [s["name"] for s in many if s["shown"]] == ["d"]
    assert many[0]["name"] == "d"


def test_the_page_holds_everything_and_escapes_it():
    html = viz.render_report(page_of())
    assert "<script>alert" not in html
    assert "a &lt;run&gt;" in html
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", html)
    assert "http" not in re.sub(r"http://www.w3.org/2000/svg|http-equiv", "", html)
    assert "3 pictures, median 0.500, lowest 0.100, highest 0.900; 1 more have no score" in html
    data = re.search(r'id="curve-data">(.*?)</script>', html, re.S)
    assert data is not None
    assert json.loads(data[1])[0]["series"][0]["y"] == [0.2, 0.4]
    bare = viz.render_report(page_of(records=[], scores={}, confusion=None, worst=[], best=[], no_pictures="no <data>"))
    assert "None: no &lt;data&gt;" in bare
    assert '<h2 id="curves"' not in bare


@pytest.mark.parametrize("scheme", ["light", *slowly("dark")])
def test_in_a_browser(tmp_path, scheme):
    """On a phone's width, in both schemes of colour: the slider by mouse, touch and keyboard, curves, no overflow."""
    file = tmp_path / "report.html"
    file.write_text(viz.render_report(page_of()))
    phone = {"width": 360, "height": 740}
    with chromium() as open_page:
        page = open_page(file.as_uri(), viewport=phone, color_scheme=scheme, has_touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert luminance_of_page(page) > 0.8 if scheme == "light" else luminance_of_page(page) < 0.2
        for selector in (
            "p",
            ".facts dt",
            ".facts .main dd",
            "nav a",
            "thead th",
            "pre.code .k",
            ".confusion td",
        ):
            assert contrast(page, selector) >= 4.5, selector
        stage = page.locator(".stage").first
        stage.scroll_into_view_if_needed()
        assert colours_along(stage) == [BLUE, BLUE, GREEN, GREEN]  # truth, and from the middle on prediction
        box = stage.bounding_box()
        at = lambda part: (box["x"] + part * box["width"], box["y"] + 0.8 * box["height"])
        page.mouse.move(*at(0.5))
        page.mouse.down()
        page.mouse.move(*at(0.9))
        page.mouse.up()
        assert colours_along(stage) == [BLUE, BLUE, BLUE, GREEN] or colours_along(stage) == [BLUE] * 4
        page.touchscreen.tap(*at(0.3))
        assert colours_along(stage) == [BLUE, GREEN, GREEN, GREEN]
        slider = stage.locator("input")
        slider.focus()
        slider.press("End")
        assert colours_along(stage) == [BLUE] * 4
        slider.press("Home")
        assert colours_along(stage) == [GREEN] * 4
        page.select_option("#right", "image")
        assert colours_along(stage) == [RED] * 4
        assert "truth" in slider.get_attribute("aria-label")
        assert all(page.locator("img").evaluate_all("all => all.map((i) => i.alt && i.naturalWidth === 90)"))

        losses = page.locator(".panel", has_text="losses")
        before = losses.locator("svg path").first.get_attribute("d")
        losses.locator("svg").hover()
        assert re.search(r"step (2\d|3\d)\s*loss", losses.locator(".tip").inner_text())
        losses.get_by_role("button", name="loss").click()
        assert losses.locator("svg path").count() == 1
        losses.get_by_role("button", name="loss").click()
        losses.get_by_role("button", name="log scale").click()
        assert losses.locator("svg path").first.get_attribute("d") != before


def test_curves_of_many_values_and_of_one(tmp_path):
    """150,000 values in a panel, and values that differ in their last bit, are drawn like any others."""
    steps = range(1, MOST_POINTS)
    values = {f"val/iou/{k}": k / 100 for k in range(100)}
    records = [{"step": s, "val/miou": float(np.nextafter(0.5, s % 2)), "val/none": 0.0, **values} for s in steps]
    file = tmp_path / "report.html"
    file.write_text(viz.render_report(page_of(records=records)))
    with chromium() as open_page:
        page = open_page(file.as_uri())
        scores = page.locator(".panel", has_text="scores")
        scores.get_by_role("button", name="none").click()
        assert scores.locator("svg path").count() == 1
        ticks = [float(text) for text in scores.locator("svg text[text-anchor=end]").all_text_contents()]
        assert min(ticks) < 0.5 < max(ticks)
        assert len(set(ticks)) == len(ticks) <= 12
        assert page.locator(".panel", has_text="iou by class").locator("svg path").count() == 100


def luminance_of_page(page):
    pixel = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))[2, 2]
    return float(pixel.mean()) / 255


def colours_along(stage):
    """Which of the three plain colours is seen at four places from left to right, above the handle."""
    picture = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB")).astype(int)
    places = [picture[int(0.85 * len(picture)), int(x * picture.shape[1])] for x in (0.1, 0.4, 0.6, 0.95)]
    return [min((RED, GREEN, BLUE), key=lambda c: np.abs(np.subtract(c, place)).sum()) for place in places]
