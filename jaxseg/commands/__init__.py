"""What each command of the command line does, from parsed arguments to files and printed lines."""

from jaxseg.commands.about import env, models
from jaxseg.commands.benching import bench
from jaxseg.commands.evaluation import evaluate
from jaxseg.commands.exporting import export
from jaxseg.commands.prediction import predict
from jaxseg.commands.training import demo, train

__all__ = ["bench", "demo", "env", "evaluate", "export", "models", "predict", "train"]
