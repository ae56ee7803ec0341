"""Instances on a picture: each in a colour of its own, outlined, boxed and named. Host arrays in, uint8 RGB out."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxseg.viz.overlay import INK, PAPER, default_palette, overlay, to_uint8

MOST_NAMED = 30  # more names than that would hide the picture
READABLE = 480  # pixels across, which smaller pictures are drawn at, so that names do not hide them


def instance_colours(count: int) -> np.ndarray:
    """``[count, 3]`` uint8, neighbours in number far apart in hue (steps of the golden section of the circle)."""
    hue = (np.arange(count) * 0.61803398875) % 1.0
    channel = (hue[:, None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    value = 1 - 0.85 * np.clip(np.minimum(channel, 4 - channel), 0, 1)
    return (255 * value).round().astype(np.uint8)


def draw_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: Any = None,
    names: Sequence[str] = (),
    *,
    keypoints: Any = None,
    width: int | None = None,
    alpha: float = 0.45,
) -> np.ndarray:
    """``image [H, W, 3]`` with ``boxes [N, 4]``, ``masks [N, H, W]`` bool filled and outlined, and ``names``, one each.
    (``masks``: anything whose i-th element is such a mask, :class:`jaxseg.data.Cutouts` too.)

    ``keypoints [N, P, 3]``: (x, y, visibility); those of visibility above 0 are dots, each of the P in a colour of its
    own, within a ring of the instance's. Names are written where there are at most ``MOST_NAMED`` instances; lines and
    letters grow with the picture. ``width``: it is made so wide first, so that they are fine on small ones. ``alpha``:
    the colours' opacity.
    """
    h, w = image.shape[:2]
    size = (w, h) if width is None else (width, max(1, round(h * width / w)))
    scale = size[0] / w
    picture = np.array(Image.fromarray(to_uint8(image)).resize(size, Image.Resampling.BILINEAR), np.float32)
    rows, columns = (np.arange(n) * m // n for n, m in ((size[1], h), (size[0], w)))
    colours = instance_colours(len(boxes)).astype(np.float32)
    for i, colour in enumerate(colours):
        if masks is None:
            break
        mask = masks[i][rows[:, None], columns[None]]
        edge = _edge(mask)
        picture[mask] = (1 - alpha) * picture[mask] + alpha * colour
        picture[edge] = colour
    canvas = Image.fromarray(picture.round().astype(np.uint8))
    draw, line, letters = ImageDraw.Draw(canvas), max(1, min(size) // 400), _letters(size)
    scaled = np.asarray(boxes, np.float32).reshape(-1, 4) * scale
    for (x1, y1, x2, y2), colour in zip(scaled.tolist(), colours):
        if x2 > x1 and y2 > y1:
            paint = tuple(int(c) for c in colour)
            draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=paint, width=line)
    dots, r = instance_colours(0 if keypoints is None else np.shape(keypoints)[1]), 3 + line
    for points, rim in zip(() if keypoints is None else keypoints, colours):
        for (x, y, seen), fill in zip(points, dots):
            if seen > 0:
                x, y = x * scale, y * scale
                draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(fill), outline=tuple(int(c) for c in rim))
    if names and len(boxes) <= MOST_NAMED:
        _write(draw, size, ((x1 + 1, y1 - letters - 2, name) for (x1, y1, _, _), name in zip(scaled.tolist(), names)))
    return np.asarray(canvas)


def draw_segments(
    image: np.ndarray,
    ids: np.ndarray,
    classes: Any,
    scores: Any = None,
    *,
    stuff: Sequence[str],
    things: Sequence[str],
    palette: Any = None,
    width: int | None = None,
) -> np.ndarray:
    """``image [H, W, 3]`` with its segments ``ids [H, W]`` (0: none), named: segment s + 1 has ``classes[s]``, a place
    in ``stuff`` and then ``things``, and of things ``scores[s]`` is written beside the name.

    Stuff has its colour in ``palette [K, 3]``, each thing one of its own. ``width``: as in :func:`draw_instances`.
    """
    h, w = image.shape[:2]
    size = (w, h) if width is None else (width, max(1, round(h * width / w)))
    rows, columns = (np.arange(n) * m // n for n, m in ((size[1], h), (size[0], w)))
    ids, classes = np.asarray(ids)[rows[:, None], columns[None]], np.asarray(classes)
    shown = [s for s in np.unique(ids).tolist() if s]
    plain = default_palette(len(stuff) + len(things)) if palette is None else np.asarray(palette)
    own = iter(instance_colours(len(shown)))
    colours = np.array([plain[k] if (k := classes[s - 1]) < len(stuff) else next(own) for s in shown]).reshape(-1, 3)
    label = np.where(ids > 0, np.searchsorted([*shown, 2**31], ids), len(shown))
    picture = Image.fromarray(to_uint8(image)).resize(size, Image.Resampling.BILINEAR)
    canvas = Image.fromarray(overlay(np.asarray(picture), label, colours))
    draw, letters, names = ImageDraw.Draw(canvas), _letters(size), (*stuff, *things)
    font, wanted = ImageFont.load_default(letters), []
    for s in shown if len(shown) <= MOST_NAMED else ():
        kind = int(classes[s - 1])
        text = names[kind] if scores is None or kind < len(stuff) else f"{names[kind]} {scores[s - 1]:.2f}"
        pixels = np.argwhere(ids == s)
        y, x = pixels[np.argmin(np.sum((pixels - np.median(pixels, axis=0)) ** 2, axis=1))].tolist()
        wanted.append((x - font.getlength(text) / 2, y - letters / 2, text))
    _write(draw, size, wanted)
    return np.asarray(canvas)


def _letters(size: tuple[int, int]) -> int:
    """How large letters are on a picture of (width, height), in pixels."""
    return max(11, min(size) // 45)


def _write(draw: ImageDraw.ImageDraw, size: tuple[int, int], wanted: Iterable[tuple[float, float, str]]) -> None:
    """Names with the places (x, y) of their upper left corners: moved into the picture, and up or down to where no
    other is, if there is such a place within a few lines."""
    font, taken = ImageFont.load_default(_letters(size)), []
    for x, y, name in wanted:
        left, top, right, bottom = draw.textbbox((0, 0), name, font=font)
        x, step = min(max(x, 0), max(size[0] - right, 0)), bottom - top + 2
        for line in (0, 1, -1, 2, -2, 3, -3, 0):  # the last: where it was wanted, over another
            place = (x, min(max(y + line * step, 0), max(size[1] - bottom, 0)))
            box = (place[0] + left, place[1] + top, place[0] + right, place[1] + bottom)
            if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                break
        taken.append(box)
        draw.rectangle(box, fill=INK)
        draw.text(place, name, fill=PAPER, font=font)


def _edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with one beside them that is not of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
