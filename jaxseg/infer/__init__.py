"""Using what was trained: predictions for pictures of any size."""

from jaxseg.infer.predictor import Predictor

__all__ = ["Predictor"]
