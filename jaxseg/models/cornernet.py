"""CornerNet (Law & Deng, ECCV 2018): a box is two corners, found as places of heat maps and paired by what they say of
themselves; no anchors, no regions.

Followed: two hourglasses of 104 layers in all (section 3.5), the second seeing what the first saw, and both trained;
for each kind of corner a module that pools toward it (3.4), and three heads: a heat map for every class, an embedding,
a place's offset (3.2, 3.3); focal loss by unnormalised Gaussians; boxes by pairing and Soft-NMS, 100 of them (4.2).

Departs: radii of the Gaussians by the equations, not by the authors' code (:func:`jaxseg.ops.corner_radius`). Left out:
the picture mirrored and seen again when testing (``jaxseg.infer`` has such augmentation for label maps only).
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.fast_rcnn import inside, true_sizes
from jaxseg.nn.heads import ConvNorm
from jaxseg.nn.hourglass import StackedHourglass
from jaxseg.nn.layers import Conv, Norm, Normalization, NormKind, pad_to_multiple
from jaxseg.ops.corner import Side
from jaxseg.types import Array, Outputs

CORNERNET = Normalization((0.47026115, 0.44719302, 0.40789654), (0.27809835, 0.27408164, 0.28863828))
STRIDE = 4
_KINDS: dict[str, tuple[Side, Side]] = {"top_left": ("top", "left"), "bottom_right": ("bottom", "right")}


class CornerNet(nn.Module):
    """``images [B, H, W, 3]``, of which ``sizes [B, 2]`` are image and the rest padding -> ``boxes [B, D, 4]``,
    ``scores [B, D]``, ``classes [B, D]`` from 1 and ``valid [B, D]``, detections in pixels, best first; in training
    not.

    In either case ``top_left`` and ``bottom_right``: of each hourglass :class:`jaxseg.ops.Corners` of maps ``[B, h, w,
    ...]``, whose places are 4 pixels apart; h and w are those of the images made multiples of the backbone's
    ``multiple``.
    """

    num_classes: int
    backbone: StackedHourglass = StackedHourglass()
    pool_features: int = 128
    corners: int = 100
    detections: int = 100
    max_distance: float = 0.5
    normalization: Normalization = CORNERNET
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, sizes: Array | None = None, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        sizes = true_sizes(images, sizes)
        x = jnp.where(inside(images, sizes), self.normalization(images), 0)
        maps = self.backbone(pad_to_multiple(x, self.backbone.multiple).astype(self.dtype), train=train)
        outputs: Outputs = {kind: [] for kind in _KINDS}
        for i, features in enumerate(maps):
            for kind in _KINDS:
                outputs[kind].append(self._corners(features, kind, f"{kind}{i}", train))
        if train:
            return outputs
        find = partial(boxes_of, corners=self.corners, detections=self.detections, max_distance=self.max_distance)
        found = jax.vmap(find)(outputs["top_left"][-1], outputs["bottom_right"][-1], sizes)
        return outputs | found._asdict()

    def _corners(self, x: Array, kind: str, name: str, train: bool) -> ops.Corners:
        pooling = CornerPooling(_KINDS[kind], self.pool_features, self.norm, self.dtype, name=f"{name}_pool")
        y = pooling(x, train)
        head = partial(Head, dtype=self.dtype)
        logits = head(self.num_classes, bias=-2.19, name=f"{name}_heat")(y)  # of a probability of 0.1
        embedding = head(1, name=f"{name}_embedding")(y)[..., 0]
        return ops.Corners(logits, embedding, head(2, name=f"{name}_offset")(y))


class CornerPooling(nn.Module):
    """``[B, h, w, C]`` -> the same: two pooled maps added, a shortcut beside them (figure 7)."""

    sides: tuple[Side, Side]
    features: int
    norm: NormKind
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        width, conv = x.shape[-1], partial(ConvNorm, norm=self.norm, dtype=self.dtype)
        pooled = [
            jax.vmap(partial(ops.corner_pool, side=side))(conv(self.features, name=f"{side}")(x, train))
            for side in self.sides
        ]
        plain, norm = partial(Conv, width, use_bias=False, dtype=self.dtype), partial(Norm, self.norm, dtype=self.dtype)
        y = norm(name="pooled_bn")(plain(3, padding=1, name="pooled")(pooled[0] + pooled[1]), train=train)
        shortcut = norm(name="shortcut_bn")(plain(1, name="shortcut")(x), train=train)
        return conv(width, name="out")(nn.relu(y + shortcut), train)


class Head(nn.Module):
    """3x3 convolution, ReLU, 1x1 convolution: ``[B, h, w, C]`` -> ``[B, h, w, features]`` float32."""

    features: int
    bias: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(Conv(x.shape[-1], 3, padding=1, dtype=self.dtype, name="conv")(x))
        last = Conv(self.features, 1, dtype=self.dtype, bias_init=nn.initializers.constant(self.bias), name="last")
        return last(x).astype(jnp.float32)


def boxes_of(
    top_left: ops.Corners,
    bottom_right: ops.Corners,
    size: Array,
    *,
    corners: int,
    detections: int,
    max_distance: float,
) -> ops.Detections:
    """One image's: corners paired, boxes cut to the image, Soft-NMS of each class."""
    found = ops.pair_corners(top_left, bottom_right, stride=STRIDE, corners=corners, max_distance=max_distance)
    boxes = ops.clip_boxes(found.boxes, size)
    # Boxes of different classes are moved to where they can't meet.
    apart = found.classes.astype(jnp.float32)[:, None] * 2 * jnp.max(size).astype(jnp.float32)
    scores = jnp.where(found.valid, found.scores, -jnp.inf)
    kept = ops.soft_nms(boxes + apart, scores, max_outputs=min(detections, len(boxes)))
    valid, index = kept.valid, kept.indices
    return ops.Detections(
        jnp.where(valid[:, None], boxes[index], 0), kept.scores, jnp.where(valid, found.classes[index], 0), valid
    )


CornerNetHourglass104 = partial(CornerNet)
