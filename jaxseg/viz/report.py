"""A run as one HTML page that needs nothing beside itself: curves, tables, pictures under a slider.

What is on the page is plain values, :class:`Page`; how it looks is in ``page/``, an HTML template and its CSS and JS.
"""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxseg.viz.tables import confusion_table, curve_panels, score_tables

QUALITY = 82  # of the pictures, as WebP


class Shown(NamedTuple):
    """A picture with its score and its views by name, uint8 [H, W, 3], all of one size."""

    name: str
    score: float
    views: Mapping[str, np.ndarray]


class Page(NamedTuple):
    """What a report tells. ``facts``: the few things to know first, the score before all. ``records``: the lines of
    ``metrics.jsonl``. ``scores``: what a metric computes, ``main_metric`` among it. ``classes``, by name ``counts`` of
    ``unit`` and ``confusion [K, K]`` where there are such; ``legend``: colours by name. ``by_picture``: every picture's
    ``score``; ``worst`` and ``best`` of them are shown. ``no_pictures``: why there are none. ``notes``: what the reader
    should know before he trusts the page."""

    title: str
    subtitle: str
    facts: Mapping[str, str]
    records: Sequence[Mapping[str, Any]]
    scores: Mapping[str, Any]
    main_metric: str
    classes: Sequence[str] = ()
    counts: Mapping[str, int] = {}
    unit: str = ""
    legend: Mapping[str, Sequence[int]] = {}
    confusion: np.ndarray | None = None
    score: str = ""
    by_picture: Sequence[float] = ()
    worst: Sequence[Shown] = ()
    best: Sequence[Shown] = ()
    no_pictures: str = ""
    notes: Sequence[str] = ()
    command: str = ""
    config: str = ""
    settings: Mapping[str, Any] = {}
    environment: Sequence[str] = ()
    made: str = ""


def render_report(page: Page) -> str:
    """The page as HTML, self-contained: it fetches nothing, and its own policy forbids it to."""
    views = list(dict.fromkeys(name for picture in (*page.worst, *page.best) for name in picture.views))
    made = {
        "panels": curve_panels(page.records, page.main_metric),
        "tables": score_tables(page.scores, page.main_metric, page.classes, page.counts, page.unit),
        "confusion": None if page.confusion is None else confusion_table(page.confusion, page.classes, page.unit),
        "worst": [_picture(p) for p in page.worst],
        "best": [_picture(p) for p in page.best],
        "histogram": _histogram(page.by_picture),
        "of_one": " of each by itself" if page.score == page.main_metric else "",
        "legend": {name: css_colour(colour) for name, colour in page.legend.items()},
        "views": views,
        "left": "truth" if "truth" in views else "image",
        "right": "prediction" if "prediction" in views else views[-1] if views else "",
    }
    return render("report.html", page._asdict() | made)


def render(template: str, values: Mapping[str, Any]) -> str:
    """One of the templates in ``page/`` with what it asks for; text among ``values`` can't become HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jaxseg.viz", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": written, "json": _json, "python": _python}
    return environment.get_template(template).render(values)


def css_colour(colour: Sequence[int]) -> str:
    """RGB in 0..255 as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*(int(c) for c in colour))


def written(value: Any) -> str:
    """A number as a table has it: shares with four decimals, counts in groups of three, a dash for NaN and None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"


def _json(value: Any) -> Any:
    """For a ``<script>``: nothing in it can end the element."""
    from markupsafe import Markup

    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026"))


def _python(code: str) -> Any:
    """Python in colours: spans of the classes k, s, c and m."""
    from markupsafe import Markup, escape
    from pygments.lexers import PythonLexer
    from pygments.token import Comment, Keyword, Number, String

    kinds = {Keyword: "k", String: "s", Comment: "c", Number: "m"}
    parts = []
    for token, text in PythonLexer(stripnl=False).get_tokens(code):
        kind = next((letter for base, letter in kinds.items() if token in base), None)
        parts.append(Markup('<span class="{}">{}</span>').format(kind, text) if kind else escape(text))
    return Markup("").join(parts)


def _picture(picture: Shown) -> dict[str, Any]:
    height, width = next(iter(picture.views.values())).shape[:2]
    views = {name: data_uri(view) for name, view in picture.views.items()}
    return {"name": picture.name, "score": picture.score, "width": width, "height": height, "views": views}


def data_uri(picture: np.ndarray) -> str:
    """``picture [H, W, 3]`` uint8 as WebP within a ``data:`` address."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _histogram(values: Sequence[float]) -> dict[str, Any]:
    """Bars of the finite among ``values``: count, height in per cent of the highest, and what each says."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return {"bars": [], "low": "", "high": "", "says": ""}
    low, high = (0.0, 1.0) if known.min() >= 0 and known.max() <= 1 else (known.min(), known.max() + 1e-9)
    counts, edges = np.histogram(known, 20, (low, high))
    told = [f"{a:.3g} to {b:.3g}: {n}" for n, a, b in zip(counts, edges, edges[1:])]
    bars = list(zip((100 * counts / counts.max()).round(1).tolist(), told))
    says = f"{known.size} pictures, median {np.median(known):.3f}, lowest {known.min():.3f}, highest {known.max():.3f}"
    unknown = len(values) - known.size
    says += f"; {unknown} more have no score: nothing is to be found in them" if unknown else ""
    return {"bars": bars, "low": f"{low:.3g}", "high": f"{high:.3g}", "says": says}
