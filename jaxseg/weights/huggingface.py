"""Names of Hugging Face's transformers for our layers: ``load(path, variables, patterns=huggingface.RESNET)``."""

from jaxseg.weights.match import Patterns

RESNET: Patterns = (
    (r"^conv1$", "resnet.embedder.embedder.convolution"),
    (r"^bn1$", "resnet.embedder.embedder.normalization"),
    *((rf"^layer{n + 1}_(\d+)/", rf"resnet.encoder.stages.{n}.layers.\1/") for n in range(4)),
    *((rf"/conv{n + 1}$", rf"/layer.{n}.convolution") for n in range(3)),
    *((rf"/bn{n + 1}$", rf"/layer.{n}.normalization") for n in range(3)),
    (r"downsample_conv$", "shortcut.convolution"),
    (r"downsample_bn$", "shortcut.normalization"),
    (r"^fc$", "classifier.1"),
)
"""ResNetForImageClassification, resnet-18 to 152 (``downsample_in_bottleneck``: ``stride_in_1x1=True`` here)."""
