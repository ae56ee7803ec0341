"""How the figures of these pages look, and how they are written: small, legible, the same colours everywhere."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from jaxseg.data import Shapes

FOLDER = Path(__file__).parent / "figures"
GREEN, GREY, RED, BLUE, ORANGE = "#2a9d3a", "#8a8f98", "#d62828", "#1769aa", "#e76f00"
HEAT = "magma"

matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 9, "image.interpolation": "nearest", "savefig.dpi": 144})


def sheet(columns: int, rows: int = 1, *, width: float = 7.2, height: float = 2.1, **options: Any) -> Any:
    """A figure and its axes, row by row, in one flat array. Sizes in inches; ``height`` is a row's."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.ravel(figure.subplots(rows, columns, **options))


def show(axes: Any, picture: Any, title: str = "", **options: Any) -> None:
    """A picture or a map without ticks, its first pixel's centre at (0.5, 0.5): the library's coordinates."""
    picture = np.asarray(picture)
    h, w = picture.shape[:2]
    axes.imshow(picture, **{"extent": (0, w, h, 0)} | options)
    axes.set(title=title, xticks=[], yticks=[])


def numbers(axes: Any, values: Any, title: str = "", *, blank: bool = True, **options: Any) -> None:
    """A map of whole numbers, each written in its cell; zeros left blank unless told."""
    values = np.asarray(values)
    show(axes, values, title, **{"cmap": "Blues", "vmin": 0, "vmax": 1.6 * max(values.max(), 1)} | options)
    for (i, j), value in np.ndenumerate(values):
        if value or not blank:
            axes.text(j + 0.5, i + 0.5, f"{value:g}", ha="center", va="center", fontsize=8)
    grid(axes, values.shape)


def grid(axes: Any, shape: tuple[int, ...]) -> None:
    """Thin lines between the cells."""
    h, w = shape[:2]
    axes.hlines(range(h + 1), 0, w, color="white", lw=0.6)
    axes.vlines(range(w + 1), 0, h, color="white", lw=0.6)


def rectangle(axes: Any, box: Any, colour: Any, **options: Any) -> None:
    """The outline of ``(x1, y1, x2, y2)``."""
    x1, y1, x2, y2 = (float(v) for v in box)
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, **{"lw": 1.4} | options))


def scene(index: int, size: tuple[int, int] = (96, 96)) -> dict[str, Any]:
    """A drawn scene of the library's own data set, with its truth."""
    return Shapes("val", size=size)[index]


def write(name: str, figure: Any) -> Path:
    """A matplotlib figure, or a picture as an array, as a WebP file that is small: lossless where that suffices."""
    if isinstance(figure, Figure):
        stream = io.BytesIO()
        figure.savefig(stream, format="png", bbox_inches="tight", pad_inches=0.06)
        figure = Image.open(stream).convert("RGB")
    else:
        figure = Image.fromarray(figure)
    path = FOLDER / f"{name}.webp"
    path.parent.mkdir(exist_ok=True)
    figure.save(path, lossless=True, method=6)
    if path.stat().st_size > 60_000:
        figure.save(path, quality=88, method=6)
    return path
