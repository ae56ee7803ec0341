"""Your own images and masks: two folders, matched by file name."""

import dataclasses
import functools
import os
import pathlib
from typing import Any

import numpy as np

from jaxseg.data.images import MAX_PIXELS, ColorMap, read_image, read_mask, size_of
from jaxseg.metrics.labels import check_labels
from jaxseg.types import VOID, JaxsegError

IMAGE_EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".mpo", ".png", ".ppm", ".tif", ".tiff", ".webp")
MASK_EXTENSIONS = (".bmp", ".gif", ".pgm", ".png", ".tif", ".tiff")
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Folder:
    """A source of images and their label masks: ``folder[i]`` gives ``image``, ``label`` and ``name``.

    ``image`` uint8 [H, W, 3] and ``label`` [H, W], uint8 (int32 for more than 255 classes). An image
    belongs to the mask of the same name but for the extension and ``mask_suffix``. Files are taken in the
    order of their names. They are looked for when first asked for (``len``, ``folder[i]``), all of them: what
    is missing shows then, what is damaged when it is read. So a trained run is read without its data.

    Args:
        images, masks: the two folders (not searched deeper).
        classes: names of the classes, in the order of their indices.
        color_map: class of each colour or grey value in the masks (:func:`jaxseg.data.read_mask`).
        reduce_zero_label: index 0 is void and class k stands as k + 1 in the files (ADE20K's way).
        ignore_index: the value in the files that means void; it becomes 255.
        mask_suffix: what a mask's name has after the image's: ``"_L"`` matches ``a.jpg`` with ``a_L.png``.
        colors: RGB of each class to draw it with; by default spread over the colour circle.
        exif: apply EXIF orientation, to images and masks. Set it False if the masks were drawn on unturned
            images.
        allow_0_255: 255 is void even in two-class masks that hold 0 and 255 only.
        max_pixels: refuse larger images.

    Raises:
        JaxsegError: classes and colors of unlike number; on looking: a folder that is missing or holds no
            images, images without mask (by name); on reading: what :func:`read_image` and :func:`read_mask`
            refuse, sizes that differ, labels out of range.
    """

    images: str | os.PathLike
    masks: str | os.PathLike
    classes: tuple[str, ...]
    color_map: ColorMap | None = dataclasses.field(default=None, hash=False)
    reduce_zero_label: bool = False
    ignore_index: int = VOID
    mask_suffix: str = ""
    colors: tuple[tuple[int, int, int], ...] | None = None
    exif: bool = True
    allow_0_255: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not self.classes or isinstance(self.classes, str):
            raise JaxsegError(f"Folder.classes must be a tuple of names, got {self.classes!r}")
        if self.colors is not None and len(self.colors) != len(self.classes):
            raise JaxsegError(f"Folder has {len(self.classes)} classes but {len(self.colors)} colors")

    @functools.cached_property
    def files(self) -> tuple[tuple[pathlib.Path, pathlib.Path], ...]:
        """(image, mask) paths, sorted by name."""
        images = _listed(self.images, IMAGE_EXTENSIONS, "images")
        masks = _listed(self.masks, MASK_EXTENSIONS, "masks")
        bare = {stem: path for stem, path in images.items() if stem + self.mask_suffix not in masks}
        if bare:
            names = ", ".join(path.name for path in list(bare.values())[:_MOST_NAMED])
            example = next(iter(bare)) + self.mask_suffix
            raise JaxsegError(
                f"{os.fspath(self.masks)}: no mask for {len(bare)} of {len(images)} images ({names}"
                f"{', ...' if len(bare) > _MOST_NAMED else ''}); expected files such as {example}.png: "
                "add them, set mask_suffix, or move these images away"
            )
        return tuple((path, masks[stem + self.mask_suffix]) for stem, path in images.items())

    @property
    def palette(self) -> np.ndarray:
        """[K, 3] uint8 colours to draw labels with."""
        return np.array(self.colors, np.uint8) if self.colors else spread_colors(len(self.classes))

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """[N, 2], height and width of each image, from the files' heads."""
        return np.array([size_of(image, exif=self.exif) for image, _ in self.files])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_path, mask_path = self.files[index]
        image = read_image(image_path, exif=self.exif, max_pixels=self.max_pixels)
        mask = read_mask(mask_path, self.color_map, exif=self.exif, max_pixels=self.max_pixels)
        if image.shape[:2] != mask.shape:
            raise JaxsegError(_differing_sizes(image_path, mask_path, image.shape, mask.shape, self.exif))
        label = to_labels(
            mask,
            len(self.classes),
            reduce_zero_label=self.reduce_zero_label,
            ignore_index=self.ignore_index,
            allow_0_255=self.allow_0_255,
            where=str(mask_path),
        )
        return {"image": image, "label": label, "name": str(image_path)}


def to_labels(
    mask: np.ndarray,
    num_classes: int,
    *,
    reduce_zero_label: bool = False,
    ignore_index: int = VOID,
    allow_0_255: bool = False,
    where: str = "",
) -> np.ndarray:
    """Mask indices as in a file to labels 0..K-1 and 255, checked: uint8, or int32 for over 255 classes."""
    if mask.dtype == np.uint8:  # the usual case; the distinct values are checked, not every pixel
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).astype(np.int32)
    else:
        values = np.unique(mask).astype(np.int32)
    void = (values == ignore_index) | (reduce_zero_label & (values == 0))
    labels = np.where(void, VOID, values - int(reduce_zero_label))
    if num_classes > VOID and void.any():
        raise JaxsegError(f"{where}: with {num_classes} classes the index {VOID} is a class and cannot be void")
    if reduce_zero_label:
        check_labels(labels[None], num_classes, where=where, allow_0_255=True)
    else:
        check_labels(values[None], num_classes, ignore_index=ignore_index, where=where, allow_0_255=allow_0_255)
    dtype = np.uint8 if num_classes <= VOID else np.int32
    if mask.dtype == dtype and np.array_equal(labels, values):
        return mask
    if mask.dtype == np.uint8:
        table = np.zeros(256, dtype)
        table[values] = labels
        return table[mask]
    return labels.astype(dtype)[np.searchsorted(values, mask)]


def camvid(root: str | os.PathLike, split: str = "train") -> Folder:
    """CamVid's 11 classes of the SegNet paper, as ``root/{train,val}/{images,masks}``; 255 is void."""
    folder = pathlib.Path(root) / split
    rgb = map(bytes.fromhex, _CAMVID_COLORS.split())
    return Folder(folder / "images", folder / "masks", CAMVID_CLASSES, colors=tuple((c[0], c[1], c[2]) for c in rgb))


CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian"),
    "bicyclist",
)
_CAMVID_COLORS = "808080 800000 c0c080 804080 3c28de 808000 c08080 404080 400080 404000 0080c0"  # of the SegNet paper

CAMVID_FREQUENCIES = (0.1754, 0.2421, 0.0102, 0.3296, 0.0467, 0.1012, 0.0122, 0.0117, 0.0611, 0.0067, 0.0030)
"""Of CamVid's training pixels, 11 classes, as :func:`jaxseg.data.class_frequencies` counts them."""


def spread_colors(count: int) -> np.ndarray:
    """[count, 3] uint8 colours that differ: PASCAL VOC's, without its black."""
    index = np.arange(1, count + 1)
    colors = np.zeros((count, 3), np.int64)
    for bit in range(8):  # bits 0, 1, 2 of the index become the top bits of red, green, blue; and so on down
        for channel in range(3):
            colors[:, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return colors.astype(np.uint8)


def _listed(folder: str | os.PathLike, extensions: tuple[str, ...], what: str) -> dict[str, pathlib.Path]:
    """Files of the folder by stem, sorted."""
    path = pathlib.Path(folder)
    if not path.is_dir():
        raise JaxsegError(f"{path}: no such folder of {what}; check the path")
    found: dict[str, pathlib.Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in extensions or file.name.startswith("."):
            continue
        if file.stem in found:
            raise JaxsegError(f"{file}: the folder also has {found[file.stem].name}; remove or rename one of the two")
        found[file.stem] = file
    if not found:
        raise JaxsegError(f"{path}: no {what} in this folder; expected files ending in {', '.join(extensions)}")
    return found


def _differing_sizes(
    image_path: pathlib.Path,
    mask_path: pathlib.Path,
    image: tuple[int, ...],
    mask: tuple[int, ...],
    exif: bool,
) -> str:
    """The message for an image and a mask of unlike sizes."""
    text = f"{mask_path}: the mask is {mask[0]}x{mask[1]} and its image {image_path.name} {image[0]}x{image[1]}"
    if exif and (mask[1], mask[0]) == image[:2] and read_image(image_path, exif=False).shape[:2] == mask:
        return (
            f"{text}: the image is turned by its EXIF orientation and the mask was drawn on the unturned "
            "one; read both with exif=False"
        )
    return f"{text} (height x width); resize the mask by nearest neighbour, or pair it with its own image"
