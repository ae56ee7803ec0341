"""Using what was trained: predictions for pictures of any size."""

from jaxseg.infer.augment import average_views
from jaxseg.infer.export import export_model
from jaxseg.infer.instances import Found, InstancePredictor
from jaxseg.infer.predictor import Ensemble, Predictor
from jaxseg.infer.refine import CRF, Refined
from jaxseg.infer.segments import FoundSegments, SegmentPredictor
from jaxseg.infer.tiles import Tiles, tiled

__all__ = [
    "CRF",
    "Ensemble",
    "Found",
    "FoundSegments",
    "InstancePredictor",
    "Predictor",
    "Refined",
    "SegmentPredictor",
    "Tiles",
    "average_views",
    "export_model",
    "tiled",
]
