"""R-CNN (Girshick et al., CVPR 2014): regions proposed, warped, described by a network, and classified one by one.

Followed: each proposal is stretched to the network's size with 16 pixels of context, beyond the image its mean
(appendix A). Three stages: the network is fine-tuned as a classifier of warped proposals, background a class
(:class:`jaxseg.data.RegionCrops`, section 2.3); then, of its fc7, one linear support vector machine a class, the true
boxes against all that overlaps them by less than 0.3, what lies between ignored (appendix B), with hard negative mining
in one pass (:func:`fit`); and of its pool5 a ridge regression of the box's transform a class, of proposals that overlap
an object by 0.6 or more, with a penalty of 1000 (appendix C). Detections: suppression at 0.3, class by class.

From the authors' code, where the paper is silent: features scaled to a mean norm of 20; C = 0.001, positives counted
twice; machines' constant feature 10; negatives within the margin are taken in and those beyond -1.2 dropped; boxes are
moved before suppression. Departs: the regression's bias is free and its targets not whitened; batches hold a quarter
of objects on the average; the box's own pixels are averaged over area where it shrinks.

Training in stages: ``configs/rcnn_shapes.py``. Letters: R proposals, S side of a crop, P and F features, K classes.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import ops
from jaxseg.metrics.precision import box_iou
from jaxseg.models.fast_rcnn import detections, inside, true_sizes
from jaxseg.nn import GIRSHICK_2014, IMAGENET, VGG16, Normalization, RCNNConfig
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.progress import progress
from jaxseg.types import Array, JaxsegError, Outputs

Solve = Callable[[np.ndarray, np.ndarray], ops.Linear]
"""``(positives [N, F], negatives [M, F]) -> machine``."""


class RegionNetwork(nn.Module):
    """``crops [N, S, S, 3]`` -> ``{"logits": [N, K + 1], "pool5": [N, P], "fc7": [N, F]}`` float32, background first.

    ``backbone``: normalised images -> named maps, of which ``layer`` is read; ``head``: that map -> ``[N, F]``.
    """

    num_classes: int
    backbone: Any
    head: Any
    layer: str = "pool5"
    normalization: Normalization = IMAGENET
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        x = self.backbone(self.normalization(images).astype(self.dtype), train=train)[self.layer]
        fc7 = self.head(x, train).astype(jnp.float32)
        pool5 = x.reshape(x.shape[0], -1).astype(jnp.float32)
        return {"logits": nn.Dense(self.num_classes + 1, name="fc8")(fc7), "pool5": pool5, "fc7": fc7}


class RCNN(nn.Module):
    """``images [B, H, W, 3]``, of which ``sizes [B, 2]`` are image, and ``proposals`` (``boxes [B, R, 4]``, ``valid
    [B, R]``) -> ``boxes [B, D, 4]``, ``scores``, ``classes`` from 1 and ``valid [B, D]``, best first.

    It is not trained by gradients as a whole: ``network`` is, by itself, and :func:`fit` finds the rest. ``at_once``:
    how many crops the network sees together.
    """

    network: RegionNetwork
    side: int = 227
    context: float = 16
    config: RCNNConfig = GIRSHICK_2014
    at_once: int = 128

    def setup(self) -> None:
        self.svm = nn.Dense(self.network.num_classes)
        self.box = nn.Dense(4 * self.network.num_classes)

    def __call__(
        self,
        images: Array,
        sizes: Array | None = None,
        targets: Any = None,
        proposals: Any = None,
        *,
        train: bool = False,
    ) -> Outputs:
        del targets
        if train:
            raise JaxsegError("R-CNN is trained in stages: its network alone (data.RegionCrops), then models.rcnn.fit")
        if proposals is None:
            raise JaxsegError("R-CNN needs proposals: add data.Propose to the data's transforms")
        sizes = true_sizes(images, sizes)
        features = self.describe(images, sizes, proposals["boxes"])
        scores, deltas = self.svm(features["fc7"]), self.box(features["pool5"])
        deltas = deltas.reshape(*scores.shape, 4)
        found = jax.vmap(partial(detections, self.config))(
            scores, deltas, proposals["boxes"], proposals["valid"], sizes
        )
        return found._asdict()

    def describe(self, images: Array, sizes: Array, boxes: Array) -> Outputs:
        """``pool5 [B, R, P]`` and ``fc7 [B, R, F]`` of the warped ``boxes [B, R, 4]``."""
        b, r = boxes.shape[:2]
        ground = jnp.asarray(self.network.normalization.mean, jnp.float32)
        images = jnp.where(inside(images, sizes), images, ground[None, None, None])
        frames = ops.context_boxes(boxes.astype(jnp.float32), self.side, self.context)
        step = min(self.at_once, r)
        frames = jnp.pad(frames, ((0, 0), (0, -r % step), (0, 0))).reshape(-1, step, 4)
        which = jnp.repeat(jnp.arange(b), -(-r // step))

        def look(module: "RCNN", carry: Any, chunk: tuple[Array, Array]) -> tuple[Any, Outputs]:
            place, frame = chunk
            crop = partial(ops.crop_resize, images[place], size=module.side, fill=ground)
            outputs = module.network(jax.vmap(crop)(frame), train=False)
            return carry, {name: outputs[name] for name in ("pool5", "fc7")}

        walk = nn.scan(look, variable_broadcast=("params", "batch_stats"), split_rngs={"params": False})
        _, found = walk(self, (), (which, frames))
        return jax.tree.map(lambda x: x.reshape(b, -1, x.shape[-1])[:, :r], found)


class Described(NamedTuple):
    """One image's regions, true boxes first: ``boxes [N, 4]``, ``pool5 [N, P]``, ``fc7 [N, F]``; and its ``truth
    [M, 4]`` with ``classes [M]`` from 1."""

    boxes: np.ndarray
    pool5: np.ndarray
    fc7: np.ndarray
    truth: np.ndarray
    classes: np.ndarray


def fit(
    model: RCNN,
    variables: Mapping[str, Any],
    batches: Iterable[Mapping[str, Any]],
    *,
    cost: float = 1e-3,
    penalty: float = 1000.0,
    norm: float = 20.0,
) -> dict[str, Any]:
    """Stages two and three: ``variables`` with the machines and regressions that suit ``batches``, evaluation batches
    of the training pictures, with ``instances`` and ``proposals``. All features are kept in memory: 4 (P + F) bytes a
    region.

    ``cost``: C of a negative, a positive counting twice; ``penalty``: lambda of the regression; ``norm``: what features
    are scaled to on the average before either.
    """
    images = describe_all(model, variables, batches)
    fc7, pool5 = (norm / _mean_norm([getattr(image, name) for image in images]) for name in ("fc7", "pool5"))
    images = [image._replace(fc7=image.fc7 * fc7, pool5=image.pool5 * pool5) for image in images]
    kinds = range(1, model.network.num_classes + 1)
    machines = [mine(*examples(images, kind), partial(machine, cost=cost)) for kind in kinds]
    regressions = [_ridge(*pairs(images, kind), penalty) for kind in kinds]
    fitted = {
        "svm": {
            "kernel": jnp.stack([m.weights * fc7 for m in machines], 1),
            "bias": jnp.stack([m.bias for m in machines]),
        },
        "box": {
            "kernel": jnp.concatenate([r.weights * pool5 for r in regressions], 1),
            "bias": jnp.concatenate([r.bias for r in regressions]),
        },
    }
    return {**variables, "params": {**variables["params"], **fitted}}


def describe_all(model: RCNN, variables: Any, batches: Iterable[Mapping[str, Any]]) -> list[Described]:
    """The features of all true boxes and proposals, image by image, on the host."""
    describe = jax.jit(partial(model.apply, method="describe"))
    found = []
    with progress("features of regions", unit="pictures") as show:
        for batch in batches:
            truth, proposals = batch["instances"], batch["proposals"]
            boxes = np.concatenate([truth["boxes"], proposals["boxes"]], axis=1)
            features = jax.device_get(describe(variables, batch["image"], batch["size"], boxes))
            for i in np.flatnonzero(batch["valid"]):
                true = truth["valid"][i] & ~truth["crowd"][i] if "crowd" in truth else truth["valid"][i]
                rows = np.concatenate([true, proposals["valid"][i]])
                parts = (boxes[i][rows], features["pool5"][i][rows], features["fc7"][i][rows])
                found.append(Described(*parts, truth["boxes"][i][true], truth["classes"][i][true]))
            show(len(found))
    return found


def examples(images: list[Described], kind: int, overlap: float = 0.3) -> tuple[np.ndarray, list[np.ndarray]]:
    """For the machine of a class: fc7 of its true boxes, and by image of what overlaps none of them by ``overlap``."""
    positives, negatives = [], []
    for image in images:
        own = image.classes == kind
        positives.append(image.fc7[: len(own)][own])
        iou = box_iou(image.boxes, image.truth[own])
        negatives.append(image.fc7[iou.max(1, initial=0.0) < overlap])
    return np.concatenate(positives), negatives


def pairs(images: list[Described], kind: int, overlap: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For the regression of a class: pool5, transforms to the nearest object, and weights 1 (0: none was found)."""
    features, targets = [], []
    for image in images:
        count = len(image.truth)
        if not count or len(image.boxes) == count:
            continue
        proposed = image.boxes[count:]
        iou = box_iou(proposed, image.truth)
        best = iou.argmax(1)
        rows = np.flatnonzero((iou.max(1) >= overlap) & (image.classes[best] == kind))
        features.append(image.pool5[count:][rows])
        targets.append(ops.encode_boxes(jnp.asarray(image.truth[best[rows]]), jnp.asarray(proposed[rows])))
    x, t = np.concatenate([images[0].pool5[:0], *features]), np.concatenate([np.zeros((0, 4), np.float32), *targets])
    return _padded(x), _padded(t), _padded(np.ones(len(x), np.float32))


def mine(positives: np.ndarray, negatives: list[np.ndarray], solve: Solve, *, fresh: int = 2000) -> ops.Linear:
    """A machine trained on ``positives [N, F]`` and the hard ones among ``negatives``, image by image ``[M_i, F]``.

    Begun with the first images'. Of each further image those are taken in that lie within the margin or beyond it
    (score above -1); with every ``fresh`` new ones, and at the end, the machine is trained anew and those that have
    become easy (below -1.2) are dropped. One pass (section 2.3).
    """
    kept, waiting = negatives[0], []
    found = solve(positives, kept)
    for i, own in enumerate(negatives[1:], 2):
        waiting.append(own[_scores(found, own) > -1])
        if sum(map(len, waiting)) < fresh and i < len(negatives):
            continue
        kept = np.concatenate([kept, *waiting])
        found, waiting = solve(positives, kept), []
        kept = kept[_scores(found, kept) >= -1.2]
    return found


def machine(positives: np.ndarray, negatives: np.ndarray, *, cost: float) -> ops.Linear:
    """A support vector machine of ``[N, F]`` against ``[M, F]``."""
    features = _padded(np.concatenate([positives, negatives]))
    place = np.arange(len(features))
    costs = np.where(place < len(positives), 2 * cost, np.where(place < len(positives) + len(negatives), cost, 0))
    return _svm(features, place < len(positives), costs.astype(np.float32))


_svm = jax.jit(partial(ops.linear_svm, bias=10.0))
_ridge = jax.jit(ops.ridge_regression, static_argnums=3)


def _scores(found: ops.Linear, features: np.ndarray) -> np.ndarray:
    return features @ np.asarray(found.weights) + np.asarray(found.bias)


def _padded(rows: np.ndarray) -> np.ndarray:
    """With zeros up to a power of two, so that few programs serve any number of examples."""
    count = 1 << max(len(rows) - 1, 0).bit_length()
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


def _mean_norm(features: list[np.ndarray]) -> float:
    return max(float(np.mean(np.linalg.norm(np.concatenate(features), axis=1))), 1e-6)


def rcnn_vgg16(num_classes: int, *, fc_features: int = 4096, dropout: float = 0.5, dtype: Any = jnp.float32) -> RCNN:
    """On VGG-16 ("O-Net", section 3.3), crops of 224."""
    head = TwoFC(fc_features, dtype=dtype, dropout=dropout)
    return RCNN(RegionNetwork(num_classes, VGG16(ceil=False, dtype=dtype), head, dtype=dtype), side=224)


RCNNVGG16 = partial(rcnn_vgg16)
