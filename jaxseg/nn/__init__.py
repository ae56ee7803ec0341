"""Flax (linen) building blocks and backbones. Stateless: ``module.apply(variables, x, train=...)``."""

from jaxseg.nn.fpn import FPN, ResNetFPN
from jaxseg.nn.layers import CAFFE, IMAGENET, Conv, ConvTranspose, Dropout, Norm, Normalization, he_normal
from jaxseg.nn.rcnn_config import (
    DETECTRON2,
    DETECTRON2_C4,
    DETECTRON2_KEYPOINTS,
    GIRSHICK_2014,
    GIRSHICK_2015,
    GKIOXARI_2019,
    JOHNSON_2016,
    TORCHVISION,
    RCNNConfig,
)
from jaxseg.nn.resnet import (
    ResNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    WideResNet50,
    WideResNet101,
)
from jaxseg.nn.vgg import VGG16

__all__ = [
    "CAFFE",
    "DETECTRON2",
    "DETECTRON2_C4",
    "DETECTRON2_KEYPOINTS",
    "FPN",
    "GIRSHICK_2014",
    "GIRSHICK_2015",
    "GKIOXARI_2019",
    "IMAGENET",
    "JOHNSON_2016",
    "TORCHVISION",
    "VGG16",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Norm",
    "Normalization",
    "RCNNConfig",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNetFPN",
    "WideResNet50",
    "WideResNet101",
    "he_normal",
]
