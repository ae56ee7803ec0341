"""Using what was trained: predictions for pictures of any size."""

from jaxseg.infer.augment import average_views
from jaxseg.infer.predictor import Ensemble, Predictor
from jaxseg.infer.progress import PictureProgress
from jaxseg.infer.tiles import Tiles, tiled

__all__ = ["Ensemble", "PictureProgress", "Predictor", "Tiles", "average_views", "tiled"]
