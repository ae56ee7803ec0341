"""Dense captioning: regions of a picture, each with a line that describes it."""

from collections.abc import Mapping
from typing import Any

from jaxseg.nn import JOHNSON_2016, RCNNConfig
from jaxseg.tasks.detection import detection
from jaxseg.types import Metric, Task

WEIGHTS = {"objectness": 0.1, "rpn_box": 0.1, "class": 0.1, "box": 0.1, "caption": 1.0}
"""Johnson et al. 2016, section 3.5."""


def dense_captioning(
    words: Any,
    metric: Metric,
    *,
    config: RCNNConfig = JOHNSON_2016,
    weights: Mapping[str, float] = WEIGHTS,
    shown_score: float = 0.5,
) -> Task:
    """The task of finding regions and describing them with ``words`` (:class:`jaxseg.data.Vocabulary`).

    A batch holds what :func:`jaxseg.tasks.detection` needs, ``instances`` with ``tokens`` [B, N, T]
    (:class:`jaxseg.data.WithTokens`), all of class 1. The loss is that task's, its terms with ``weights``.
    Predictions: that task's, and ``tokens`` [B, D, T]. ``metric``: :func:`jaxseg.metrics.caption_metric`.
    """
    return detection(
        ("region",),
        metric,
        config=config,
        main_metric="caption_map",
        shown_score=shown_score,
        weights=weights,
        words=words,
    )
