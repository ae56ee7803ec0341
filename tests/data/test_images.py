"""Every odd file is either read rightly or refused in one line that names it and the mend."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import read_image, read_mask, write_png
from jaxseg.data.images import size_of
from jaxseg.types import JaxsegError

RNG = np.random.default_rng(0)
PHOTO = np.kron(RNG.integers(0, 256, (5, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)  # [40, 56, 3]
INDEX = np.kron(RNG.integers(0, 5, (5, 7)), np.ones((8, 8))).astype(np.uint8)  # [40, 56]


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refused(read, file, *said):
    """The error of reading: one line, names the file, says all of `said`."""
    with pytest.raises(JaxsegError) as error:
        read(file)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(str(file))
    for words in said:
        assert words in text, text


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_images_come_back_exactly(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(encoded(Image.fromarray(PHOTO), kind))
    out = read_image(path)
    np.testing.assert_array_equal(out, PHOTO)
    assert out.flags.writeable
    np.testing.assert_array_equal(read_image(path.read_bytes()), PHOTO)


def test_jpeg_comes_back_nearly():
    out = read_image(encoded(Image.fromarray(PHOTO), "JPEG", quality=95, subsampling=0))
    assert np.abs(out.astype(int) - PHOTO).mean() < 4


def test_grey_becomes_rgb():
    for mode, want in (("L", INDEX * 50), ("1", (INDEX > 2) * np.uint8(255))):
        image = Image.fromarray(INDEX * 50) if mode == "L" else Image.fromarray(INDEX > 2)
        assert image.mode == mode
        np.testing.assert_array_equal(read_image(encoded(image)), np.repeat(want[..., None], 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8(kind):
    ramp = np.array([[0, 257, 65535, 32896, 300]], np.uint16)
    out = read_image(encoded(Image.fromarray(ramp), kind))
    np.testing.assert_array_equal(out[..., 0], [[0, 1, 255, 128, 1]])
    np.testing.assert_array_equal(out[..., 0], out[..., 2])


def test_transparency_is_dropped():
    rgba = np.concatenate([PHOTO, np.full((40, 56, 1), 7, np.uint8)], 2)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(rgba))), PHOTO)
    palette = Image.fromarray(INDEX)
    palette.putpalette(list(range(30)))
    out = read_image(encoded(palette, transparency=bytes([0, 128, 255, 255, 255])))
    np.testing.assert_array_equal(out, INDEX[..., None] * 3 + np.arange(3, dtype=np.uint8))


def test_cmyk_is_converted():
    cyan = Image.new("CMYK", (4, 3), (255, 0, 0, 0))
    np.testing.assert_allclose(read_image(encoded(cyan, "JPEG"))[1, 1], [0, 255, 255], atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_image_and_mask(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: np.rot90,
    }[orientation]
    image, mask = (encoded(Image.fromarray(a), "PNG", exif=exif) for a in (PHOTO, INDEX))
    np.testing.assert_array_equal(read_image(image), turn(PHOTO))
    np.testing.assert_array_equal(read_mask(mask), turn(INDEX))
    np.testing.assert_array_equal(read_image(image, exif=False), PHOTO)
    np.testing.assert_array_equal(read_mask(mask, exif=False), INDEX)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # PIL's own
def test_a_broken_exif_block_does_not_matter():
    out = read_image(encoded(Image.fromarray(PHOTO), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff"))
    assert out.shape == PHOTO.shape


def test_one_pixel(tmp_path):
    write_png(tmp_path / "a.png", np.array([[[1, 2, 3]]], np.uint8))
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


def test_a_hundred_megapixels_without_a_bomb_warning(tmp_path):
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(path, compress_level=1)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_mask(path).shape == (10_000, 10_000)
    assert limit == Image.MAX_IMAGE_PIXELS  # PIL's own setting is as it was
    refused(lambda p: read_image(p, max_pixels=10**7), path, "10000x10000", "max_pixels=10000000", "tiles")


def test_missing_empty_and_foreign_files(tmp_path):
    refused(read_image, tmp_path / "none.png", "no such file", "check the path")
    refused(read_image, tmp_path, "no such file")
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    refused(read_image, empty, "empty (0 bytes)", "download it again")
    text = tmp_path / "text.png"
    text.write_text("<html>404</html>")
    refused(read_image, text, "not an image", "save it as PNG")
    with pytest.raises(JaxsegError, match=r"^record 3: the file is empty"):
        read_image(b"", name="record 3")


@pytest.mark.parametrize("kind", ["EPS", "PCX"])
@pytest.mark.parametrize("read", [read_image, read_mask, size_of])
def test_other_formats_are_not_read_under_any_name(tmp_path, kind, read):
    """EPS is a program, and PIL would have Ghostscript run it."""
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(Image.fromarray(PHOTO), kind))
    refused(read, path, "not an image", "PNG" if read is not size_of else "export it again")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_files(tmp_path, kind, part):
    noise = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(whole[: int(len(whole) * part)])
    refused(read_image, path, "it ")


def test_animations_are_refused(tmp_path):
    frames = [Image.new("L", (8, 8), k) for k in (0, 100, 200)]
    for kind in ("gif", "png", "webp", "tiff"):
        path = tmp_path / f"moving.{kind}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        refused(read_image, path, "3 frames", "save the frame you want")


def test_floating_point_is_refused(tmp_path):
    path = tmp_path / "depth.tiff"
    Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)).save(path)
    refused(read_image, path, "float32", "scale it to 8 bit")
    refused(read_mask, path, "mode F", "save it as 8-bit PNG")


def test_masks_keep_their_values(tmp_path):
    path = tmp_path / "m.png"
    palette = RNG.integers(0, 256, (5, 3)).astype(np.uint8)
    wide = INDEX.astype(np.int32) * 1000
    write_png(path, INDEX, palette=palette)
    with Image.open(path) as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(read_mask(path), INDEX)
    np.testing.assert_array_equal(read_image(path), palette[INDEX])
    write_png(path, INDEX)
    np.testing.assert_array_equal(read_mask(path), INDEX)
    assert read_mask(path).dtype == np.uint8
    write_png(path, wide)
    np.testing.assert_array_equal(read_mask(path), wide)
    assert read_mask(path).dtype == np.int32
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(INDEX > 2))), INDEX > 2)


def test_colour_masks_need_a_map(tmp_path):
    colours = np.array([[128, 64, 128], [0, 0, 0], [255, 255, 255], [1, 2, 3], [9, 9, 9]], np.uint8)
    table = {tuple(int(v) for v in c): k for k, c in enumerate(colours)}
    path = tmp_path / "m.png"
    write_png(path, colours[INDEX])
    np.testing.assert_array_equal(read_mask(path, table), INDEX)
    refused(read_mask, path, "5 colours", "(128, 64, 128)", "color_map=")
    del table[(1, 2, 3)]
    refused(lambda p: read_mask(p, table), path, "(1, 2, 3)", f"{(INDEX == 3).sum()} pixels", "class 255")
    palette = Image.fromarray(INDEX)
    palette.putpalette(colours.tobytes())
    table[(1, 2, 3)] = 255
    np.testing.assert_array_equal(
        read_mask(encoded(palette), table), np.where(INDEX == 3, 255, INDEX), "a palette mask, by its colours"
    )


def test_grey_in_three_equal_channels_is_grey():
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(np.repeat(INDEX[..., None], 3, 2)))), INDEX)


def test_grey_values_through_a_map(tmp_path):
    binary = np.where(INDEX > 2, 255, 0).astype(np.uint8)
    for image in (Image.fromarray(binary), Image.fromarray(binary).convert("RGB")):
        np.testing.assert_array_equal(read_mask(encoded(image), {0: 0, 255: 1}), INDEX > 2)
    path = tmp_path / "m.png"
    write_png(path, INDEX)
    refused(lambda p: read_mask(p, {0: 0, 1: 1}), path, "(2, 3, 4)", "class 255")


def test_jpeg_masks_are_refused(tmp_path):
    path = tmp_path / "m.jpg"
    Image.fromarray(INDEX).save(path)
    refused(read_mask, path, "JPEG", "save it as PNG")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.float32),
        np.full((2, 2), -1),
        np.full((2, 2), 65536),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((0, 2), np.uint8),
    ],
)
def test_write_png_refuses_what_png_cannot_hold(tmp_path, array):
    refused(lambda p: write_png(p, array), tmp_path / "a.png", "cannot save", "give uint8")


def test_of_a_phones_two_pictures_the_first_is_taken():
    small = Image.new("RGB", (20, 10))
    pair = encoded(Image.fromarray(PHOTO), "MPO", save_all=True, append_images=[small], quality=95)
    assert read_image(pair).shape == PHOTO.shape
