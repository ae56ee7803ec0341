"""Image files to arrays and back: strict, so that a damaged or unexpected file is named, never guessed at.

Images become uint8 RGB, masks integer indices. All that could be read in two ways is decided here, once:

* EXIF orientation is applied (``exif=False`` leaves it out), to masks as to images.
* 16-bit greyscale images are scaled to 8 bit (65535 becomes 255); in masks 16-bit values are kept.
* Transparency is dropped, CMYK converted, colour profiles ignored.
* An animation or a file of several pages is refused, but of the two pictures in a phone's ``.mpo``/``.jpg``
  the first, which is the photograph, is taken.
* A palette mask gives its indices, never its colours.
* A colour mask needs a colour map, unless its three channels are equal: then it is read as the grey it
  shows.
* A JPEG mask is refused: compression has changed its values.
* Of PIL's formats only those of pictures are read, whatever a file is called: EPS would be run by Ghostscript.
"""

import io
import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from jaxseg.types import JaxsegError

MAX_PIXELS = 2**28
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")  # JPEG: and a phone's MPO
PNG_LEVEL = 1  # of 9: a fifteenth of the time of zlib's usual 6, and files a fifth larger
ColorMap = Mapping[Any, int]
"""Class index of each RGB triple, or of each grey value: ``{(128, 64, 128): 0}``, ``{0: 0, 255: 1}``."""

_OPENING = threading.Lock()
_ORIENTATION, _ON_THEIR_SIDE = 0x0112, (5, 6, 7, 8)  # of EXIF
_MOST_COLOURS_NAMED = 5


def read_image(
    file: str | os.PathLike | bytes, *, exif: bool = True, max_pixels: int = MAX_PIXELS, name: str = ""
) -> np.ndarray:
    """Image file to uint8 RGB [H, W, 3].

    Args:
        file: path, or the bytes of the file.
        exif: turn the image as its EXIF orientation says.
        max_pixels: refuse images of more pixels than this (an image of 2**28 takes 805 MB).
        name: what to call the image in errors, where ``file`` is bytes.

    Raises:
        JaxsegError: no such file, empty, truncated, not an image, animated, too large, of floating point
            values. One line that names the file and the mend.
    """
    name = name or ("image" if isinstance(file, bytes) else os.fspath(file))
    with _opened(file, name, max_pixels) as image:
        pixels = _loaded(image, name, exif)
    if pixels.mode == "RGB":
        return np.array(pixels)
    if pixels.mode[0] in "IF":
        return np.repeat(_eight_bit(pixels, name)[..., None], 3, axis=2)
    if pixels.mode == "P" or "transparency" in pixels.info:
        pixels = pixels.convert("RGBA")  # spares PIL's warning about transparent palettes
    return np.array(pixels.convert("RGB"))


def read_mask(
    file: str | os.PathLike | bytes,
    color_map: ColorMap | None = None,
    *,
    exif: bool = True,
    max_pixels: int = MAX_PIXELS,
    name: str = "",
) -> np.ndarray:
    """Label file to indices [H, W]: uint8, or int32 if the file has 16 bits or the map gives more than 255.

    Args:
        file: path, or the bytes of the file. Palette, greyscale (1, 8, 16 bit) or, with a map, colour.
        color_map: class index of each RGB triple or grey value. Every value in the mask must be in it. A
            palette mask is looked up by colour if the keys are triples, by index if they are numbers.
        exif, max_pixels, name: as in :func:`read_image`.

    Raises:
        JaxsegError: as in :func:`read_image`; a JPEG; colours without a map, or not in it.
    """
    name = name or ("mask" if isinstance(file, bytes) else os.fspath(file))
    with _opened(file, name, max_pixels) as image:
        if image.format in ("JPEG", "MPO"):
            raise JaxsegError(f"{name}: a label mask in JPEG has lost its exact values; save it as PNG")
        pixels = _loaded(image, name, exif)
    by_colour = color_map is not None and any(isinstance(key, tuple) for key in color_map)
    values = _mask_values(pixels, name, by_colour)
    if color_map is not None:
        return _look_up(values, color_map, name)
    if values.ndim == 3:
        values = _grey_of_equal(values, name)
    return values


def size_of(path: pathlib.Path, *, exif: bool = True) -> tuple[int, int]:
    """(H, W) of an image file as :func:`read_image` gives it; its pixels are not read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = exif and image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception as error:  # whatever a damaged file leads PIL to
        reason = str(error).split("\n")[0]
        raise JaxsegError(f"{path}: not an image that can be read ({reason}); remove it, or export it again") from error


def write_png(path: str | os.PathLike, array: np.ndarray, *, palette: np.ndarray | None = None) -> pathlib.Path:
    """Save uint8 [H, W, 3] as RGB; integers [H, W] as 8-bit grey, or 16-bit where a value exceeds 255.

    With ``palette`` [K, 3] uint8, indices [H, W] are saved as a palette PNG, which :func:`read_mask` reads
    back as the same indices and viewers show in colour. Folders are made as needed; gives the path back. The file
    appears whole or not at all.
    """
    path = pathlib.Path(path)
    image = _png(array, palette, os.fspath(path))
    partial = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(partial, format="PNG", compress_level=PNG_LEVEL)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise JaxsegError(
            f"{path} can't be written: {error.strerror or error}; free some space or choose another folder"
        ) from error
    return path


def png_bytes(array: np.ndarray) -> bytes:
    """What :func:`write_png` would write."""
    file = io.BytesIO()
    _png(array, None, "png_bytes").save(file, format="PNG", compress_level=PNG_LEVEL)
    return file.getvalue()


def _png(array: np.ndarray, palette: np.ndarray | None, name: str) -> Image.Image:
    array = np.asarray(array)
    rgb = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    grey = array.ndim == 2 and array.dtype.kind in "iub"
    if not (rgb or grey) or array.size == 0 or int(array.min()) < 0 or int(array.max()) > 65535:
        raise JaxsegError(
            f"{name}: cannot save {array.dtype} {list(array.shape)} as PNG; "
            "give uint8 [H, W, 3], or integers 0..65535 [H, W]"
        )
    if rgb:
        return Image.fromarray(array)
    if int(array.max()) > 255:
        return Image.fromarray(array.astype(np.uint16))
    image = Image.fromarray(array.astype(np.uint8))
    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        image.putpalette(colours.tobytes())
    return image


def _opened(file: str | os.PathLike | bytes, name: str, max_pixels: int) -> Image.Image:
    """Open without decoding, and check what the header says."""
    if not isinstance(file, bytes):
        path = pathlib.Path(file)
        if not path.is_file():
            raise JaxsegError(f"{name}: no such file; check the path")
        if path.stat().st_size == 0:
            raise JaxsegError(f"{name}: the file is empty (0 bytes); copy or download it again")
    elif not file:
        raise JaxsegError(f"{name}: the file is empty (0 bytes); copy or download it again")
    try:
        # PIL's own limit warns at 89 megapixels and raises at twice that. Ours replaces it, for this file
        # only.
        with _OPENING:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    except Exception as error:
        raise JaxsegError(f"{name}: not an image PIL can read ({_brief(error)}); save it as PNG or JPEG") from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise JaxsegError(
            f"{name}: {width}x{height} pixels are more than max_pixels={max_pixels}; "
            "cut it into tiles, or raise the limit"
        )
    if frames > 1:
        image.close()
        raise JaxsegError(f"{name}: holds {frames} frames, expected one; save the frame you want as PNG")
    return image


def _loaded(image: Image.Image, name: str, exif: bool) -> Image.Image:
    """Decode all of it, turned upright."""
    try:
        image.load()
    except Exception as error:
        raise JaxsegError(f"{name}: damaged or truncated ({_brief(error)}); copy or download it again") from error
    if not exif:
        return image
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # the pixels are whole, only the EXIF block is not: then nothing says the image is turned
        return image


def _eight_bit(pixels: Image.Image, name: str) -> np.ndarray:
    """16-bit grey [H, W] to uint8, rounded; 32-bit integers pass if their values fit 16 bits."""
    values = np.asarray(pixels)
    if values.dtype.kind == "f" or int(values.min()) < 0 or int(values.max()) > 65535:
        raise JaxsegError(
            f"{name}: {values.dtype} values from {values.min()} to {values.max()}, expected 8 or 16 bits; "
            "scale it to 8 bit and save as PNG"
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _mask_values(pixels: Image.Image, name: str, by_colour: bool) -> np.ndarray:
    """Indices [H, W] uint8 or int32, or colours [H, W, 3] uint8."""
    if pixels.mode in ("P", "PA") and by_colour:
        return np.asarray(pixels.convert("RGBA").convert("RGB"))
    if pixels.mode in ("1", "L", "P"):
        return np.array(pixels, np.uint8)
    if pixels.mode in ("LA", "PA"):
        return np.array(pixels)[..., 0]
    if pixels.mode[0] == "I":
        return np.array(pixels, np.int32)
    if pixels.mode in ("RGB", "RGBA", "RGBX"):
        return np.array(pixels)[..., :3]
    raise JaxsegError(
        f"{name}: a mask of PIL mode {pixels.mode}, expected palette, greyscale or RGB; save it as 8-bit PNG"
    )


def _grey_of_equal(colours: np.ndarray, name: str) -> np.ndarray:
    """Colours [H, W, 3] of equal channels to [H, W]; others are refused."""
    if (colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all():
        return np.ascontiguousarray(colours[..., 0])
    found = _distinct(_codes(colours))
    raise JaxsegError(
        f"{name}: an RGB mask with {len(found)} colours ({_named(found)}), expected class indices; "
        "give color_map={(r, g, b): class, ...}, or save it as palette or greyscale PNG"
    )


def _look_up(values: np.ndarray, color_map: ColorMap, name: str) -> np.ndarray:
    """Every value through the map."""
    colour = values.ndim == 3
    if not colour and any(isinstance(key, tuple) for key in color_map):
        values, colour = np.repeat(values[..., None], 3, axis=2), True
    if colour and not any(isinstance(key, tuple) for key in color_map):
        values, colour = _grey_of_equal(values, name), False
    codes = _codes(values) if colour else values.astype(np.int32)
    keys = np.array([(k[0] << 16 | k[1] << 8 | k[2]) if isinstance(k, tuple) else int(k) for k in color_map])
    order = np.argsort(keys)
    classes = np.array(list(color_map.values()))[order]
    place = np.minimum(np.searchsorted(keys[order], codes), len(keys) - 1)
    unknown = keys[order][place] != codes
    if unknown.any():
        found = _distinct(codes[unknown])
        what = _named(found) if colour else ", ".join(map(str, found[:_MOST_COLOURS_NAMED]))
        raise JaxsegError(
            f"{name}: {len(found)} value(s) that color_map does not hold ({what}) in {int(unknown.sum())} "
            "pixels; add them to it, with class 255 if they are void"
        )
    dtype = np.uint8 if classes.min() >= 0 and classes.max() <= 255 else np.int32
    return classes.astype(dtype)[place]


def _codes(colours: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 to one int32 per colour."""
    c = colours.astype(np.int32)
    return c[..., 0] << 16 | c[..., 1] << 8 | c[..., 2]


def _distinct(codes: np.ndarray) -> list[int]:
    return [int(v) for v in np.unique(codes)]


def _named(codes: list[int]) -> str:
    shown = ", ".join(str((c >> 16, c >> 8 & 255, c & 255)) for c in codes[:_MOST_COLOURS_NAMED])
    return shown + (", ..." if len(codes) > _MOST_COLOURS_NAMED else "")


def _brief(error: Exception) -> str:
    """The first line of an error, without PIL's addresses of memory."""
    text = str(error).split("\n")[0].split(" <_io")[0]
    return text or type(error).__name__
