"""``jaxseg eval``, and how scores are told."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.config import Experiment
from jaxseg.types import JaxsegError


def evaluate(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Score a run's checkpoint, or a file of weights, over validation data; leaves ``eval.json`` and ``eval.png``."""
    import jax

    from jaxseg.data import write_png
    from jaxseg.infer.refine import refined_eval_step
    from jaxseg.progress import progress
    from jaxseg.train import evaluate as evaluation
    from jaxseg.train import parallel
    from jaxseg.train.checkpoint import write_json

    parallel.connect_hosts(arguments.hosts)
    run = chosen_run(arguments)
    experiment, variables, step = evaluation.load_run(run, arguments.checkpoint, overrides)
    packed = run.is_file()
    out: Path = arguments.out or (Path("evaluation") if packed else run)
    out.mkdir(parents=True, exist_ok=True)
    eval_step = None
    if arguments.crf is not None:
        eval_step = refined_eval_step(experiment, chosen_crf(arguments.crf, run))
    with progress("evaluate", len(experiment.data.val), "pictures") as show:
        scores, sheet = evaluation.evaluate(experiment, variables, eval_step=eval_step, show=show)
    if jax.process_index():  # one of the hosts tells
        return 0
    print(f"{run.stem} after step {step}" if packed else f"{arguments.checkpoint} checkpoint, step {step}")
    print_scores(experiment, scores)
    write_json(out / "eval.json", {"step": step, **scores})
    print(f"see {write_png(out / 'eval.png', sheet)}")
    return 0


def print_scores(experiment: Experiment, scores: dict[str, Any]) -> None:
    """The numbers in one line, then what each class scored."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    first = experiment.task.main_metric
    names = [first, *(name for name in numbers if name != first)]
    print("  ".join(f"{n} {numbers[n]:.4f}" if isinstance(numbers[n], float) else f"{n} {numbers[n]}" for n in names))
    for name, values in scores.items():
        if isinstance(values, dict):
            print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
        elif isinstance(values, list | tuple) and values:
            print(f"{name}: " + ", ".join(str(v) for v in values))


def chosen_runs(arguments: argparse.Namespace) -> list[Path]:
    """The runs that ``--workdir`` names and the files of weights that ``--weights`` does: at least one."""
    from jaxseg.weights import packed

    runs = [*(arguments.workdir or ()), *(packed.packed_file(name) for name in arguments.weights or ())]
    if not runs:
        raise JaxsegError("say which network: --workdir RUN, or --weights FILE, or one of jaxseg weights list")
    return runs


def chosen_run(arguments: argparse.Namespace) -> Path:
    """The one that they name."""
    runs = chosen_runs(arguments)
    if len(runs) > 1:
        raise JaxsegError(f"one run at a time; several came: {', '.join(map(str, runs))}")
    return runs[0]


def chosen_crf(given: str, workdir: Path) -> Any:
    """The settings in the file that ``--crf`` names; by itself it means those that a search left with the run, or
    else the usual ones."""
    from jaxseg.infer import refine

    file = Path(given) if given else workdir / refine.FILE
    crf = refine.CRF.read(file) if given or file.exists() else refine.CRF()
    print(f"refined by {crf}", file=sys.stderr)
    return crf
