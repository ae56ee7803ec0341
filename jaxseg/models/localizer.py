"""Classification and localization of the one object in a picture: two heads on one network, and joints as a third.

A backbone; a linear layer on its averaged features scores the classes; two hidden layers on its features, pooled to a
fixed grid (an average would forget where things are), regress the edges of the object's box, one box for all classes
or one a class, and the places of a fixed number of joints.

Followed: the regression head of Sermanet et al., "OverFeat", ICLR 2014, section 4.1 (hidden layers of 4096 and 1024,
four outputs, a box a class), and joints as regressed by Toshev & Szegedy, "DeepPose", CVPR 2014, section 3.1. All
numbers are relative to the picture: 0 is its middle and -0.5, 0.5 its edges, which is DeepPose's normalisation by the
box ``N(y; b)`` (equation 1) with the whole picture as the box. Which loss, and how the heads are weighed against one
another: :func:`jaxseg.tasks.localization`.

Left out: OverFeat's sliding over several scales and its merging of boxes, and DeepPose's cascade of refining stages:
both serve pictures of several objects or people, or of small ones, which the detectors and Keypoint R-CNN take over.
Departs: the heads are trained together with the backbone (OverFeat holds the classifier's features fixed); any ResNet
is the backbone, where both papers have AlexNet's kind.
"""

from functools import partial
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import IMAGENET, Dropout, Normalization
from jaxseg.nn.layers import NormKind
from jaxseg.nn.resnet import ResNet, ResNet18, ResNet50
from jaxseg.types import Array, Outputs


class Localizer(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, K], "boxes": [B, 4] or [B, K, 4], "joints": [B, P, 2]}``, float32.

    ``boxes`` (x1, y1, x2, y2) and ``joints`` (x, y) are relative to the picture, -0.5..0.5 inside it. ``per_class``
    regresses a box for each class; ``joints`` is P, and without any there is no such output; ``grid`` is the side of
    the pooled features, ``hidden`` the widths of the layers before the regression. Any H, W >= 1.
    """

    num_classes: int
    backbone: ResNet
    per_class: bool = False
    joints: int = 0
    grid: int = 7
    hidden: tuple[int, ...] = (4096, 1024)
    dropout: float = 0.5
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        nn.share_scope(self, self.backbone)  # layers are called conv1, layer1_0, ..., fc: torchvision's names
        features = self.backbone(self.normalization(images).astype(self.dtype), train=train)["layer4"]
        pooled = jnp.mean(features.astype(jnp.float32), (1, 2))
        x = ops.adaptive_avg_pool(features, self.grid).reshape(images.shape[0], -1)
        for i, width in enumerate(self.hidden, 1):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"regress{i}")(x))
            x = Dropout(self.dropout)(x, train=train)
        x = x.astype(jnp.float32)
        b, k = images.shape[0], self.num_classes
        last = partial(nn.Dense, kernel_init=nn.initializers.normal(0.01))  # begins near the picture's middle
        boxes = last(4 * k if self.per_class else 4, name="box")(x)
        outputs = {
            "logits": nn.Dense(k, name="fc")(pooled),
            "boxes": boxes.reshape(b, k, 4) if self.per_class else boxes,
        }
        if self.joints:
            outputs["joints"] = last(2 * self.joints, name="joint")(x).reshape(b, self.joints, 2)
        return outputs


def localizer(
    num_classes: int, resnet: Any, *, norm: NormKind = "batch", dtype: Any = jnp.float32, **settings: Any
) -> Localizer:
    """Classification and localization on the kind of ``resnet``; ``settings`` are :class:`Localizer`'s."""
    return Localizer(num_classes, resnet(norm=norm, dtype=dtype), dtype=dtype, **settings)


LocalizerResNet18 = partial(localizer, resnet=ResNet18)
LocalizerResNet50 = partial(localizer, resnet=ResNet50)
