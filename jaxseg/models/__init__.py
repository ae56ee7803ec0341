"""One paper, one file. Each model is a linen module that can be used with no other part of jaxseg."""

from jaxseg.models.fcn import FCN, FCN8s, FCN16s, FCN32s
from jaxseg.models.full_resolution import FullResolution
from jaxseg.models.unet import UNet

PAPERS = {
    "jaxseg.models.fcn": "Long et al. 2015",
    "jaxseg.models.full_resolution": "the course's first network",
    "jaxseg.models.unet": "Ronneberger et al. 2015",
}
"""Module -> paper, for the table of models."""

__all__ = ["FCN", "PAPERS", "FCN8s", "FCN16s", "FCN32s", "FullResolution", "UNet"]
