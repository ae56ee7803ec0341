"""Detection by corners: what CornerNet is trained by (Law & Deng 2018, equation 6)."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from jaxseg import losses, ops
from jaxseg.tasks.detection import detection
from jaxseg.types import Array, Batch, Metric, Outputs, Task


def corner_detection(
    classes: Sequence[str],
    metric: Metric,
    *,
    stride: int = 4,
    min_overlap: float = 0.3,
    pull: float = 0.1,
    push: float = 0.1,
    main_metric: str = "box_ap",
    shown_score: float = 0.4,
) -> Task:
    """The task of finding the boxes of ``classes`` (without background) by their corners.

    A batch holds ``image`` [B, H, W, 3], ``size`` [B, 2] and ``instances`` (``Data.max_instances``). ``L = heat + pull
    * pull loss + push * push loss + offset``, of both kinds of corners, a mean over the network's hourglasses
    (:func:`jaxseg.losses.corner_focal_loss`, ``pull_push_loss``, ``smooth_l1``). ``stride``: pixels between
    two places of its maps; ``min_overlap``: see :func:`jaxseg.ops.corner_targets`. A crowd is no object, and
    background.

    Predictions, metric and picture are those of :func:`jaxseg.tasks.detection`.
    """
    loss = partial(_loss, len(classes), stride, min_overlap, (pull, push))
    task = detection(classes, metric, main_metric=main_metric, shown_score=shown_score)
    return task._replace(inputs=lambda batch: (batch["image"], batch["size"]), loss=loss, predict=_predict)


def _loss(
    count: int, stride: int, min_overlap: float, weights: tuple[float, float], outputs: Outputs, batch: Batch
) -> tuple[Array, dict[str, Array]]:
    truth = batch["instances"]
    valid = truth["valid"] & ~truth["crowd"] if "crowd" in truth else truth["valid"]
    maps = {"top_left": outputs["top_left"], "bottom_right": outputs["bottom_right"]}
    size = maps["top_left"][0].logits.shape[1:3]
    make = partial(ops.corner_targets, size=size, stride=stride, num_classes=count, min_overlap=min_overlap)
    targets = dict(zip(maps, jax.vmap(make)(truth["boxes"], truth["classes"], valid)))
    terms = dict.fromkeys(("heat", "pull", "push", "offset"), jnp.zeros(()))
    for stack in range(len(maps["top_left"])):
        tags = []
        for kind, wanted in targets.items():
            found = maps[kind][stack]
            terms["heat"] += losses.corner_focal_loss(found.logits, wanted.heat)
            offset = _at(found.offset, wanted.place)
            terms["offset"] += losses.smooth_l1(offset, wanted.offset, valid)
            tags.append(_at(found.embedding[..., None], wanted.place)[..., 0])
        pull, push = losses.pull_push_loss(tags[0], tags[1], valid)
        terms |= {"pull": terms["pull"] + weights[0] * pull, "push": terms["push"] + weights[1] * push}
    terms = {name: value / len(maps["top_left"]) for name, value in terms.items()}
    return sum(terms.values(), start=jnp.zeros(())), terms


def _at(maps: Array, place: Array) -> Array:
    """``[B, h, w, C]`` at ``[B, N]`` places -> ``[B, N, C]``."""
    return jnp.take_along_axis(maps.reshape(len(maps), -1, maps.shape[-1]), place[..., None], axis=1)


def _predict(outputs: Outputs, batch: Batch) -> Outputs:
    del batch
    return {key: outputs[key] for key in ("boxes", "scores", "classes", "valid")}
