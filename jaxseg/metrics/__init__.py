"""Metrics: pure functions over counts, ``init / update / merge / compute`` (:class:`jaxseg.types.Metric`).

Only counts are kept, exact in 64 bits without x64, and ratios are taken once at the end on the host; any
split of the data into batches and devices gives the same numbers.

The rule of void, one for all losses and metrics: a pixel counts when its label lies in 0..K-1 and is not
``ignore_index`` (255 unless told). Classes absent from truth and prediction take no part in a mean and are
named.

Under ``jit`` arrays are global. Where ``DATA_AXIS`` is mapped (pmap, shard_map) ``update`` sums over the
devices: start from a replicated ``init()`` and read any one copy; do not ``merge`` the copies.
"""

from jaxseg.metrics.boundary import boundary_counts, boundary_metric
from jaxseg.metrics.captions import caption_metric, caption_scores, meteor
from jaxseg.metrics.classification import accuracy_metric, average_precision_metric
from jaxseg.metrics.coco import coco_metric
from jaxseg.metrics.combine import combine
from jaxseg.metrics.confusion import confusion_matrix, segmentation_metric
from jaxseg.metrics.detections import Truth, coco_results
from jaxseg.metrics.labels import check_labels, split_void
from jaxseg.metrics.localization import localization_metric, paired_iou, pck_metric, weak_localization_metric
from jaxseg.metrics.mesh import Shape, compare_shapes, mesh_metric, surface_points
from jaxseg.metrics.panoptic import Panoptic, panoptic_counts, panoptic_metric, panoptic_quality
from jaxseg.metrics.paste import paste_mask
from jaxseg.metrics.voc import voc_metric

__all__ = [
    "Panoptic",
    "Shape",
    "Truth",
    "accuracy_metric",
    "average_precision_metric",
    "boundary_counts",
    "boundary_metric",
    "caption_metric",
    "caption_scores",
    "check_labels",
    "coco_metric",
    "coco_results",
    "combine",
    "compare_shapes",
    "confusion_matrix",
    "localization_metric",
    "mesh_metric",
    "meteor",
    "paired_iou",
    "panoptic_counts",
    "panoptic_metric",
    "panoptic_quality",
    "paste_mask",
    "pck_metric",
    "segmentation_metric",
    "split_void",
    "surface_points",
    "voc_metric",
    "weak_localization_metric",
]
