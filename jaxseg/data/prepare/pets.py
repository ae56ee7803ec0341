"""Oxford-IIIT Pet: 37 breeds of cats and dogs, each picture with a trimap, 3680 to train on and 3669 to be judged by.

Written with the features of TFDS's own ``oxford_iiit_pet:4.0.0``, so that one reader reads both: ``segmentation_mask``
(1 pet, 2 background, 3 what is between), ``label`` (the breed), ``species``, ``head_bbox`` (zeros where unknown). Files
are stored as they are: some named .jpg are PNGs or GIFs, which :func:`jaxseg.data.read_image` reads too.

Parkhi et al. 2012, "Cats and dogs"; CC BY-SA 4.0. The checksums are TFDS's.
"""

from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from jaxseg.data.prepare.archives import Archive, Find
from jaxseg.data.prepare.data_set import DataSet
from jaxseg.names import PET_BREEDS, PET_SPECIES
from jaxseg.types import JaxsegError

_SERVER = "https://thor.robots.ox.ac.uk/~vgg/data/pets"
IMAGES = Archive(
    f"{_SERVER}/images.tar.gz",
    791_918_971,
    "images/Abyssinian_1.jpg",
    "sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
)
ANNOTATIONS = Archive(
    f"{_SERVER}/annotations.tar.gz",
    19_173_078,
    "annotations/trimaps",
    "sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
)


def contents(find: Find, split: str) -> Any:
    """See :class:`jaxseg.data.prepare.data_set.DataSet`."""
    import tensorflow_datasets as tfds

    from jaxseg.data.prepare.writing import Contents

    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=list(PET_BREEDS)),
        "species": tfds.features.ClassLabel(names=list(PET_SPECIES)),
        "file_name": tfds.features.Text(),
        "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        "head_bbox": tfds.features.BBoxFeature(),
    }
    path = find(f"annotations/{'trainval' if split == 'train' else 'test'}.txt")
    lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    strange = [" ".join(line) for line in lines if len(line) != 4 or not all(n.isdigit() for n in line[1:])]
    if strange or not lines:
        raise JaxsegError(f"{path}: {strange[:1] or 'empty'}; expected a name, its breed, species and number a line")
    of_name = {name: (int(breed) - 1, int(species) - 1) for name, breed, species, _ in lines}
    return Contents(features, list(of_name), partial(_example, find, of_name))


def _example(find: Find, of_name: dict[str, tuple[int, int]], name: str) -> dict[str, Any]:
    import tensorflow_datasets as tfds

    breed, species = of_name[name]
    try:
        y1, x1, y2, x2 = _head(find(f"annotations/xmls/{name}.xml"))
    except (JaxsegError, ElementTree.ParseError, TypeError, ValueError):  # most have none, and nothing hangs on it
        y1, x1, y2, x2 = 0.0, 0.0, 0.0, 0.0
    return {
        "image": find(f"images/{name}.jpg").read_bytes(),
        "label": breed,
        "species": species,
        "file_name": f"{name}.jpg",
        "segmentation_mask": find(f"annotations/trimaps/{name}.png").read_bytes(),
        "head_bbox": tfds.features.BBox(y1, x1, y2, x2),
    }


def _head(path: Path) -> tuple[float, float, float, float]:
    """ymin, xmin, ymax, xmax of the head, as parts of the picture's sides."""
    root = ElementTree.parse(path).getroot()
    width, height = (float(root.findtext(f"size/{side}") or "") for side in ("width", "height"))
    x1, y1, x2, y2 = (float(root.findtext(f"object/bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax"))
    return y1 / height, x1 / width, min(y2 / height, 1.0), min(x2 / width, 1.0)


OXFORD_IIIT_PET = DataSet(
    "oxford_iiit_pet",
    "Oxford-IIIT Pet, trimaps, breed and species of cats and dogs",
    "pets",
    "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    "CC BY-SA 4.0",
    {"test": (IMAGES, ANNOTATIONS), "train": (IMAGES, ANNOTATIONS)},
    contents,
    "oxford_iiit_pet, oxford_iiit_pet_breeds",
    version="4.0.0",
)
