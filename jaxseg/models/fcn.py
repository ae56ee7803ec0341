"""Fully convolutional networks (Long, Shelhamer & Darrell, CVPR 2015): FCN-32s, FCN-16s and FCN-8s on VGG-16.

:class:`FCNResNet` at the end is torchvision's descendant of them.

Followed: fc6 and fc7 as a 7x7 and a 1x1 convolution, with ReLU and dropout 0.5; a 1x1 score layer on fc7
and, for the skips, on pool4 and pool3, initialised to zero (so a finer net starts as the coarser one);
scores are added after 2x bilinear deconvolutions that may be learnt; the last deconvolution (32x, 16x, 8x)
is fixed bilinear; input padded by 100 and the scores cropped back by the published offsets.
``at_once=True`` is the all-at-once training of the journal version (PAMI 2017, section 4.3): pool4 and
pool3 are scaled by 0.01 and 0.0001, so that VGG's features at every depth enter with like magnitude. Staged
training, 32s -> 16s -> 8s: :func:`transfer`.

Departs: weights are exact for any input size, since crops follow from the sizes themselves.
``paper_padding=False`` pads conv1_1 by 1 and fc6 by 3 instead, as torchvision-era code does: three times
less work on small images, the same weights. ``fc_features`` may be narrowed from 4096 where the VGG
classifier's weights are not at hand.

Source: section 4 (architecture), section 4.3 (training), and the authors' published net definitions
(offsets 19, 27 and 31, score layers, fixed up-sampling).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import CAFFE, IMAGENET, VGG16, Conv, ConvTranspose, Dropout, Normalization
from jaxseg.nn.heads import FCNHead, enlarge
from jaxseg.nn.layers import NormKind
from jaxseg.nn.resnet import ResNet, ResNet50, ResNet101
from jaxseg.types import Array, JaxsegError, Outputs

zeros = nn.initializers.zeros_init()
CROP_SKIP = {"pool4": 5, "pool3": 9}  # where the skips begin under the scores, with the input padded by 100
CROP_LOGITS = {32: 19, 16: 27, 8: 31}  # where the image begins under the enlarged scores


class FCN(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {"pool3", "pool4", "fc7"}}``.

    ``stride`` 32, 16 or 8 is the finest map that is predicted on. Any H, W >= 1.
    """

    num_classes: int
    stride: Literal[32, 16, 8] = 8
    base: int = 64
    fc_features: int = 4096
    paper_padding: bool = True
    at_once: bool = False
    learn_upsampling: bool = True
    dropout: float = 0.5
    normalization: Normalization = CAFFE
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        if self.stride not in CROP_LOGITS:
            raise JaxsegError(f"FCN has strides 32, 16 and 8, not {self.stride}")
        x = self.normalization(images).astype(self.dtype)
        features = VGG16(100 if self.paper_padding else 1, base=self.base, dtype=self.dtype, name="vgg")(x)
        fc7 = self._classifier(features["pool5"], train)
        score = self._score("score_fr")(fc7)
        for pool, stride, scale in (("pool4", 16, 0.01), ("pool3", 8, 0.0001)):
            if stride < self.stride:
                break
            skip = self._score(f"score_{pool}")(features[pool] * (scale if self.at_once else 1.0))
            score = self._fuse(self._enlarge_twice(score, f"upscore_{pool}"), skip, pool)
        logits = enlarge_bilinear(score.astype(jnp.float32), self.stride, self.paper_padding)
        offset = CROP_LOGITS[self.stride] if self.paper_padding else 0
        logits = crop(logits, offset, images.shape[1:3])
        return {"logits": logits, "features": {k: features[k] for k in ("pool3", "pool4")} | {"fc7": fc7}}

    def _classifier(self, pool5: Array, train: bool) -> Array:
        drop = partial(Dropout(self.dropout), train=train)
        conv = partial(Conv, self.fc_features, dtype=self.dtype)
        x = drop(nn.relu(conv(7, padding=0 if self.paper_padding else 3, name="fc6")(pool5)))
        return drop(nn.relu(conv(1, name="fc7")(x)))

    def _score(self, name: str) -> Conv:
        return Conv(self.num_classes, 1, kernel_init=zeros, dtype=self.dtype, name=name)

    def _enlarge_twice(self, score: Array, name: str) -> Array:
        if not self.learn_upsampling:
            return enlarge_bilinear(score, 2, self.paper_padding)
        padding = 0 if self.paper_padding else 1
        up = partial(ConvTranspose, use_bias=False, kernel_init=bilinear_init, dtype=self.dtype)
        return up(self.num_classes, 4, 2, padding, name=name)(score)

    def _fuse(self, up: Array, skip: Array, pool: str) -> Array:
        if self.paper_padding:  # the padding of 100 makes the skip larger on every side
            return up + crop(skip, CROP_SKIP[pool], up.shape[1:3])
        return crop(up, 0, skip.shape[1:3]) + skip  # sizes that round up make `up` at most one larger


class FCNResNet(nn.Module):
    """FCN as torchvision has it (``fcn_resnet50``): a dilated ResNet of output stride 8, one 3x3 convolution, scores.

    ``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {...}}``, and with ``aux`` in training
    ``"aux_logits"`` of layer3. Any H, W >= 1.
    """

    num_classes: int
    backbone: ResNet
    aux: bool = True
    norm: NormKind = "batch"
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        size = images.shape[1:3]
        features = self.backbone(self.normalization(images).astype(self.dtype), train=train)
        used = {"logits": ("head", "layer4")} | ({"aux_logits": ("aux", "layer3")} if self.aux else {})
        outputs: Outputs = {"features": features}
        for output, (name, layer) in used.items():
            if output == "logits" or train or self.is_initializing():
                x = features[layer]
                head = FCNHead(self.num_classes, x.shape[-1] // 4, norm=self.norm, dtype=self.dtype, name=name)
                outputs[output] = enlarge(head(x, train), size)
        return outputs


def bilinear_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """A transposed convolution's kernel ``[k, k, K, K]`` that enlarges bilinearly, each channel by itself."""
    del key
    return ops.bilinear_kernel(shape[0], shape[-1]).astype(dtype)


def enlarge_bilinear(x: Array, factor: int, grow: bool) -> Array:
    """Fixed bilinear deconvolution of ``[B, H, W, K]``, kernel ``2 * factor``, stride ``factor``.

    With ``grow`` nothing is cut off (``(H - 1) * factor + 2 * factor``); without, the result is ``H *
    factor``.
    """
    kernel = ops.bilinear_kernel(2 * factor, x.shape[-1], depthwise=True).astype(x.dtype)
    padding = 0 if grow else factor // 2
    return ops.transposed_conv(x, kernel, stride=factor, padding=padding, groups=x.shape[-1])


def crop(x: Array, offset: int, size: tuple[int, ...]) -> Array:
    """The window of ``size`` (height, width) that begins at ``(offset, offset)``."""
    return x[:, offset : offset + size[0], offset : offset + size[1]]


def transfer(coarse: Mapping[str, Any], fine: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a finer FCN, begun from a trained coarser one (32s -> 16s -> 8s; section 4.2).

    Every layer that ``coarse`` has is taken over; the new skip's score layer stays zero and its deconvolution
    bilinear, so that before any training the finer net sees what the coarser one saw.
    """
    params = {name: coarse["params"].get(name, new) for name, new in fine["params"].items()}
    different = [
        name
        for name in coarse["params"]
        if name not in params or _shapes(params[name]) != _shapes(fine["params"][name])
    ]
    if different:
        raise JaxsegError(
            f"these layers of the coarser FCN do not fit the finer one: {', '.join(different)}; build "
            "both with the same num_classes and fc_features, and go from 32s to 16s to 8s"
        )
    return {**fine, "params": params}


def _shapes(tree: Any) -> Any:
    return jax.tree.map(jnp.shape, tree)


FCN32s = partial(FCN, stride=32)
FCN16s = partial(FCN, stride=16)
FCN8s = partial(FCN, stride=8)


def fcn_resnet(
    num_classes: int, resnet: Any = ResNet50, *, norm: NormKind = "batch", dtype: Any = jnp.float32, **settings: Any
) -> FCNResNet:
    """torchvision's FCN on the kind of ``resnet``, at output stride 8; ``settings`` are :class:`FCNResNet`'s."""
    backbone = resnet(output_stride=8, norm=norm, dtype=dtype)
    return FCNResNet(num_classes, backbone, norm=norm, dtype=dtype, **settings)


FCNResNet50 = partial(fcn_resnet, resnet=ResNet50)
FCNResNet101 = partial(fcn_resnet, resnet=ResNet101)
