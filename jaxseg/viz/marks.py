"""Marks on pictures: boxes, points, a line of text, heat maps. Host arrays in, uint8 RGB pictures out."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxseg.viz.overlay import INK, PAPER, to_uint8

TRUTH = (255, 255, 255)
PREDICTION = (255, 64, 32)
_RAMP = np.array([[32, 32, 160], [0, 160, 255], [96, 255, 128], [255, 224, 0], [224, 0, 0]], np.float32)


def annotate(
    image: np.ndarray,
    *,
    boxes: Iterable[tuple[Sequence[float], tuple[int, int, int]]] = (),
    points: Iterable[tuple[Sequence[float], tuple[int, int, int]]] = (),
    text: str = "",
    width: int = 240,
) -> np.ndarray:
    """``image [H, W, 3]`` made ``width`` wide, with ``(box, colour)`` and ``(point, colour)`` drawn on it.

    Boxes (x1, y1, x2, y2) and points (x, y) are in the image's pixels; empty boxes are left out. ``text`` stands in a
    strip below.
    """
    scale = width / image.shape[1]
    height = max(1, round(image.shape[0] * scale))
    picture = Image.fromarray(to_uint8(image)).resize((width, height), Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (width, height + (20 if text else 0)), PAPER)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for box, colour in boxes:
        x1, y1, x2, y2 = (float(v) * scale for v in box)
        if x2 > x1 and y2 > y1:
            draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=INK, width=4)  # a dark rim, to be seen on any ground
            draw.rectangle((x1 + 1, y1 + 1, x2 - 2, y2 - 2), outline=colour, width=2)
    for point, colour in points:
        x, y = (float(v) * scale for v in point)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=INK)
    draw.text((2, height + 2), text, fill=INK, font=ImageFont.load_default(13))
    return np.asarray(canvas)


def heat_map(image: np.ndarray, values: Any, alpha: float = 0.5) -> np.ndarray:
    """``values [h, w]``, enlarged bilinearly to ``image [H, W, 3]``, over it: blue is 0 and below, red the maximum."""
    small = Image.fromarray(np.asarray(values, np.float32))
    heat = np.asarray(small.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR))
    place = np.clip(heat / max(float(heat.max()), 1e-12), 0, 1) * (len(_RAMP) - 1)
    colours = np.stack([np.interp(place, range(len(_RAMP)), _RAMP[:, c]) for c in range(3)], -1)
    return ((1 - alpha) * to_uint8(image) + alpha * colours).round().astype(np.uint8)
