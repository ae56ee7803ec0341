"""What each command of the command line does, from parsed arguments to files and printed lines."""

from jaxseg.commands.about import env, models
from jaxseg.commands.evaluation import evaluate
from jaxseg.commands.prediction import predict
from jaxseg.commands.reporting import report
from jaxseg.commands.training import demo, train
from jaxseg.commands.viewing import view

__all__ = ["demo", "env", "evaluate", "models", "predict", "report", "train", "view"]
