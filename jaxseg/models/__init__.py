"""One paper, one file. Each model is a linen module that can be used with no other part of jaxseg."""

from jaxseg.models.cam import CAMVGG16, CAMResNet
from jaxseg.models.contextual import ContextualNet
from jaxseg.models.cornernet import CornerNet, CornerNetHourglass104
from jaxseg.models.crf_as_rnn import CRFasRNN
from jaxseg.models.deconvnet import DeconvNet, ProposalWise
from jaxseg.models.deeplab import DeepLab, DeepLabResNet, DeepLabV1, DeepLabV2, MultiScale, deeplab_v2_resnet101
from jaxseg.models.deeplab_v3 import DeepLabV3, DeepLabV3ResNet50, DeepLabV3ResNet101
from jaxseg.models.deeplab_v3_plus import DeepLabV3Plus, DeepLabV3PlusResNet50, DeepLabV3PlusResNet101
from jaxseg.models.densecap import CaptionHead, DenseCapVGG16
from jaxseg.models.fast_rcnn import FastRCNN, FastRCNNVGG16
from jaxseg.models.faster_rcnn import FasterRCNN, FasterRCNNResNet50, FasterRCNNResNet101, ProposerAndDetector
from jaxseg.models.fcn import FCN, FCN8s, FCN16s, FCN32s, FCNResNet, FCNResNet50, FCNResNet101
from jaxseg.models.frrn import FRRN, FRRNA, FRRNB
from jaxseg.models.full_resolution import FullResolution
from jaxseg.models.fusionnet import FusionNet
from jaxseg.models.keypoint_rcnn import KeypointHead, KeypointRCNNResNet50, KeypointRCNNResNet101
from jaxseg.models.localizer import Localizer, LocalizerResNet18, LocalizerResNet50
from jaxseg.models.mask_rcnn import MaskHead, MaskRCNNResNet50, MaskRCNNResNet101
from jaxseg.models.mesh_rcnn import MeshHead, MeshRCNNResNet50, MeshRCNNResNet101
from jaxseg.models.panoptic_fpn import PanopticFPN, PanopticFPNResNet50, PanopticFPNResNet101, SemanticHead
from jaxseg.models.pspnet import PSPNet, PSPNetResNet50, PSPNetResNet101
from jaxseg.models.published import DETECTORS, FRESH_OF_DETECTORS, load_detector, published_network
from jaxseg.models.pyramid_detector import PyramidDetector, WindowNetwork
from jaxseg.models.rcnn import RCNN, RCNNVGG16, RegionNetwork
from jaxseg.models.region_heads import RegionHeads
from jaxseg.models.resnet import ResNetClassifier
from jaxseg.models.sliding_window import SlidingWindow
from jaxseg.models.unet import UNet
from jaxseg.models.unet_resnet import UNetResNet, UNetResNet18, UNetResNet34, UNetResNet50

PAPERS = {
    "jaxseg.models.cam": "Zhou et al. 2016, Oquab et al. 2015",
    "jaxseg.models.contextual": "Chen, Qi et al. 2016",
    "jaxseg.models.cornernet": "Law & Deng 2018",
    "jaxseg.models.crf_as_rnn": "Zheng et al. 2015",
    "jaxseg.models.deconvnet": "Noh et al. 2015",
    "jaxseg.models.deeplab": "Chen, Papandreou et al. 2015, 2018 (v1, v2)",
    "jaxseg.models.deeplab_v3": "Chen et al. 2017",
    "jaxseg.models.deeplab_v3_plus": "Chen et al. 2018",
    "jaxseg.models.densecap": "Johnson et al. 2016",
    "jaxseg.models.fast_rcnn": "Girshick 2015",
    "jaxseg.models.faster_rcnn": "Ren et al. 2015, Lin et al. 2017",
    "jaxseg.models.fcn": "Long et al. 2015",
    "jaxseg.models.frrn": "Pohlen et al. 2017",
    "jaxseg.models.full_resolution": "the course's first network",
    "jaxseg.models.fusionnet": "Quan et al. 2016",
    "jaxseg.models.keypoint_rcnn": "He et al. 2017 (section 5)",
    "jaxseg.models.lesions": "Veit et al. 2016",
    "jaxseg.models.localizer": "Sermanet et al. 2014, Toshev & Szegedy 2014",
    "jaxseg.models.mask_rcnn": "He et al. 2017",
    "jaxseg.models.mesh_rcnn": "Gkioxari et al. 2019",
    "jaxseg.models.panoptic_fpn": "Kirillov et al. 2019",
    "jaxseg.models.pspnet": "Zhao et al. 2017",
    "jaxseg.models.pyramid_detector": "Sermanet et al. 2014",
    "jaxseg.models.rcnn": "Girshick et al. 2014",
    "jaxseg.models.region_heads": "He et al. 2017",
    "jaxseg.models.resnet": "He et al. 2016, Zagoruyko & Komodakis 2016",
    "jaxseg.models.sliding_window": "Ciresan et al. 2012",
    "jaxseg.models.unet": "Ronneberger et al. 2015",
    "jaxseg.models.unet_resnet": "U-Net on a ResNet, as in segmentation_models.pytorch",
    "jaxseg.models.vgg": "Simonyan & Zisserman 2015",
}
"""Module -> paper, for the table of models."""

__all__ = [
    "CAMVGG16",
    "DETECTORS",
    "FCN",
    "FRESH_OF_DETECTORS",
    "FRRN",
    "FRRNA",
    "FRRNB",
    "PAPERS",
    "RCNN",
    "RCNNVGG16",
    "CAMResNet",
    "CRFasRNN",
    "CaptionHead",
    "ContextualNet",
    "CornerNet",
    "CornerNetHourglass104",
    "DeconvNet",
    "DeepLab",
    "DeepLabResNet",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3",
    "DeepLabV3Plus",
    "DeepLabV3PlusResNet50",
    "DeepLabV3PlusResNet101",
    "DeepLabV3ResNet50",
    "DeepLabV3ResNet101",
    "DenseCapVGG16",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FCNResNet",
    "FCNResNet50",
    "FCNResNet101",
    "FastRCNN",
    "FastRCNNVGG16",
    "FasterRCNN",
    "FasterRCNNResNet50",
    "FasterRCNNResNet101",
    "FullResolution",
    "FusionNet",
    "KeypointHead",
    "KeypointRCNNResNet50",
    "KeypointRCNNResNet101",
    "Localizer",
    "LocalizerResNet18",
    "LocalizerResNet50",
    "MaskHead",
    "MaskRCNNResNet50",
    "MaskRCNNResNet101",
    "MeshHead",
    "MeshRCNNResNet50",
    "MeshRCNNResNet101",
    "MultiScale",
    "PSPNet",
    "PSPNetResNet50",
    "PSPNetResNet101",
    "PanopticFPN",
    "PanopticFPNResNet50",
    "PanopticFPNResNet101",
    "ProposalWise",
    "ProposerAndDetector",
    "PyramidDetector",
    "RegionHeads",
    "RegionNetwork",
    "ResNetClassifier",
    "SemanticHead",
    "SlidingWindow",
    "UNet",
    "UNetResNet",
    "UNetResNet18",
    "UNetResNet34",
    "UNetResNet50",
    "WindowNetwork",
    "deeplab_v2_resnet101",
    "load_detector",
    "published_network",
]
