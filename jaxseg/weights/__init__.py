"""Readers of published weights. They know names and arrays, not modules."""

from jaxseg.weights.vgg import read_vgg16, with_vgg16

__all__ = ["read_vgg16", "with_vgg16"]
