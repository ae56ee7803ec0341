"""Names of segmentation_models.pytorch for our layers: ``load(path, variables, patterns=smp.UNET)``."""

from jaxseg.weights import torchvision
from jaxseg.weights.match import Patterns

_COMMON: Patterns = ((r"^backbone/", "encoder/"), *torchvision.RESNET, (r"^score$", "segmentation_head.0"))

UNET: Patterns = (
    *_COMMON,
    (r"^up(\d)/conv(\d)$", r"decoder.blocks.\1.conv\2.0"),
    (r"^up(\d)/norm(\d)$", r"decoder.blocks.\1.conv\2.1"),
)
"""Unet with a ResNet encoder (:class:`jaxseg.models.unet_resnet.UNetResNet`)."""

DEEPLAB_V3_PLUS: Patterns = (
    *_COMMON,
    (r"^aspp/conv0/conv$", "decoder.aspp.0.convs.0.0"),
    (r"^aspp/conv0/bn$", "decoder.aspp.0.convs.0.1"),
    (r"^aspp/conv(\d)/depthwise$", r"decoder.aspp.0.convs.\1.0.0"),
    (r"^aspp/conv(\d)/pointwise/conv$", r"decoder.aspp.0.convs.\1.0.1"),
    (r"^aspp/conv(\d)/pointwise/bn$", r"decoder.aspp.0.convs.\1.1"),
    (r"^aspp/pooling/conv$", "decoder.aspp.0.convs.4.1"),
    (r"^aspp/pooling/bn$", "decoder.aspp.0.convs.4.2"),
    (r"^aspp/project/conv$", "decoder.aspp.0.project.0"),
    (r"^aspp/project/bn$", "decoder.aspp.0.project.1"),
    (r"^aspp_conv1/depthwise$", "decoder.aspp.1.0"),
    (r"^aspp_conv1/pointwise/conv$", "decoder.aspp.1.1"),
    (r"^aspp_conv1/pointwise/bn$", "decoder.aspp.2"),
    (r"^low_level/conv$", "decoder.block1.0"),
    (r"^low_level/bn$", "decoder.block1.1"),
    (r"^decoder_conv1/depthwise$", "decoder.block2.0.0"),
    (r"^decoder_conv1/pointwise/conv$", "decoder.block2.0.1"),
    (r"^decoder_conv1/pointwise/bn$", "decoder.block2.1"),
)
"""DeepLabV3Plus with a ResNet encoder (:data:`jaxseg.models.deeplab_v3_plus.SMP_SETTINGS`)."""
