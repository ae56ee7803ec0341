"""What each command of the command line does, from parsed arguments to files and printed lines."""

from jaxseg.commands.about import env, models
from jaxseg.commands.benching import bench
from jaxseg.commands.data_sets import data_list, data_prepare
from jaxseg.commands.evaluation import evaluate
from jaxseg.commands.exporting import export
from jaxseg.commands.inspection import data_convert, data_inspect
from jaxseg.commands.prediction import predict
from jaxseg.commands.reporting import report
from jaxseg.commands.training import demo, train
from jaxseg.commands.viewing import view
from jaxseg.commands.weight_files import (
    weights_fetch,
    weights_import,
    weights_list,
    weights_pack,
    weights_push,
    weights_show,
    weights_unpack,
)

__all__ = [
    "bench",
    "data_convert",
    "data_inspect",
    "data_list",
    "data_prepare",
    "demo",
    "env",
    "evaluate",
    "export",
    "models",
    "predict",
    "report",
    "train",
    "view",
    "weights_fetch",
    "weights_import",
    "weights_list",
    "weights_pack",
    "weights_push",
    "weights_show",
    "weights_unpack",
]
