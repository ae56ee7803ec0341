"""One paper, one file. Each model is a linen module that can be used with no other part of jaxseg."""

from jaxseg.models.contextual import ContextualNet
from jaxseg.models.deeplab import DeepLab, DeepLabResNet, DeepLabV1, DeepLabV2, MultiScale, deeplab_v2_resnet101
from jaxseg.models.deeplab_v3 import DeepLabV3, DeepLabV3ResNet50, DeepLabV3ResNet101
from jaxseg.models.fcn import FCN, FCN8s, FCN16s, FCN32s, FCNResNet, FCNResNet50, FCNResNet101
from jaxseg.models.frrn import FRRN, FRRNA, FRRNB
from jaxseg.models.full_resolution import FullResolution
from jaxseg.models.fusionnet import FusionNet
from jaxseg.models.pspnet import PSPNet, PSPNetResNet50, PSPNetResNet101
from jaxseg.models.resnet import ResNetClassifier
from jaxseg.models.unet import UNet

PAPERS = {
    "jaxseg.models.full_resolution": "the course's first network",
    "jaxseg.models.fcn": "Long et al. 2015",
    "jaxseg.models.deeplab": "Chen et al. 2015, 2018 (v1, v2)",
    "jaxseg.models.deeplab_v3": "Chen et al. 2017",
    "jaxseg.models.unet": "Ronneberger et al. 2015",
    "jaxseg.models.contextual": "Chen et al. 2016",
    "jaxseg.models.fusionnet": "Quan et al. 2016",
    "jaxseg.models.pspnet": "Zhao et al. 2017",
    "jaxseg.models.frrn": "Pohlen et al. 2017",
    "jaxseg.models.resnet": "He et al. 2016, Zagoruyko & Komodakis 2016",
    "jaxseg.models.lesions": "Veit et al. 2016",
}
"""Module -> paper, for the table of models."""

__all__ = [
    "FCN",
    "FRRN",
    "FRRNA",
    "FRRNB",
    "PAPERS",
    "ContextualNet",
    "DeepLab",
    "DeepLabResNet",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3",
    "DeepLabV3ResNet50",
    "DeepLabV3ResNet101",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FCNResNet",
    "FCNResNet50",
    "FCNResNet101",
    "FullResolution",
    "FusionNet",
    "MultiScale",
    "PSPNet",
    "PSPNetResNet50",
    "PSPNetResNet101",
    "ResNetClassifier",
    "UNet",
    "deeplab_v2_resnet101",
]
