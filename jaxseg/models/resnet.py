"""ResNet-18 to 152 (He et al., CVPR 2016), D (He et al. 2019) and wide (Zagoruyko & Komodakis 2016) as classifiers.

The network itself is :class:`jaxseg.nn.ResNet`, which says what is followed; here its last features are averaged over
the image and weighted into the scores of each class. Published weights load by :func:`jaxseg.weights.load`.
"""

from functools import partial
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.nn import IMAGENET, Normalization
from jaxseg.nn import resnet as backbones
from jaxseg.nn.resnet import ResNet
from jaxseg.types import Array, Outputs


class ResNetClassifier(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, K] float32, "features": {"stem", "layer1", ..., "layer4"}}``."""

    num_classes: int
    backbone: ResNet
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        nn.share_scope(self, self.backbone)  # layers are called conv1, layer1_0, ..., fc: torchvision's names
        features = self.backbone(self.normalization(images).astype(self.dtype), train=train)
        pooled = jnp.mean(features["layer4"].astype(jnp.float32), (1, 2))
        return {"logits": nn.Dense(self.num_classes, name="fc")(pooled), "features": features}


def classifier(num_classes: int, resnet: Any, *, dtype: Any = jnp.float32, **settings: Any) -> ResNetClassifier:
    """A classifier on the kind of ``resnet``; ``settings`` are its (``norm``, ``stride_in_1x1``, ...)."""
    return ResNetClassifier(num_classes, resnet(dtype=dtype, **settings), dtype=dtype)


ResNet18 = partial(classifier, resnet=backbones.ResNet18)
ResNet34 = partial(classifier, resnet=backbones.ResNet34)
ResNet50 = partial(classifier, resnet=backbones.ResNet50)
ResNet101 = partial(classifier, resnet=backbones.ResNet101)
ResNet152 = partial(classifier, resnet=backbones.ResNet152)
ResNet50D = partial(classifier, resnet=backbones.ResNet50D)
ResNet101D = partial(classifier, resnet=backbones.ResNet101D)
WideResNet50 = partial(classifier, resnet=backbones.WideResNet50)
WideResNet101 = partial(classifier, resnet=backbones.WideResNet101)
