"""Flax (linen) building blocks and backbones. Stateless: ``module.apply(variables, x, train=...)``."""

from jaxseg.nn.layers import CAFFE, IMAGENET, Conv, ConvTranspose, Dropout, Norm, Normalization, he_normal
from jaxseg.nn.vgg import VGG16

__all__ = [
    "CAFFE",
    "IMAGENET",
    "VGG16",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Norm",
    "Normalization",
    "he_normal",
]
