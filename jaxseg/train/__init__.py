"""The training engine. Read :mod:`jaxseg.train.loop` first."""

from jaxseg.train.optimizer import Optimizer
from jaxseg.train.state import TrainState, create_state, init_variables
from jaxseg.train.step import make_eval_step, make_train_step

__all__ = ["Optimizer", "TrainState", "create_state", "init_variables", "make_eval_step", "make_train_step"]
