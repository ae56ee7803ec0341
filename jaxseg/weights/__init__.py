"""Published weights: fetched, read without running anything in them, and fitted to our models name by name.

:func:`load` is the one call from a name or a file to a model's variables. This package knows names and arrays, not
modules; the names of each source are in a module called after it: torchvision, detectron2, timm,
huggingface, smp.
"""

from jaxseg.names import COCO_STUFF
from jaxseg.weights import detectron2, huggingface, smp, timm, torchvision
from jaxseg.weights.fetch import fetch
from jaxseg.weights.load import load
from jaxseg.weights.match import to_jaxseg, to_torch
from jaxseg.weights.published import PUBLISHED, Card, Preset, Weights
from jaxseg.weights.read import read_arrays
from jaxseg.weights.vgg import read_vgg16, with_vgg16

__all__ = [
    "COCO_STUFF",
    "PUBLISHED",
    "Card",
    "Preset",
    "Weights",
    "detectron2",
    "fetch",
    "huggingface",
    "load",
    "read_arrays",
    "read_vgg16",
    "smp",
    "timm",
    "to_jaxseg",
    "to_torch",
    "torchvision",
    "with_vgg16",
]
