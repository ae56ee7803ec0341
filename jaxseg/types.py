"""The conventions of jaxseg, stated once.

Arrays
    Images are ``[H, W, C]`` (one) or ``[B, H, W, C]`` (a batch), RGB, float32 in [0, 1] before the model's own
    normalisation. On the host, before augmentation, they are uint8 in 0..255.
    Label maps are ``[H, W]`` integers; ``VOID`` (255) marks pixels that count for nothing.
    Boxes are ``(x1, y1, x2, y2)`` in continuous pixels: the first pixel covers 0..1 and its centre is at 0.5.
    A picture's own label, ``category``, is a class 0..K-1, or K numbers, 1 present and 0 absent; ``UNKNOWN`` (-1)
    counts for nothing. In detection class 0 is background. On the host instance masks are whole
    (``[N, H, W]`` bool) or :class:`jaxseg.data.Cutouts`, on the device box-relative (``[N, M, M]``). Keypoints are
    ``(x, y, visibility)``, visibility 0, 1 or 2 as in COCO.

Shape letters
    B batch, H W size, C channels, K classes, N instances, A anchors, R proposals, D detections, L levels,
    M mask side, P keypoints, S switches (positions within a pooling window).

Numbers
    Parameters are float32. The compute dtype is an argument of each model. Losses, softmax and logits are float32.
    Padding is explicit integers, never ``"SAME"`` on a strided layer, so that imported weights mean the same.

Devices
    The mapped axis of data parallelism is called ``DATA_AXIS``. A function that averages over the batch calls
    :func:`mean_over_devices`, so that the same code gives the same numbers under ``jit`` (where arrays are global
    and it does nothing) and under ``pmap`` or ``shard_map`` (where it averages over the axis).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
from jax import lax

Array = jax.Array
Batch = dict[str, Any]
"""What a train step receives: ``image`` [B, H, W, 3], ``size`` [B, 2] true height and width, ``valid`` [B] (False
for rows that only fill up the last batch), and what the task needs: ``label`` [B, H, W], ``category`` [B] or [B, K],
``instances``, or ``proposals``: ``boxes`` [B, R, 4], best first, and ``valid`` [B, R]."""
Instances = dict[str, Any]
"""``boxes`` [N, 4], ``classes`` [N] (from 1), ``masks`` [N, H, W] or [N, M, M], ``keypoints`` [N, P, 3],
``tokens`` [N, T], a caption each, ``valid`` [N] on the device."""
Outputs = dict[str, Any]
"""What a model returns: named arrays, ``logits`` [B, H, W, K] always among those of a semantic model."""
Predictions = dict[str, Any]

NO_WORD, START, END, UNKNOWN_WORD = 0, 1, 2, 3
"""Tokens of captions that are no words; those of words come after them."""
VOID = 255
UNKNOWN = -1
DATA_AXIS = "data"


class Metric(NamedTuple):
    """A metric as pure functions over a state of counts.

    ``init() -> state``; ``update(state, predictions, batch) -> state``; ``merge(a, b) -> state``;
    ``compute(state) -> dict of numbers`` (on the host).

    ``on_host``: ``update`` too runs on the host, outside of ``jit``, on numpy arrays; its state is any Python value.
    With several processes each is given the predictions and batches of all, without the pictures.
    """

    init: Callable[[], Any]
    update: Callable[[Any, Predictions, Batch], Any]
    merge: Callable[[Any, Any], Any]
    compute: Callable[[Any], dict[str, Any]]
    on_host: bool = False


class Task(NamedTuple):
    """What training needs to know of a problem, as pure functions that know no model.

    ``inputs(batch) -> positional arguments of the model``; ``loss(outputs, batch) -> (scalar, terms)``;
    ``predict(outputs, batch) -> predictions``; ``metric``; ``draw(batch, predictions) -> uint8 picture`` (on the
    host); ``main_metric``: the name, among what the metric computes, by which the best checkpoint is kept; ``about``:
    what is predicted of a picture, a label for each pixel, its instances, segments of both kinds, or something of the
    picture as a whole.

    ``views(batch, predictions, width) -> one dict a picture that counts``: what ``draw`` puts side by side, each by
    itself, pictures and label maps by name, ``image`` among them; those that are drawn on are ``width`` pixels wide.
    ``score``: a name, and ``(batch, predictions) -> [B]``, by which single pictures are ranked, where ``main_metric``
    of one alone would be all or nothing.
    """

    inputs: Callable[[Batch], tuple[Any, ...]]
    loss: Callable[[Outputs, Batch], tuple[Array, dict[str, Array]]]
    predict: Callable[[Outputs, Batch], Predictions]
    metric: Metric
    draw: Callable[..., Any]
    main_metric: str
    about: Literal["pixels", "instances", "segments", "picture"] = "pixels"
    views: Callable[[Batch, Predictions, int], list[dict[str, Any]]] | None = None
    score: tuple[str, Callable[[Batch, Predictions], Any]] | None = None


class JaxsegError(ValueError):
    """Something the user can mend: the message says what came, what was expected and how to mend it.

    The command line prints it as one line and exits with 2.
    """


def mean_over_devices(x: Any) -> Any:
    """``pmean`` of ``x``, an array or a tree of them, over ``DATA_AXIS`` where that axis is mapped; else ``x`` itself.

    A mean over valid pixels is ``local_sum / mean_over_devices(local_count)``: averaged over the devices, value and
    gradient then equal those of one device that sees the whole batch.
    """
    try:
        lax.axis_index(DATA_AXIS)
    except NameError:  # jax's word for an axis that is not mapped here
        return x
    return lax.pmean(x, DATA_AXIS)


def example_indices(count: int) -> Array:
    """Where the ``count`` examples seen here stand in the global batch, int32 ``[count]``.

    Drawing random numbers by these makes them the same however the batch is spread over devices.
    """
    indices = lax.iota("int32", count)
    try:
        return indices + count * lax.axis_index(DATA_AXIS)
    except NameError:
        return indices
