"""Drawn scenes with every kind of annotation: the data set that needs no download.

Textured ground (grass, water, brick: *stuff*) in regions with wavy borders, and on it overlapping *things*
(disk, square, triangle, star, ring) of any colour, of many sizes, turned up to 20 degrees, with facets,
shadows, slanting light and noise. Colour tells next to nothing about the class: stuff must be known by its
texture and a thing by its outline and its facets.

A sample depends on ``(seed, split, index)`` alone and is the same on every machine.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxseg.data import shapes_draw as draw
from jaxseg.data.instances import tight_boxes
from jaxseg.types import JaxsegError

STUFF = tuple(draw.TEXTURES)
THINGS = tuple(draw.OUTLINES)
KEYPOINT_NAMES = ("centre", "tip", "left", "right")
FLIP_PAIRS = ((2, 3),)
MIN_VISIBLE = 12  # pixels: a thing that shows less is label only, not an instance

_COLOURS = {  # name: hue (turns), saturation, value
    "red": (0.99, 0.78, 0.82),
    "orange": (0.075, 0.80, 0.92),
    "yellow": (0.15, 0.72, 0.92),
    "green": (0.36, 0.62, 0.66),
    "blue": (0.60, 0.68, 0.80),
    "purple": (0.77, 0.52, 0.70),
    "white": (0.12, 0.06, 0.94),
    "grey": (0.60, 0.08, 0.52),
}
_NATURAL_HUE = {"grass": 0.27, "water": 0.56, "brick": 0.04}
_PALETTE = "6a994e 5aa9e6 b07056 e63946 f4a261 ffd166 8338ec 118ab2"  # in the order of the classes


class _Thing(NamedTuple):
    """One thing before it is drawn: ``kind`` indexes THINGS, centre and radius in pixels, turn in turns."""

    kind: int
    colour: str
    centre: tuple[float, float]
    radius: float
    turn: float


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Drawn scenes, a source: ``len(source)``, ``source[i]``, ``classes``, ``palette``.

    Args:
        split: ``"train"`` or ``"val"``: two streams of samples that share none.
        size: (H, W) in pixels, at least 32 each. Things scale with it, textures do not.
        length: how many samples; by default 4096 for train and 256 for val.
        seed: another seed, another data set.
        count: fewest and most things in a scene (fewer where one finds no clear place).

    A sample holds ``image`` uint8 [H, W, 3]; ``label`` uint8 [H, W], index into ``classes`` (stuff first,
    then things); ``caption``, which survives a horizontal flip (it never says left or right); ``name``; and
    ``instances``, in the order drawn, nearest last: ``boxes`` [N, 4] float32, tight around the **visible**
    mask; ``classes`` [N] int32 from 1, index into ``things`` plus one; ``masks`` [N, H, W] bool, visible
    pixels only; ``keypoints`` [N, 4, 3] float32, named by ``keypoint_names``, visibility 2 seen, 1 behind a
    nearer thing, 0 outside the image (then x = y = 0); ``captions`` [N] strings such as ``a small red
    star on brick`` (what most of it lies on); ``flip_pairs``, the keypoints that change places in a mirror. A
    thing's tip bears a dark dot, so that its rotation can be seen.
    """

    split: Literal["train", "val"] = "train"
    size: tuple[int, int] = (64, 64)
    length: int | None = None
    seed: int = 0
    count: tuple[int, int] = (2, 4)

    def __post_init__(self) -> None:
        if self.split not in ("train", "val"):
            raise JaxsegError(f"Shapes has the splits 'train' and 'val', not {self.split!r}")
        if min(self.size) < 32:
            raise JaxsegError(f"Shapes needs a size of at least 32x32 pixels to draw in, got {self.size}")
        if self.length is not None and self.length < 1:
            raise JaxsegError(f"Shapes needs a length of at least 1, got {self.length}")
        if not 0 <= self.count[0] <= self.count[1]:
            raise JaxsegError(f"Shapes needs a count of (fewest, most) things, got {self.count}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, stuff first."""
        return STUFF + THINGS

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the instance classes: class k of an instance is ``things[k - 1]``."""
        return THINGS

    @property
    def stuff(self) -> tuple[str, ...]:
        """Names of the labels that are no things."""
        return STUFF

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw labels with."""
        return np.frombuffer(bytes.fromhex(_PALETTE), np.uint8).reshape(-1, 3).copy()

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of the instances' captions."""
        return ("a", "small", "medium", "large", *_COLOURS, *THINGS, "on", *STUFF)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the P keypoints."""
        return KEYPOINT_NAMES

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Keypoints that change places in a mirror."""
        return FLIP_PAIRS

    def __len__(self) -> int:
        if self.length is not None:
            return self.length
        return 4096 if self.split == "train" else 256

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        stream = np.random.SeedSequence([self.seed, int(self.split == "val"), index])
        rng = np.random.Generator(np.random.Philox(stream))
        height, width = self.size
        pixels, label = _ground(height, width, rng)
        light = draw.direction(rng.random())
        things = _arrange(height, width, self.count, rng)
        owner = np.full((height, width), -1, np.int8)
        ground = label.copy()
        for k, thing in enumerate(things):
            _draw_thing(pixels, label, owner, k, thing, light, rng)
        instances = _instances(owner, things, ground)
        return {
            "image": _expose(pixels, light, rng),
            "label": label,
            "instances": instances,
            "caption": _caption(instances, STUFF[_most(ground)]),
            "name": f"shapes-{self.split}-{self.seed}-{index:06d}",
        }


def _ground(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [H, W, 3] float32 and labels [H, W] uint8 of two or three stuff regions with wavy borders."""
    x, y = draw.grid(height, width)
    side = min(height, width)
    order = [0, 1, 2]
    for i in (2, 1):  # Fisher-Yates, by hand: Generator.permutation may change between numpy versions
        j = int(rng.random() * (i + 1))
        order[i], order[j] = order[j], order[i]
    label = np.full((height, width), order[0], np.uint8)
    for kind in order[1 : 3 if rng.random() < 0.5 else 2]:
        c, s = draw.direction(rng.random())
        across = (x - width / 2) * c + (y - height / 2) * s
        along = (y - height / 2) * c - (x - width / 2) * s
        wiggle = draw.wave(along * (1 / (side * (0.3 + 0.3 * rng.random()))) + rng.random()) * (0.05 * side)
        label[across + wiggle > (rng.random() * 0.4 - 0.15) * side] = kind
    pixels = np.empty((height, width, 3), np.float32)
    for kind in order:
        name = STUFF[kind]
        inside = label == kind
        if not inside.any():
            continue
        natural = rng.random() < 0.35
        hue = _NATURAL_HUE[name] + (rng.random() - 0.5) * 0.12 if natural else rng.random()
        base = draw.hsv(hue % 1.0, 0.15 + 0.5 * rng.random(), 0.42 + 0.36 * rng.random())
        tint = (0.16 + 0.1 * rng.random()) * (base + 20) * np.array([1.0, 0.95, 0.85], np.float32)
        texture = draw.TEXTURES[name](x, y, rng)
        pixels[inside] = (base + texture[:, :, None] * tint.astype(np.float32))[inside]
    return pixels, label


def _arrange(height: int, width: int, count: tuple[int, int], rng: np.random.Generator) -> list[_Thing]:
    """So many things that overlap at most in part: the farthest first."""
    side = min(height, width)
    things: list[_Thing] = []
    for _ in range(count[0] + int(rng.random() * (count[1] - count[0] + 1))):
        kind, colour = int(rng.random() * len(THINGS)), list(_COLOURS)[int(rng.random() * len(_COLOURS))]
        radius, turn = side * (0.16 + 0.12 * rng.random()), (rng.random() - 0.5) / 9
        for _try in range(6):
            centre = (width * (0.08 + 0.84 * rng.random()), height * (0.08 + 0.84 * rng.random()))
            clear = all(
                (centre[0] - t.centre[0]) ** 2 + (centre[1] - t.centre[1]) ** 2 > (0.78 * (radius + t.radius)) ** 2
                for t in things
            )
            if clear:
                things.append(_Thing(kind, colour, centre, radius, turn))
                break
    return things


def _draw_thing(
    pixels: np.ndarray,
    label: np.ndarray,
    owner: np.ndarray,
    k: int,
    thing: _Thing,
    light: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Draw thing number k, its shadow first, into pixels, label and owner (in place)."""
    height, width = label.shape
    reach, shift = thing.radius * 1.25 + 2, max(1, round(thing.radius * 0.22))
    sx, sy = round(-light[0] * shift), round(-light[1] * shift)
    x0, x1 = (
        max(0, int(thing.centre[0] - reach) - shift),
        min(width, int(thing.centre[0] + reach) + shift + 1),
    )
    y0, y1 = (
        max(0, int(thing.centre[1] - reach) - shift),
        min(height, int(thing.centre[1] + reach) + shift + 1),
    )
    here = (slice(y0, y1), slice(x0, x1))
    x, y = (a[here] for a in draw.grid(height, width))
    name = THINGS[thing.kind]
    distance, u, v = draw.outline(name, x, y, thing.centre, thing.radius, thing.turn)

    cast, _, _ = draw.outline(name, x - sx, y - sy, thing.centre, thing.radius, thing.turn)
    shade = np.clip(0.5 - cast * 0.35, 0, 1) * np.float32(0.34)
    under = pixels[here] * (1 - shade)[:, :, None]

    hue, saturation, value = _COLOURS[thing.colour]
    jitter = rng.random(3)
    colour = draw.hsv(
        (hue + (jitter[0] - 0.5) * 0.04) % 1.0,
        saturation * (0.7 + 0.3 * jitter[1]),
        value * (0.8 + 0.2 * jitter[2]),
    )
    slope_y, slope_x = np.gradient(distance)  # the outline's own normal: lit like a roof over the shape
    tone = 1 + (slope_x * light[0] + slope_y * light[1]) * np.float32(0.42)
    tone *= 1 - 0.45 * np.clip(distance + 1.6, 0, 1)  # a darker rim
    tip_u, tip_v = draw.KEYPOINTS[name][1]
    pin = np.sqrt((u - tip_u) ** 2 + (v - tip_v) ** 2) * thing.radius - max(1.1, 0.13 * thing.radius)
    tone *= 1 - 0.75 * np.clip(0.5 - pin, 0, 1)
    cover = np.clip(0.5 - distance, 0, 1)[:, :, None]  # how much of the pixel the thing covers
    pixels[here] = under + (tone[:, :, None] * colour - under) * cover
    inside = distance < 0
    label[here][inside] = len(STUFF) + thing.kind
    owner[here][inside] = k


def _expose(pixels: np.ndarray, light: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """uint8 image: light that falls off across the image, then noise (a sum of two uniform draws)."""
    height, width = pixels.shape[:2]
    x, y = draw.grid(height, width)
    fall = (x - width / 2) * (light[0] / width) + (y - height / 2) * (light[1] / height)
    noise = rng.random((2, height, width, 3), dtype=np.float32)
    strength = np.float32(6 + 12 * rng.random())
    lit = pixels * (1 + fall * (0.15 + 0.4 * rng.random()))[:, :, None]
    lit += (noise[0] + noise[1] - 1) * strength
    return np.clip(lit + np.float32(0.5), 0, 255).astype(np.uint8)


def _instances(owner: np.ndarray, things: list[_Thing], ground: np.ndarray) -> dict[str, Any]:
    """What is seen of each thing, those that show MIN_VISIBLE pixels or more."""
    (height, width), side = owner.shape, min(owner.shape)
    masks = owner[None] == np.arange(len(things), dtype=np.int8)[:, None, None]
    seen = [k for k in range(len(things)) if np.count_nonzero(masks[k]) >= MIN_VISIBLE]
    points = np.zeros((len(seen), len(KEYPOINT_NAMES), 3), np.float32)
    captions = []
    for n, k in enumerate(seen):
        t = things[k]
        for p, (px, py) in enumerate(draw.place_points(THINGS[t.kind], t.centre, t.radius, t.turn)):
            if 0 <= px < width and 0 <= py < height:
                points[n, p] = px, py, 1 if owner[int(py), int(px)] > k else 2
        size = "small" if t.radius < 0.2 * side else "large" if t.radius > 0.24 * side else "medium"
        captions.append(f"a {size} {t.colour} {THINGS[t.kind]} on {STUFF[_most(ground[masks[k]])]}")
    masks = masks[seen]
    return {
        "boxes": tight_boxes(masks),
        "classes": np.array([things[k].kind + 1 for k in seen], np.int32),
        "masks": masks,
        "keypoints": points,
        "captions": np.array(captions, dtype="U40"),
        "flip_pairs": FLIP_PAIRS,
    }


def _most(ground: np.ndarray) -> int:
    """The stuff that most pixels are of."""
    return int(np.argmax(np.bincount(ground.ravel(), minlength=len(STUFF))))


def _caption(instances: dict[str, Any], ground: str) -> str:
    """One line: the two largest things, how they stand to each other, and the ground."""
    count = len(instances["classes"])
    if not count:
        return f"nothing on {ground}"
    boxes = instances["boxes"]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-area, kind="stable")
    names = [caption.rsplit(" on ", 1)[0] for caption in instances["captions"]]
    first = names[order[0]]
    if count == 1:
        return f"{first} on {ground}"
    a, b = boxes[order[0]], boxes[order[1]]
    dx, dy = abs(a[0] + a[2] - b[0] - b[2]), a[1] + a[3] - b[1] - b[3]
    relation = "beside" if dx > abs(dy) else "above" if dy < 0 else "below"
    return f"{first} {relation} {names[order[1]]} on {ground}"
