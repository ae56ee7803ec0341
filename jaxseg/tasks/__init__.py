"""What training needs to know of each problem: pure functions, one file a problem."""

from jaxseg.tasks.captions import dense_captioning
from jaxseg.tasks.classification import classification
from jaxseg.tasks.corners import corner_detection
from jaxseg.tasks.detection import HEAD_LOSSES, detection
from jaxseg.tasks.localization import localization
from jaxseg.tasks.meshes import mesh_prediction
from jaxseg.tasks.panoptic import panoptic
from jaxseg.tasks.semantic import semantic

__all__ = [
    "HEAD_LOSSES",
    "classification",
    "corner_detection",
    "dense_captioning",
    "detection",
    "localization",
    "mesh_prediction",
    "panoptic",
    "semantic",
]
