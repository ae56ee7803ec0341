"""``jaxseg train`` and ``jaxseg demo``: to a trained run, or to what one would do."""

import argparse
import shlex
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from jaxseg import config, viz
from jaxseg.commands.evaluation import print_scores
from jaxseg.config import Experiment

_RATES = 100  # steps of a range test


def train(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train a config, or go on; tell the scores and the pictures to look at, or how to resume."""
    from jaxseg.train import build, loop, parallel

    parallel.connect_hosts(arguments.hosts)
    workdir: Path = arguments.workdir
    file = config.find_config(arguments.config)
    words = ["jaxseg", "train", arguments.config, "--workdir", str(workdir), *["--tiny"] * arguments.tiny]
    overrides = [*overrides, *["--help"] * arguments.settings]
    experiment = config.load_config(file, overrides, tiny=arguments.tiny, prog=shlex.join(words))
    words += ["--wandb", arguments.wandb] if arguments.wandb else []
    whole = shlex.join([*words, *["--hosts"] * arguments.hosts, *overrides])
    if arguments.dry_run:
        return _dry_run(experiment, whole)
    if arguments.find_rate:
        return _find_rate(experiment, workdir)
    build.open_workdir(experiment, workdir)
    build.note_config(workdir, file, arguments.tiny, overrides)
    print(f"seed {experiment.seed}; stopped at any moment, this goes on: {whole}", flush=True)
    result = loop.train(experiment, workdir, wandb=arguments.wandb)
    if result.stopped:
        print(f"stopped at step {result.step}, saved; to go on: {whole}")
        return 0
    print_scores(experiment, result.scores)
    for path in result.files:
        print(f"see {path}")
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """The main job on built-in data: train, evaluate, draw."""
    print(f"training a small U-Net on drawn shapes, in {arguments.workdir}", flush=True)
    return train(
        argparse.Namespace(
            **vars(arguments),
            config="unet_shapes",
            settings=False,
            dry_run=False,
            find_rate=False,
            wandb=None,
            hosts=False,
        ),
        [],
    )


def _dry_run(experiment: Experiment, command: str) -> int:
    """What a run would do and how long it would take; ``command`` begins it."""
    from jaxseg.progress import stages
    from jaxseg.train.rehearse import rehearse

    e, found = experiment, rehearse(experiment, watch=stages())
    print(f"{type(e.model).__name__}, {found.parameters / 1e6:.2f} M parameters")
    print(f"{len(e.data.train)} pictures to learn from and {len(e.data.val)} to be judged by, seed {e.seed}")
    if e.steps:
        print(f"a batch: {list(found.shape)}; the first loss: {found.loss:.4f}")
        print(f"the first step took {found.first_step:.1f} s, one after it {found.step:.3f} s")
    print(f"an evaluation: about {_duration(found.evaluation)}")
    print(f"{e.steps} steps and all evaluations: about {_duration(found.in_all)}; nothing was written; to begin:")
    print(command)
    return 0


def _find_rate(experiment: Experiment, workdir: Path) -> int:
    """The range test, drawn in the work directory, which is otherwise left alone."""
    from jaxseg.progress import progress
    from jaxseg.train.find_rate import find_rate

    with progress("trying rates", _RATES, "steps") as show:
        found = find_rate(experiment, steps=_RATES, watch=show)
    print(
        f"loss {found.losses[0]:.4f} at first, {min(found.losses):.4f} at the least; it was {found.losses[-1]:.4f} at"
    )
    print(f"a rate of {found.rates[-1]:.2g}, the last tried. A tenth of where it is least:")
    print(f"--optimizer.learning-rate {found.suggested:.1e}")
    print(f"see {viz.plot_rates(found.rates, found.losses, found.suggested, workdir / 'learning_rate.png')}")
    return 0


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
