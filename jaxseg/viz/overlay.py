"""Label maps as colours: overlays, legends, contact sheets. Host arrays in, uint8 RGB pictures out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxseg.types import VOID

INK, PAPER = (32, 32, 32), (255, 255, 255)
MARGIN = 8  # pixels around panels and legend entries
STRIP = 256  # rows that are mixed at once, so that a large photograph takes little memory


def default_palette(num_classes: int) -> np.ndarray:
    """``[K, 3]`` uint8, the colour map of PASCAL VOC without its black: the bits of k + 1, spread over R, G and B."""
    colours = np.zeros((num_classes, 3), np.uint8)
    for k in range(num_classes):
        code = k + 1
        for bit in range(8):
            for channel in range(3):
                colours[k, channel] |= ((code >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours


def colorize(label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """``[H, W]`` classes -> ``[H, W, 3]`` uint8. Values outside the palette (void) become black."""
    known = (label >= 0) & (label < len(palette))
    if not known.any():
        return np.zeros((*label.shape, 3), np.uint8)
    return np.where(known[..., None], palette[np.where(known, label, 0)], 0).astype(np.uint8)


def overlay(image: np.ndarray, label: np.ndarray, palette: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """The classes' colours over the picture, with a light line where two classes meet; void is left as it is.

    ``image [H, W, 3]`` uint8 or float in [0, 1]; ``label [H, W]``; ``alpha`` is the colours' opacity.
    """
    strips = []
    for top in range(0, len(label), STRIP):
        above = min(top, 1)  # with the row above it, which decides where its first row meets another class
        rows = slice(top - above, top + STRIP)
        strips.append(_overlay(image[rows], label[rows], palette, alpha)[above:])
    return np.concatenate(strips)


def _overlay(image: np.ndarray, label: np.ndarray, palette: np.ndarray, alpha: float) -> np.ndarray:
    picture = to_uint8(image).astype(np.float32)
    known = ((label >= 0) & (label < len(palette)))[..., None]
    mixed = np.where(known, (1 - alpha) * picture + alpha * colorize(label, palette), picture)
    edge = np.zeros(label.shape, bool)
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    edge[1:] |= label[1:] != label[:-1]
    mixed[edge] = 0.35 * mixed[edge] + 0.65 * 255
    return mixed.round().astype(np.uint8)


def with_legend(
    picture: np.ndarray, classes: Sequence[str], palette: np.ndarray, shown: Sequence[int] | None = None
) -> np.ndarray:
    """``picture`` with a strip below it that names the colours of the classes ``shown`` (all, unless told). Letters
    grow with the picture's width."""
    letters = max(13, picture.shape[1] // 75)
    font, swatch, margin = ImageFont.load_default(letters), letters + 1, letters * MARGIN // 13
    entries = [(k, classes[k]) for k in (range(len(classes)) if shown is None else shown)]
    if not entries:
        return picture
    width = max(picture.shape[1], 160)
    places, x, y = [], margin, margin
    for k, name in entries:
        length = swatch + 5 + int(font.getlength(name)) + 2 * margin
        if x > margin and x + length > width:
            x, y = margin, y + swatch + margin
        places.append((x, y, k, name))
        x += length
    canvas = Image.new("RGB", (width, picture.shape[0] + y + swatch + margin), PAPER)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for x, y, k, name in places:
        top = picture.shape[0] + y
        draw.rectangle((x, top, x + swatch, top + swatch), fill=tuple(int(c) for c in palette[k]), outline=INK)
        draw.text((x + swatch + 5, top - 1), name, fill=INK, font=font)
    return np.asarray(canvas)


def contact_sheet(
    rows: Sequence[Mapping[str, np.ndarray]],
    classes: Sequence[str],
    palette: Any = None,
    *,
    title: str = "",
    panel_width: int = 240,
) -> np.ndarray:
    """One row an example, one column a key; a column is drawn over ``image`` where it is a label map ``[H, W]``.

    ``rows`` are dicts of pictures [H, W, 3] and label maps by name, ``image`` among them; the order is theirs.
    """
    palette = default_palette(len(classes)) if palette is None else np.asarray(palette, np.uint8)
    font = ImageFont.load_default(14)
    panels = [[panel(row, key, palette, panel_width) for key in row] for row in rows]
    heights = [max(len(p) for p in row) for row in panels]
    top = 28 + (24 if title else 0)
    width = len(panels[0]) * (panel_width + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, top + sum(heights) + MARGIN * len(rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 6), title, fill=INK, font=ImageFont.load_default(16))
    for column, name in enumerate(rows[0]):
        draw.text((MARGIN + column * (panel_width + MARGIN), top - 20), name, fill=INK, font=font)
    y = top
    for row, height in zip(panels, heights):
        for column, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (MARGIN + column * (panel_width + MARGIN), y))
        y += height + MARGIN
    labels = [value for row in rows for value in row.values() if value.ndim == 2]
    shown = sorted({int(k) for label in labels for k in np.unique(label) if 0 <= k < len(classes) and k != VOID})
    return with_legend(np.asarray(sheet), classes, palette, shown)


def panel(row: Mapping[str, np.ndarray], key: str, palette: Any, width: int) -> np.ndarray:
    """One picture of ``row``, a dict of pictures [H, W, 3] and label maps by name, made ``width`` wide; a label map
    [H, W] is drawn over ``image``, after both were enlarged, so that lines between classes stay thin."""
    value, image = row[key], to_uint8(row["image"])
    if value.ndim == 3:
        return _resized(to_uint8(value), width)
    if width > image.shape[1]:
        image = _resized(image, width)
        value = np.asarray(Image.fromarray(value.astype(np.int32)).resize(image.shape[1::-1], Image.Resampling.NEAREST))
    return _resized(overlay(image, value, np.asarray(palette, np.uint8)), width)


def _resized(picture: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """A picture that is uint8, or float in [0, 1], as uint8."""
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
