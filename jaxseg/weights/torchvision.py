"""torchvision's names for our layers, to read its published weights: ``to_jaxseg(variables, arrays, DEEPLAB_V3)``."""

from jaxseg.weights.match import Patterns

RESNET: Patterns = (
    (r"(layer\d)_(\d+)", r"\1.\2"),
    (r"downsample_conv", "downsample.0"),
    (r"downsample_bn", "downsample.1"),
)
"""resnet18 to 152, wide_resnet50_2 and 101_2 (:class:`jaxseg.models.ResNetClassifier`)."""

_AUX: Patterns = (
    (r"^aux/conv/conv$", "aux_classifier.0"),
    (r"^aux/conv/bn$", "aux_classifier.1"),
    (r"^aux/score$", "aux_classifier.4"),
)

FCN_RESNET: Patterns = (
    *RESNET,
    *_AUX,
    (r"^head/conv/conv$", "classifier.0"),
    (r"^head/conv/bn$", "classifier.1"),
    (r"^head/score$", "classifier.4"),
)
"""fcn_resnet50 and 101 (:class:`jaxseg.models.FCNResNet`)."""

DEEPLAB_V3: Patterns = (
    *RESNET,
    *_AUX,
    (r"^aspp/conv(\d)/conv$", r"classifier.0.convs.\1.0"),
    (r"^aspp/conv(\d)/bn$", r"classifier.0.convs.\1.1"),
    (r"^aspp/pooling/conv$", "classifier.0.convs.4.1"),
    (r"^aspp/pooling/bn$", "classifier.0.convs.4.2"),
    (r"^aspp/project/conv$", "classifier.0.project.0"),
    (r"^aspp/project/bn$", "classifier.0.project.1"),
    (r"^head/conv$", "classifier.1"),
    (r"^head/bn$", "classifier.2"),
    (r"^score$", "classifier.4"),
)
"""deeplabv3_resnet50 and 101 (:class:`jaxseg.models.DeepLabV3`)."""
