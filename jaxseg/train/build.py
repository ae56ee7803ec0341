"""What a run is made of, built once from an experiment; and the folder it works in."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import config
from jaxseg.config import Experiment
from jaxseg.data import pipeline
from jaxseg.train import parallel
from jaxseg.train.checkpoint import write_json
from jaxseg.train.state import TrainState, create_state, init_variables
from jaxseg.train.step import make_eval_step, make_train_step
from jaxseg.types import Batch, JaxsegError, Outputs
from jaxseg.weights import packed


@dataclass
class Run:
    """An experiment's first state, its two steps, and how each is spread over devices."""

    experiment: Experiment
    spread: parallel.Spread
    state: TrainState
    step: Callable[..., Any]
    eval_step: Callable[..., Any]
    eval_spread: parallel.Spread
    rate: Callable[[int], Any]


def build(experiment: Experiment) -> Run:
    """Build it all, parameters included."""
    e = experiment
    devices = e.devices or len(jax.devices())
    parallel.check_batch_size(e.batch_size, devices // e.model_devices, e.accumulate)
    parallel.check_batch_size(e.eval_batch_size, devices)
    len(e.data.val)  # what is missing of it shows now, not at the first evaluation
    example = next(
        pipeline.train_batches(
            e.data.train,
            e.data.augment,
            batch_size=1,
            seed=e.seed,
            num_threads=0,
            max_instances=e.data.max_instances,
            mask_side=e.data.mask_side,
        )
    )
    variables = init_variables(e.model, e.task, example, e.seed, check=partial(_check_classes, e.data.train.classes))
    if e.pretrained is not None:
        variables = dict(e.pretrained(variables))
    optimizer = e.optimizer.transformation(variables["params"], e.steps)
    step = make_train_step(
        e.model,
        e.task,
        optimizer,
        factors=e.optimizer.factors(variables["params"]),
        ema_decay=e.ema,
        accumulate=e.accumulate,
    )
    how = parallel.spread(e.spread, devices=e.devices, model_devices=e.model_devices)
    eval_step = jax.jit(make_eval_step(e.model, e.task))
    state = create_state(variables, optimizer, e.seed, e.ema > 0)
    eval_spread = parallel.spread("jit", devices=e.devices)
    return Run(e, how, state, how.compile(step), eval_step, eval_spread, e.optimizer.rate(e.steps))


def training_batches(e: Experiment, start: int = 0) -> Iterator[Batch]:
    """This host's part of the batches that a run learns from, from step ``start`` on."""
    return pipeline.train_batches(
        e.data.train,
        e.data.augment,
        batch_size=e.batch_size,
        seed=e.seed,
        start_step=start,
        num_threads=e.data.num_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        max_instances=e.data.max_instances,
        mask_side=e.data.mask_side,
    )


def fresh_variables(e: Experiment) -> dict[str, Any]:
    """A run's variables before any step. Neither data nor pretrained weights are needed."""
    blank = [{"image": np.zeros((64, 64, 3), np.uint8), "name": "a blank image"}]
    example = next(pipeline.eval_batches(blank, e.data.prepare, batch_size=1, num_threads=0))
    return init_variables(e.model, e.task, example, e.seed)


def state_like(e: Experiment) -> TrainState:
    """Shapes and dtypes of a run's state, to read a checkpoint by."""

    def fresh() -> TrainState:
        variables = fresh_variables(e)
        return create_state(variables, e.optimizer.transformation(variables["params"], e.steps), e.seed, e.ema > 0)

    return jax.eval_shape(fresh)


def open_workdir(experiment: Experiment, workdir: Path) -> None:
    """Refuse a work directory where another experiment has begun; otherwise note there what this one is."""
    if workdir.exists() and not workdir.is_dir():
        raise JaxsegError(f"--workdir {workdir} is a file; name a folder")
    path = workdir / "experiment.json"
    if path.exists():
        try:
            theirs = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise JaxsegError(f"{path} is damaged ({error}); restore it or use another --workdir") from error
        different = config.differences(experiment, theirs)
        begun = (workdir / "metrics.jsonl").exists() or any((workdir / "checkpoints").glob("*"))
        if different and begun:
            raise JaxsegError(
                f"--workdir {workdir} belongs to another experiment ({'; '.join(different[:4])}"
                + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
                + "); use another --workdir, or the settings it was begun with"
            )
        if not different:
            return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, config.settings(experiment))
    except OSError as error:
        raise JaxsegError(f"--workdir {workdir} can't be written: {error.strerror}; choose another folder") from error


def note_config(workdir: Path, file: Path, tiny: bool, overrides: Sequence[str]) -> None:
    """Keep the config beside what it trains, so that whoever reads the run later needs its folder alone."""
    if file.resolve() != (workdir / "config.py").resolve():
        shutil.copyfile(file, workdir / "config.py")
    write_json(workdir / "command.json", {"tiny": tiny, "overrides": list(overrides)})


def noted_experiment(workdir: Path, arguments: Sequence[str] = ()) -> Experiment:
    """The experiment whose config was noted in a run's folder, or in a file of weights (:mod:`jaxseg.weights.packed`).
    Its data need not be there until they are asked for. ``arguments`` of the config come after those noted."""
    if workdir.is_file():
        return _packed_experiment(workdir, arguments)
    if not (workdir / "command.json").exists():
        raise JaxsegError(f"--workdir {workdir} holds no run; train first: jaxseg train CONFIG --workdir {workdir}")
    command = json.loads((workdir / "command.json").read_text())
    try:
        return config.load_config(workdir / "config.py", [*command["overrides"], *arguments], tiny=command["tiny"])
    except (JaxsegError, OSError) as error:
        raise JaxsegError(
            f"{workdir / 'config.py'}: {error}; put back the files that it reads by itself, or write into it what it "
            "takes from them (a source reads nothing before its first sample is asked for)"
        ) from error
    except Exception as error:  # whatever a config of another time calls by a name that is gone
        raise JaxsegError(
            f"{workdir / 'config.py'}: {type(error).__name__}: {error}; if it was written for another version of "
            "jaxseg, install that one or mend it there"
        ) from error


def _packed_experiment(file: Path, arguments: Sequence[str]) -> Experiment:
    what = packed.about(file)
    if what.own_config:
        raise JaxsegError(
            f"{file} was trained by a config of its own, Python that is not run unread: jaxseg weights unpack {file} "
            "--workdir DIR, read DIR/config.py, and use --workdir DIR"
        )
    return config.load_config(_named_config(file, what), [*what.arguments, *arguments], tiny=what.tiny)


def _named_config(file: Path, what: packed.About) -> Path:
    try:
        return config.shipped_config(what.config)
    except JaxsegError as error:
        raise JaxsegError(f"{file}: made by jaxseg {what.version}, here is {version('jaxseg')}: {error}") from error


def _check_classes(classes: Sequence[str], outputs: Outputs) -> None:
    """A model whose scores are of another number of classes than the data would train on nonsense."""
    scored = outputs["logits"].shape[-1] if "logits" in outputs else len(classes)
    if scored != len(classes):
        raise JaxsegError(
            f"the model scores {scored} classes and the data has {len(classes)} classes ({', '.join(classes[:12])}); "
            f"set num_classes={len(classes)}"
        )
