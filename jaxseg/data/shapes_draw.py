"""How the pictures of :mod:`jaxseg.data.shapes` are drawn: textures, outlines, light.

Only operations whose result IEEE 754 fixes (add, multiply, compare, table look-up) touch the pixels, and
sines come from a rounded table: the same numbers come out on every machine, whatever its libm or vector
unit.

Coordinates are continuous pixels: the centre of the first pixel is (0.5, 0.5). x goes right, y goes down.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

_TURN = 1024  # entries of the sine table
_SINE = np.array([round(math.sin(2 * math.pi * k / _TURN) * 2**14) / 2**14 for k in range(_TURN)], np.float32)


def wave(turns: np.ndarray) -> np.ndarray:
    """Sine of an array of angles in turns (1 = full circle), float32, by table."""
    return _SINE[(turns * _TURN).astype(np.int32) & (_TURN - 1)]


def direction(turn: float) -> tuple[float, float]:
    """(cos, sin) of an angle in turns, as plain floats."""
    k = int(turn * _TURN)
    return float(_SINE[(k + _TURN // 4) % _TURN]), float(_SINE[k % _TURN])


@functools.lru_cache(maxsize=8)
def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel centre, each ``[H, W]`` float32, read-only."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    x.flags.writeable = y.flags.writeable = False
    return x, y


# Textures: (x, y, rng) -> [H, W] float32, about -1..1 with mean near 0. The class is in the pattern, not the
# colour.


def grass(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Short slanted streaks: white noise averaged along one direction."""
    h, w = x.shape
    length = 7
    slope = rng.random() * 1.6 - 0.8
    noise = rng.random((h + length, w + 2 * length), dtype=np.float32)
    streaks = np.zeros((h, w), np.float32)
    for k in range(length):
        left = length + round(slope * k)
        streaks += noise[k : k + h, left : left + w]
    return (streaks - np.float32(length / 2)) * np.float32(0.9)


def water(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Long smooth ripples that bend."""
    c, s = direction(rng.random() * 0.16 - 0.08)
    along, across = x * c + y * s, y * c - x * s
    bend = wave(along * (1 / (18 + 12 * rng.random())) + rng.random()) * (0.12 + 0.15 * rng.random())
    ripple = wave(across * (1 / (5.0 + 2.5 * rng.random())) + bend + rng.random())
    swell = wave(along * (1 / (24 + 14 * rng.random())) + across * 0.05 + rng.random())
    return ripple * np.float32(0.75) + swell * np.float32(0.35)


def brick(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A running bond: rows of bricks of varied tone between joints of mortar."""
    c, s = direction(rng.random() * 0.08 - 0.04)
    row_height = 5.5 + 2.0 * rng.random()
    brick_width = row_height * (1.8 + 0.5 * rng.random())
    v = (y * c - x * s) * (1 / row_height) + (rng.random() + 64)
    row = np.floor(v)
    u = (x * c + y * s) * (1 / brick_width) + row * 0.5 + (rng.random() + 64)
    column = np.floor(u)
    tones = rng.random((16, 16), dtype=np.float32) * 1.3 - np.float32(0.45)
    tone = tones[row.astype(np.int32) & 15, column.astype(np.int32) & 15]
    joint = np.maximum((v - row) * (-row_height), (u - column) * (-brick_width)) + np.float32(1.3)  # > 0 in mortar
    sign = np.float32(-1.2 if rng.random() < 0.7 else 1.2)  # mortar darker or lighter than the bricks
    mortar = np.clip(joint + np.float32(0.5), 0, 1)
    return tone + (sign - tone) * mortar


TEXTURES: dict[str, Callable[..., np.ndarray]] = {"grass": grass, "water": water, "brick": brick}


# Outlines: (u, v) -> signed distance in units of the shape's radius, negative inside. u right, v down, tip at
# v = -1.


def _disk(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v) - np.float32(0.92)


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(u * u + v * v) - np.float32(0.7)) - np.float32(0.29)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.8)


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(v, np.abs(u) * 0.8660254 - v * 0.5) - np.float32(0.6)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five-pointed star: two foldings bring every edge onto one (the foldings of I. Quilez' sdStar5)."""
    u, v = np.abs(u), -v
    for nx, ny in ((0.80901699, -0.58778525), (-0.80901699, -0.58778525)):
        fold = np.maximum(u * nx + v * ny, 0) * 2
        u, v = u - fold * nx, v - fold * ny
    u, v = np.abs(u), v - np.float32(1.2)
    ex, ey = -0.58778525 * -0.54, 0.80901699 * 0.54 - 1.0  # from the tip to the inner corner
    norm = math.sqrt(ex * ex + ey * ey)
    t = np.clip((u * ex + v * ey) * (1 / (norm * norm)), 0, 1.2)
    du, dv = u - t * ex, v - t * ey
    return np.sqrt(du * du + dv * dv) * np.where(v * ex - u * ey > 0, np.float32(1), np.float32(-1))


OUTLINES: dict[str, Callable[..., np.ndarray]] = {
    "disk": _disk,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
}
"""Signed distance of each thing; the classes of things are its keys."""

KEYPOINTS: dict[str, tuple[tuple[float, float], ...]] = {
    "disk": ((0, 0), (0, -0.66), (-0.57, 0.33), (0.57, 0.33)),
    "square": ((0, 0), (0, -0.55), (-0.6, 0.6), (0.6, 0.6)),
    "triangle": ((0, 0), (0, -0.7), (-0.76, 0.42), (0.76, 0.42)),
    "star": ((0, 0), (0, -0.85), (-0.82, -0.27), (0.82, -0.27)),
    "ring": ((0, 0), (0, -0.7), (-0.61, 0.35), (0.61, 0.35)),
}
"""(u, v) of centre, tip, left and right of each thing, in units of its radius."""


def outline(
    name: str, x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radius: float, turn: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed distance in pixels (negative inside) and the shape's own (u, v), at the points x, y."""
    c, s = direction(turn)
    dx, dy = (x - np.float32(centre[0])) * (1 / radius), (y - np.float32(centre[1])) * (1 / radius)
    u, v = dx * c + dy * s, dy * c - dx * s
    return OUTLINES[name](u, v) * np.float32(radius), u, v


def place_points(name: str, centre: tuple[float, float], radius: float, turn: float) -> list[tuple[float, float]]:
    """Where the thing's keypoints lie in the image."""
    c, s = direction(turn)
    return [(centre[0] + radius * (u * c - v * s), centre[1] + radius * (u * s + v * c)) for u, v in KEYPOINTS[name]]


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """One colour from hue (turns), saturation and value in 0..1 to RGB ``[3]`` float32 in 0..255."""
    shifts = np.array([5.0, 3.0, 1.0])
    k = (shifts + hue * 6) % 6
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    return ((1 - saturation * ramp) * (255 * value)).astype(np.float32)
