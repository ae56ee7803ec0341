"""Keypoint R-CNN (He et al. 2017, section 5): Mask R-CNN with a one-hot mask for each keypoint.

Followed: eight 3x3 convolutions of 512 channels on regions of 14x14, a transposed convolution and bilinear enlargement
to maps of 56x56; of each map one cell is right, by a softmax over space; only keypoints that are labelled and lie in
the region count.

Whether a keypoint can be seen is not predicted, in the paper neither: all have visibility 1.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.faster_rcnn import faster_rcnn
from jaxseg.models.region_heads import RegionHeads
from jaxseg.nn import ResNet50, ResNet101
from jaxseg.nn.layers import Conv, ConvTranspose, NormKind
from jaxseg.nn.rcnn_config import TORCHVISION, RCNNConfig
from jaxseg.nn.roi_heads import flattened, he_of_outputs
from jaxseg.ops.keypoints import KeypointRule
from jaxseg.types import Array


class KeypointHead(nn.Module):
    """Regions ``[R, 14, 14, C]`` -> heat maps ``[R, 56, 56, P]`` float32; one of
    :class:`jaxseg.models.RegionHeads`.

    Predicts ``keypoints [B, D, P, 3]``, (x, y, 1) in pixels, and ``keypoint_scores [B, D, P]``, logits
    (:func:`jaxseg.ops.keypoints_from_heat_maps`, by ``rule``). In training, what :func:`jaxseg.losses.keypoint_loss`
    takes, for which targets hold ``keypoints [B, N, P, 3]``.
    """

    keypoints: int
    convs: int = 8
    channels: int = 512
    rule: KeypointRule = "resize"
    dtype: Any = jnp.float32
    region_size: int = 14

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = partial(Conv, self.channels, 3, padding=1, kernel_init=he_of_outputs, dtype=self.dtype)
        for i in range(self.convs):
            x = nn.relu(conv(name=f"conv{i}")(x))
        last = partial(ConvTranspose, kernel_init=he_of_outputs, dtype=self.dtype, name="kps_score_lowres")
        x = last(self.keypoints, 4, 2, padding=1)(x).astype(jnp.float32)
        double = partial(ops.resize_bilinear, size=(2 * x.shape[1], 2 * x.shape[2]))
        return jax.vmap(double)(x)

    def training(
        self, regions: Array, positives: dict[str, Array], targets: Any, config: RCNNConfig
    ) -> dict[str, Array]:
        del config
        logits = flattened(self, regions)
        own = jax.vmap(lambda points, match: points[match])(targets["keypoints"], positives["match"])
        cells, counts = jax.vmap(partial(ops.keypoint_targets, side=logits.shape[2]))(own, positives["boxes"])
        return {"logits": logits, "targets": cells, "valid": counts & positives["valid"][..., None]}

    def predictions(self, regions: Array, found: dict[str, Array], size: tuple[int, int]) -> dict[str, Array]:
        decode = partial(ops.keypoints_from_heat_maps, size=size, rule=self.rule)
        points, scores = jax.vmap(decode)(flattened(self, regions), found["boxes"])
        points = jnp.concatenate([points, jnp.ones_like(points[..., :1])], axis=-1)
        seen = found["valid"][..., None]
        return {"keypoints": jnp.where(seen[..., None], points, 0), "keypoint_scores": jnp.where(seen, scores, 0)}


def keypoint_rcnn(
    num_classes: int = 1,
    resnet: Any = ResNet50,
    config: RCNNConfig = TORCHVISION,
    *,
    keypoints: int = 17,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> RegionHeads:
    """torchvision's ``keypointrcnn_resnet50_fpn``; with ``config=DETECTRON2_KEYPOINTS`` detectron2's
    ``keypoint_rcnn_R_50_FPN``."""
    head = KeypointHead(keypoints, dtype=dtype)
    return RegionHeads(faster_rcnn(num_classes, resnet, config, norm=norm, dtype=dtype), {"keypoint": head})


KeypointRCNNResNet50 = partial(keypoint_rcnn, resnet=ResNet50)
KeypointRCNNResNet101 = partial(keypoint_rcnn, resnet=ResNet101)
