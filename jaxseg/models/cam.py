"""Class activation maps (Zhou et al., CVPR 2016): a classifier that tells where it looked.

The last features are averaged over the picture and weighted into the scores, so the same weights applied at each
place say how much it speaks for a class: ``M_k(x, y) = sum_c w_ck f_c(x, y)`` (section 2, equation 2), and the score
of class k is the mean of its map plus the bias. Localization, learnt from labels of whole pictures.

Followed: VGG-16 without pool5 and what comes after, then "CAM_conv", 3x3 of 1024 units, pooling and one linear layer
(section 3.1); its two groups and the dropout of 0.5 after pooling are in the authors' published net, not in the paper.
Boxes: the map, enlarged bilinearly to the picture, above 20 % of its maximum; the box round the largest connected part
(section 3.2). Every ResNet ends in average pooling and a linear layer already: torchvision's weights load by
:data:`jaxseg.weights.torchvision.RESNET`, and ``output_stride=8`` gives finer maps from the same weights.

``pool="max"`` is Oquab et al., CVPR 2015, "Is object localization for free?", section 3: the classifier is applied at
each place and the score of a class is the greatest of its map, the one most telling part, where the mean asks for the
whole object. (Zhou et al. compare with the maximum of each *feature*, whose maps are no longer parts of the score.)
Oquab et al.'s own network, its adaptation layers and training at several scales are left out: any backbone serves.

Departs: the linear layer has a bias, as published weights have; the paper holds it at 0. Maps leave it out.
"""

from functools import partial
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import CAFFE, IMAGENET, VGG16, Conv, Dropout, Normalization
from jaxseg.nn.resnet import ResNet, ResNet18, ResNet50
from jaxseg.types import Array, JaxsegError, Outputs

Pool = Literal["average", "max"]


def class_activation_maps(features: Array, kernel: Array) -> Array:
    """``M_k = sum_c w_ck f_c``: ``[..., h, w, C]`` features and ``[C, K]`` weights -> ``[..., h, w, K]`` float32."""
    return jnp.einsum("...c,ck->...k", features.astype(jnp.float32), kernel.astype(jnp.float32))


def boxes_from_maps(maps: Array, size: tuple[int, int], threshold: float = 0.2) -> tuple[Array, Array]:
    """Where the maps ``[h, w, K]`` of one picture see each class, in pixels of ``size`` (H, W).

    Returns ``boxes`` [K, 4]: round the largest connected part of the enlarged map that is above ``threshold`` times
    its maximum (section 3.2), zeros where no value is above 0; and ``points`` [K, 2], (x, y) of the maximum.
    """

    def locate(m: Array) -> tuple[Array, Array]:
        box = ops.mask_box(ops.largest_component(m > threshold * jnp.max(m)))
        row, column = jnp.unravel_index(jnp.argmax(m), m.shape)
        return box, jnp.stack([column, row]).astype(jnp.float32) + 0.5

    return jax.vmap(locate, in_axes=-1)(ops.resize_bilinear(maps, size))


class PooledScores(nn.Module):
    """Features ``[B, h, w, C]`` -> logits ``[B, K]`` and maps ``[B, h, w, K]``, both float32.

    ``logits = pool(maps) + bias``; for the mean that is the linear layer on pooled features. Dropout takes whole
    channels, as it does after pooling.
    """

    num_classes: int
    pool: Pool
    dropout: float

    @nn.compact
    def __call__(self, features: Array, train: bool) -> tuple[Array, Array]:
        if self.pool not in ("average", "max"):
            raise JaxsegError(f"pool is {self.pool!r}; it can be average or max")
        b, _, _, c = features.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (c, self.num_classes))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.num_classes,))
        keep = Dropout(self.dropout)(jnp.ones((b, 1, 1, c)), train=train)
        maps = class_activation_maps(features.astype(jnp.float32) * keep, kernel)
        pooled = jnp.mean(maps, (1, 2)) if self.pool == "average" else jnp.max(maps, (1, 2))
        return pooled + bias[None], maps


class CAMVGG16(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, K], "maps": [B, H/16, W/16, K], "features": [B, H/16, W/16, C]}``.

    Float32 scores and maps. Any H, W >= 1; odd sizes round up at each pooling. ``features`` may be narrowed from 1024.
    """

    num_classes: int
    pool: Pool = "average"
    features: int = 1024
    groups: int = 2
    dropout: float = 0.5
    normalization: Normalization = CAFFE
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = VGG16(dtype=self.dtype, name="vgg")(self.normalization(images).astype(self.dtype))["conv5"]
        conv = Conv(self.features, 3, padding=1, groups=self.groups, dtype=self.dtype, name="cam_conv")
        x = nn.relu(conv(x))
        logits, maps = PooledScores(self.num_classes, self.pool, self.dropout, name="fc")(x, train)
        return {"logits": logits, "maps": maps, "features": x}


class CAMResNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, K], "maps": [B, H/s, W/s, K], "features": [B, H/s, W/s, C]}``.

    Float32 scores and maps; ``s`` is the backbone's output stride.
    """

    num_classes: int
    backbone: ResNet
    pool: Pool = "average"
    dropout: float = 0.0
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        nn.share_scope(self, self.backbone)  # layers are called conv1, layer1_0, ..., fc: torchvision's names
        x = self.backbone(self.normalization(images).astype(self.dtype), train=train)["layer4"]
        logits, maps = PooledScores(self.num_classes, self.pool, self.dropout, name="fc")(x, train)
        return {"logits": logits, "maps": maps, "features": x}


def cam_resnet(
    num_classes: int, resnet: Any, pool: Pool = "average", *, dtype: Any = jnp.float32, **settings: Any
) -> CAMResNet:
    """Class activation maps on the kind of ``resnet``; ``settings`` are its (``output_stride=16`` for larger maps)."""
    return CAMResNet(num_classes, resnet(dtype=dtype, **settings), pool, dtype=dtype)


CAMResNet18 = partial(cam_resnet, resnet=ResNet18)
CAMResNet50 = partial(cam_resnet, resnet=ResNet50)
