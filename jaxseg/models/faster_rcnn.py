"""Faster R-CNN (Ren et al. 2015): a region proposal network and Fast R-CNN's second stage on the same features.

Followed: anchors of several sizes and shapes at every place; objectness and a transform of each by a 3x3 convolution
and two 1x1 (section 3.1); anchors matched at 0.7 and 0.3 and, for every object, those that overlap it most, 256 of an
image sampled (3.1.2); proposals thinned at 0.7; proposals and the true boxes matched anew in every step, 512 sampled, a
quarter of them objects. All is trained jointly: the gradient through the proposals' coordinates is left out, as in
the paper's approximate joint training (section 3.2); or in its four steps, one half at a time, of which
:class:`ProposerAndDetector` is the second and ``configs/faster_rcnn_shapes.py`` all.

On a feature pyramid (Lin et al. 2017, section 4): each level has anchors of one size, the network's layers serve all
levels, and a region is read, by RoIAlign, from the level that its size says. Or on one level of stride 16 (C4, DC5).
What differs between torchvision's and detectron2's is in :class:`jaxseg.nn.RCNNConfig`.

Shapes are fixed: an image has A anchors, R proposals and D detections, each with ``valid``.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.fast_rcnn import detections, normalized, roi_targets, true_instances, true_sizes
from jaxseg.nn import Conv, ResNet, ResNet50, ResNet101
from jaxseg.nn.fpn import FPN, RegionStage, ResNetFPN, ResNetLevel
from jaxseg.nn.layers import NormKind, pad_to_multiple
from jaxseg.nn.rcnn_config import DETECTRON2_C4, TORCHVISION, RCNNConfig
from jaxseg.nn.roi_heads import BoxPredictor, ConvFC, MeanOverPlaces, TwoFC, flattened
from jaxseg.types import Array, JaxsegError, Outputs, example_indices


class RPNHead(nn.Module):
    """Levels ``[B, H, W, C]`` -> for each objectness ``[B, H W A]`` and transforms ``[B, H W A, 4]``, float32."""

    anchors: int
    convs: int = 1
    features: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, levels: tuple[Array, ...]) -> tuple[list[Array], list[Array]]:
        conv = partial(Conv, kernel_init=nn.initializers.normal(0.01), dtype=self.dtype)
        width = self.features or levels[0].shape[-1]
        hidden = [conv(width, 3, padding=1, name=f"conv{i}") for i in range(self.convs)]
        cls_logits, bbox_pred = conv(self.anchors, 1, name="cls_logits"), conv(4 * self.anchors, 1, name="bbox_pred")
        logits, deltas = [], []
        for x in levels:
            for layer in hidden:
                x = nn.relu(layer(x))
            logits.append(cls_logits(x).astype(jnp.float32).reshape(x.shape[0], -1))
            deltas.append(bbox_pred(x).astype(jnp.float32).reshape(x.shape[0], -1, 4))
        return logits, deltas


class FasterRCNN(nn.Module):
    """``images [B, H, W, 3]``, of which ``sizes [B, 2]`` are image and the rest padding -> a dict of

    ``boxes [B, D, 4]``, ``scores [B, D]``, ``classes [B, D]`` from 1 and ``valid [B, D]``, detections in pixels, best
    first; in training instead ``rpn`` and ``roi``, what :func:`jaxseg.losses.rpn_losses` and ``roi_losses`` take, made
    with ``targets``: ``boxes [B, N, 4]``, ``classes [B, N]`` from 1, ``valid [B, N]`` and, if there are regions to be
    ignored, ``crowd [B, N]``. Training draws from the generator ``sampling``.

    In either case ``features``, the levels, and ``proposals`` (``boxes``, ``scores``, ``valid``) are among the outputs.
    ``proposals`` from elsewhere (``boxes [B, R, 4]``, ``valid [B, R]``) take the place of its own: Fast R-CNN.

    ``backbone``: normalised images whose sides are multiples of its ``multiple`` -> levels, of its ``strides``; regions
    are read from the first ``roi_levels``. ``region_stage``, if there is one: RoI features ``[R, h, w, C]`` -> the
    same, for all heads. ``box_head``: those -> ``[R, F]``. ``rpn_features``: channels of the proposal network, by
    default the levels'.
    """

    num_classes: int
    backbone: Any
    box_head: Any
    config: RCNNConfig = TORCHVISION
    region_stage: Any = None
    rpn_convs: int = 1
    rpn_features: int | None = None
    box_size: int = 7
    dtype: Any = jnp.float32

    def setup(self) -> None:
        sizes, strides = self.config.anchor_sizes, self.backbone.strides
        if len(sizes) != len(strides):
            raise JaxsegError(f"anchor_sizes has {len(sizes)} levels, the backbone {len(strides)}; give one tuple each")
        self.rpn = RPNHead(
            len(sizes[0]) * len(self.config.anchor_ratios), self.rpn_convs, self.rpn_features, self.dtype
        )
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
        sizes = true_sizes(images, sizes)
        x = pad_to_multiple(normalized(self.config, images, sizes), self.backbone.multiple)
        levels = self.backbone(x.astype(self.dtype), train=train)
        logits, deltas = self.rpn(levels)
        anchors = self._anchors(x.shape[1:3], levels)
        if proposals is None:
            proposals = self._propose(logits, deltas, anchors, sizes, train)._asdict()
        outputs: Outputs = {"features": levels, "proposals": proposals}
        boxes, valid = proposals["boxes"].astype(jnp.float32), proposals["valid"]
        if not train:
            scores, transforms = self._classify(self.regions(levels, boxes, self.box_size, train), train)
            detect = jax.vmap(partial(detections, self.config))
            found = detect(nn.softmax(scores)[..., 1:], transforms, boxes, valid, sizes)
            return outputs | found._asdict()
        if targets is None:
            raise JaxsegError("a detector is trained with targets: model.apply(variables, images, sizes, instances)")
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("sampling"), example_indices(len(images)))
        truth = true_instances(targets)
        every = jnp.concatenate([jnp.asarray(a) for a in anchors])
        rpn = jax.vmap(partial(rpn_targets, self.config, every))(keys, truth)
        rpn["logits"] = jnp.take_along_axis(jnp.concatenate(logits, axis=1), rpn["index"], axis=1)
        rpn["deltas"] = jnp.take_along_axis(jnp.concatenate(deltas, axis=1), rpn["index"][..., None], axis=1)
        roi = jax.vmap(partial(roi_targets, self.config))(keys, (boxes, valid), truth)
        roi["features"] = self.regions(levels, roi["boxes"], self.box_size, train)
        roi["logits"], roi["deltas"] = self._classify(roi["features"], train)
        return outputs | {"rpn": rpn, "roi": roi}

    def regions(self, levels: tuple[Array, ...], boxes: Array, size: int, train: bool) -> Array:
        """What the heads see of ``boxes [B, R, 4]``: :meth:`roi_features`, gone through ``region_stage``."""
        features = self.roi_features(levels, boxes, size)
        return flattened(self.region_stage, features, train) if self.region_stage is not None else features

    def roi_features(self, levels: tuple[Array, ...], boxes: Array, size: int) -> Array:
        """``[B, R, size, size, C]`` of ``boxes [B, R, 4]``, each read from the level that its size says."""
        c, count = self.config, self.backbone.roi_levels
        first = round(np.log2(self.backbone.strides[0]))
        level = ops.feature_levels(
            boxes,
            first=first,
            last=first + count - 1,
            epsilon=c.level_epsilon,
            epsilon_inside=c.level_epsilon_inside,
        )
        align = partial(
            ops.multilevel_roi_align,
            output_size=size,
            spatial_scales=[1 / s for s in self.backbone.strides[:count]],
            sampling_ratio=c.sampling_ratio,
            aligned=c.aligned,
        )
        return jax.vmap(align)(levels[:count], boxes, level - first)

    def codes(self, features: Array, train: bool) -> Array:
        """``[B, R, F]``: what the box head makes of regions ``[B, R, h, w, C]`` of its size."""
        return flattened(self.box_head, features, train)

    def _classify(self, features: Array, train: bool) -> tuple[Array, Array]:
        """Scores ``[B, R, K + 1]`` and transforms ``[B, R, K, 4]`` of regions."""
        return flattened(lambda x: self.box_predictor(self.box_head(x, train)), features)

    def _anchors(self, size: tuple[int, ...], levels: tuple[Array, ...]) -> list[np.ndarray]:
        c, anchors = self.config, []
        for x, sizes, stride in zip(levels, c.anchor_sizes, self.backbone.strides):
            h, w = x.shape[1:3]
            cells = ops.anchor_cells(sizes, c.anchor_ratios, rounded=c.rounded_anchors, ratios_fastest=c.ratios_fastest)
            step = (size[0] // h, size[1] // w) if c.anchor_stride == "image" else (stride, stride)
            anchors.append(ops.grid_anchors(cells, (h, w), step))
        return anchors

    def _propose(self, logits: Any, deltas: Any, anchors: Any, sizes: Array, train: bool) -> ops.Proposals:
        c, when = self.config, 0 if train else 1
        propose = partial(
            ops.propose,
            pre_nms=c.pre_nms[when],
            post_nms=c.post_nms[when],
            iou_threshold=c.rpn_nms_threshold,
            min_size=c.rpn_min_size,
            differentiable=c.differentiable_proposals,
        )
        return jax.vmap(lambda scores, transforms, size: propose(scores, transforms, anchors, size))(
            logits, deltas, sizes
        )


class ProposerAndDetector(nn.Module):
    """The second of the four steps of alternating training (section 3.2): ``detector`` learns from the proposals of
    ``proposer``, which has a network of its own and stays as it is. Called as :class:`FasterRCNN` is.

    Raises:
      JaxsegError: one backbone for both: modules that are the same object share their parameters.
    """

    proposer: FasterRCNN
    detector: FasterRCNN

    @nn.compact
    def __call__(
        self, images: Array, sizes: Array | None = None, targets: Any = None, *, train: bool = False
    ) -> Outputs:
        if self.proposer.backbone is self.detector.backbone:
            raise JaxsegError("proposer and detector share a backbone; build one for each")
        proposals = self.proposer(images, sizes)["proposals"]
        return self.detector(images, sizes, targets, jax.lax.stop_gradient(proposals), train=train)


def rpn_targets(config: RCNNConfig, anchors: Array, key: Array, truth: dict[str, Array]) -> dict[str, Array]:
    """Of one image: which anchors are sampled (``index``, ``valid``, ``positive``, all ``[S]``), and what transforms
    positive ones should have (``targets [S, 4]``)."""
    c = config
    matches = ops.match(
        anchors,
        truth["boxes"],
        truth["valid"],
        positive=c.rpn_positive,
        negative=c.rpn_negative,
        low_quality=True,
        ignored=truth["crowd"],
    )
    chosen = ops.sample(key, matches.label, count=c.rpn_samples, positive_fraction=c.rpn_positive_fraction)
    boxes = truth["boxes"][matches.index[chosen.indices]]
    targets = ops.encode_boxes(boxes, anchors[chosen.indices])
    return {
        "index": chosen.indices,
        "valid": chosen.valid,
        "positive": chosen.positive,
        "targets": jnp.where(chosen.positive[:, None], targets, 0),
    }


def faster_rcnn(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = TORCHVISION,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> FasterRCNN:
    """Faster R-CNN on a feature pyramid: torchvision's ``fasterrcnn_resnet50_fpn``, detectron2's
    ``faster_rcnn_R_50_FPN`` (``config=DETECTRON2``)."""
    body = _resnet(resnet, config, norm, dtype)
    return FasterRCNN(num_classes, ResNetFPN(body, FPN(dtype=dtype)), TwoFC(dtype=dtype), config, dtype=dtype)


def faster_rcnn_v2(
    num_classes: int, resnet: Any = ResNet50, *, norm: NormKind = "batch", dtype: Any = jnp.float32
) -> FasterRCNN:
    """torchvision's ``fasterrcnn_resnet50_fpn_v2`` (Li et al. 2021): normalisation everywhere, two convolutions in the
    proposal network, four in the second stage."""
    backbone = ResNetFPN(_resnet(resnet, TORCHVISION, norm, dtype), FPN(norm=norm, dtype=dtype))
    return FasterRCNN(num_classes, backbone, ConvFC(norm=norm, dtype=dtype), rpn_convs=2, dtype=dtype)


def faster_rcnn_c4(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2_C4,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> FasterRCNN:
    """Ren et al.'s own form on a ResNet (He et al. 2016, appendix A): one level of stride 16, and the network's last
    stage on each region of it; detectron2's ``faster_rcnn_R_50_C4``."""
    body, last = (_resnet(resnet, config, norm, dtype, stages=stages) for stages in ((1, 2, 3), (4,)))
    return FasterRCNN(
        num_classes,
        ResNetLevel(body),
        MeanOverPlaces(),
        config,
        region_stage=RegionStage(last),
        box_size=14,
        dtype=dtype,
    )


def faster_rcnn_dc5(
    num_classes: int,
    resnet: Any = ResNet50,
    config: RCNNConfig = DETECTRON2_C4,
    *,
    norm: NormKind = "frozen",
    dtype: Any = jnp.float32,
) -> FasterRCNN:
    """One level of stride 16 that has all stages, the last dilated; detectron2's ``faster_rcnn_R_50_DC5``."""
    body = _resnet(resnet, config, norm, dtype, output_stride=16, dilate_first=True)
    return FasterRCNN(num_classes, ResNetLevel(body, "layer4"), TwoFC(dtype=dtype), config, dtype=dtype)


def _resnet(resnet: Any, config: RCNNConfig, norm: NormKind, dtype: Any, **settings: Any) -> ResNet:
    stride = {"stride_in_1x1": True} if config.stride_in_1x1 else {}
    return resnet(norm=norm, epsilon=config.epsilon, dtype=dtype, **stride, **settings)


FasterRCNNResNet50 = partial(faster_rcnn, resnet=ResNet50)
FasterRCNNResNet101 = partial(faster_rcnn, resnet=ResNet101)
