"""Fast R-CNN (Girshick, ICCV 2015): the whole image once through the network, then each proposed region from its map.

Followed: proposals from outside (selective search; they come with the batch), RoIPool to 7x7 (section 2.1), VGG-16's
own fc6 and fc7 with dropout, a softmax over classes and background beside a transform a class; their losses added, in
one training (2.2, 2.3); 64 regions of an image, a quarter of them of IoU 0.5 or more with an object, background those
of 0.1 to 0.5 (the harder ones); transforms normalised; suppression at 0.3 (3.2).

Departs: transforms are normalised by the fixed deviations of the paper's code, not the data's own, and their mean
counts as 0; scale is the pipeline's affair. Left out: truncated SVD of the fully connected layers (3.1).

What other detectors share with it is here: :func:`true_sizes`, :func:`normalized`, :func:`true_instances`,
:func:`roi_targets`, :func:`detections`.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import GIRSHICK_2015, VGG16, RCNNConfig
from jaxseg.nn.roi_heads import BoxPredictor, TwoFC, flattened
from jaxseg.types import Array, JaxsegError, Outputs, example_indices


class FastRCNN(nn.Module):
    """``images [B, H, W, 3]``, of which ``sizes [B, 2]`` are image and the rest padding, and ``proposals`` (``boxes
    [B, R, 4]``, ``valid [B, R]``) -> ``boxes [B, D, 4]``, ``scores [B, D]``, ``classes [B, D]`` from 1 and ``valid
    [B, D]``, detections in pixels, best first; in training instead ``roi``, what :func:`jaxseg.losses.roi_losses`
    takes, made with ``targets`` (``boxes [B, N, 4]``, ``classes``, ``valid``, and ``crowd`` if there are such), drawing
    from the generator ``sampling``. In either case ``features [B, h, w, C]`` are among the outputs.

    ``backbone``: normalised images -> named maps, of which ``layer``, of ``stride`` pixels, is read; ``box_head``: RoI
    features ``[R, box_size, box_size, C]`` -> ``[R, F]``.
    """

    num_classes: int
    backbone: Any
    box_head: Any
    layer: str = "conv5"
    stride: int = 16
    config: RCNNConfig = GIRSHICK_2015
    box_size: int = 7
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.box_predictor = BoxPredictor(self.num_classes, self.config.normal_predictor, self.dtype)

    def __call__(
        self,
        images: Array,
        sizes: Array | None = None,
        targets: Any = None,
        proposals: Any = None,
        *,
        train: bool = False,
    ) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        if proposals is None:
            raise JaxsegError("Fast R-CNN needs proposals: add data.Propose to the data's transforms")
        sizes = true_sizes(images, sizes)
        x = normalized(self.config, images, sizes).astype(self.dtype)
        features = self.backbone(x, train=train)[self.layer]
        boxes, valid = proposals["boxes"].astype(jnp.float32), proposals["valid"]
        if not train:
            scores, deltas = self._classify(features, boxes, train)
            detect = jax.vmap(partial(detections, self.config))
            found = detect(nn.softmax(scores)[..., 1:], deltas, boxes, valid, sizes)
            return {"features": features, **found._asdict()}
        if targets is None:
            raise JaxsegError("a detector is trained with targets: model.apply(variables, images, sizes, instances)")
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("sampling"), example_indices(len(images)))
        roi = jax.vmap(partial(roi_targets, self.config))(keys, (boxes, valid), true_instances(targets))
        roi["logits"], roi["deltas"] = self._classify(features, roi["boxes"], train)
        return {"features": features, "roi": roi}

    def _classify(self, features: Array, boxes: Array, train: bool) -> tuple[Array, Array]:
        """Scores ``[B, R, K + 1]`` and transforms ``[B, R, K, 4]`` of regions."""
        pool = partial(ops.roi_pool, output_size=self.box_size, spatial_scale=1 / self.stride)
        return flattened(lambda x: self.box_predictor(self.box_head(x, train)), jax.vmap(pool)(features, boxes))


def true_sizes(images: Array, sizes: Array | None) -> Array:
    """``sizes [B, 2]``; if None those of ``images [B, H, W, C]``, of which nothing is padding then."""
    return jnp.broadcast_to(jnp.array(images.shape[1:3]), (images.shape[0], 2)) if sizes is None else sizes


def inside(images: Array, sizes: Array) -> Array:
    """``[B, H, W, 1]`` bool: what of ``images [B, H, W, C]`` is not padding, by their ``sizes [B, 2]``."""
    rows, columns = (jnp.arange(n)[None] < sizes[:, i, None] for i, n in enumerate(images.shape[1:3]))
    return rows[:, :, None, None] & columns[:, None, :, None]


def normalized(config: RCNNConfig, images: Array, sizes: Array) -> Array:
    """Images as the network expects them; padding is 0, as a convolution's own is."""
    return jnp.where(inside(images, sizes), config.normalization(images), 0)


def detections(
    config: RCNNConfig, probabilities: Array, deltas: Array, boxes: Array, valid: Array, size: Array
) -> ops.Detections:
    """:func:`jaxseg.ops.detect` by the numbers of ``config``."""
    c = config
    return ops.detect(
        probabilities,
        deltas,
        boxes,
        valid,
        size,
        weights=c.box_weights,
        score_threshold=c.score_threshold,
        iou_threshold=c.nms_threshold,
        max_outputs=c.detections,
        min_size=c.min_size,
        candidates=c.candidates,
    )


def true_instances(targets: Any) -> dict[str, Array]:
    """``boxes``, ``classes``, ``valid`` and ``crowd`` of targets; what has no size, or is not finite, is none."""
    boxes, valid = targets["boxes"].astype(jnp.float32), targets["valid"]
    valid = valid & jnp.all(jnp.isfinite(boxes), axis=-1) & jnp.all(boxes[..., 2:] > boxes[..., :2], axis=-1)
    crowd = targets.get("crowd", jnp.zeros_like(valid))
    return {
        "boxes": jnp.where(valid[..., None], boxes, 0),
        "classes": targets["classes"].astype(jnp.int32),
        "valid": valid,
        "crowd": crowd,
    }


def roi_targets(
    config: RCNNConfig, key: Array, proposals: Any, truth: dict[str, Array], *, with_truth: bool = True
) -> dict[str, Array]:
    """Of one image: the regions that class and transform are trained on, those of objects first (Girshick 2015, section
    2.3).

    They are drawn from ``proposals``, (boxes, ..., valid), and the true boxes, if ``with_truth``. ``boxes [R, 4]``,
    ``valid [R]``, ``classes [R]`` (0 background), ``targets [R, 4]``, ``match [R]``: the instance that a region
    overlaps most, ``index [R]``: which proposal it is.
    """
    c, boxes, valid = config, proposals[0], proposals[-1]
    if with_truth:
        boxes = jnp.concatenate([boxes, truth["boxes"]])
        valid = jnp.concatenate([valid, truth["valid"] & ~truth["crowd"]])
    matches = ops.match(
        boxes,
        truth["boxes"],
        truth["valid"],
        positive=c.roi_positive,
        negative=c.roi_negative,
        ignored=truth["crowd"],
    )
    far = (matches.label == ops.NEGATIVE) & (matches.iou < c.roi_lowest)
    label = jnp.where(valid & ~far, matches.label, ops.NEUTRAL)
    # Not the draw of the anchors: of this image's two choices neither depends on the other.
    key = jax.random.fold_in(key, 1)
    chosen = ops.sample(key, label, count=c.roi_samples, positive_fraction=c.roi_positive_fraction)
    boxes, index = boxes[chosen.indices], matches.index[chosen.indices]
    targets = ops.encode_boxes(truth["boxes"][index], jax.lax.stop_gradient(boxes), c.box_weights)
    return {
        "boxes": jnp.where(chosen.valid[:, None], boxes, 0),
        "valid": chosen.valid,
        "classes": jnp.where(chosen.positive, truth["classes"][index], 0),
        "targets": jnp.where(chosen.positive[:, None], targets, 0),
        "match": index,
        "index": chosen.indices,
    }


def fast_rcnn_vgg16(
    num_classes: int, config: RCNNConfig = GIRSHICK_2015, *, fc_features: int = 4096, dtype: Any = jnp.float32
) -> FastRCNN:
    """On VGG-16 without its last pooling (model "L", section 3)."""
    head = TwoFC(fc_features, dtype=dtype, dropout=0.5)
    return FastRCNN(num_classes, VGG16(poolings=4, dtype=dtype, name="vgg"), head, config=config, dtype=dtype)


FastRCNNVGG16 = partial(fast_rcnn_vgg16)
