"""timm's names for our layers: ``load(path, variables, patterns=timm.RESNET_D)``."""

from jaxseg.weights import torchvision
from jaxseg.weights.match import Patterns

RESNET: Patterns = torchvision.RESNET
"""resnet18 to 152 and the wide ones."""

RESNET_D: Patterns = (
    (r"stem_conv1$", "conv1.0"),
    (r"stem_bn1$", "conv1.1"),
    (r"stem_conv2$", "conv1.3"),
    (r"stem_bn2$", "conv1.4"),
    (r"stem_conv3$", "conv1.6"),
    (r"stem_bn3$", "bn1"),
    (r"(layer\d)_(\d+)", r"\1.\2"),
    (r"downsample_conv", "downsample.1"),  # 0 is the pooling
    (r"downsample_bn", "downsample.2"),
)
"""resnet18d to 152d (:data:`jaxseg.models.resnet.ResNet50D`)."""
