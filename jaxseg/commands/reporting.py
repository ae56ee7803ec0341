"""``jaxseg report``: a run as one HTML page."""

import argparse
import ast
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jaxseg import config, viz
from jaxseg.commands.about import environment
from jaxseg.config import Experiment
from jaxseg.types import JaxsegError


def report(arguments: argparse.Namespace) -> int:
    """Evaluate a run's checkpoint, picture by picture, and write what there is to know of the run as one page.

    Where it can't be evaluated (its data is not there, nothing is saved yet) the page has the curves and the scores
    that training logged, says what is missing, and so does a line here.
    """
    from jaxseg.train.build import noted_experiment
    from jaxseg.train.checkpoint import write_text

    workdir: Path = arguments.workdir
    if workdir.is_file():
        raise JaxsegError(
            f"{workdir} is a file; give a run's folder: jaxseg weights unpack {workdir} --workdir DIR "
            "makes one of weights"
        )
    if arguments.images < 1:
        raise JaxsegError(f"--images {arguments.images}: at least 1")
    out = arguments.out or workdir / "report.html"
    if out.is_dir():
        raise JaxsegError(f"--out {out} is a folder; name a file, as {out / 'report.html'}")
    experiment = noted_experiment(workdir)
    page = _of_folder(experiment, workdir)
    try:
        page = _judged(page, experiment, arguments)
    except JaxsegError as error:
        reason = " ".join(str(error).split())
        print(f"jaxseg: without pictures: {reason}", file=sys.stderr)
        note = f"This run was not evaluated for this page: {reason}. Its scores are those that training logged last."
        page = page._replace(no_pictures=reason, notes=[note])
    write_text(out, viz.render_report(page))
    print(f"see {out}")
    return 0


def _of_folder(e: Experiment, workdir: Path) -> viz.Page:
    """What a run's folder says by itself."""
    from jaxseg.train.log import read_records

    records, name = read_records(workdir / "metrics.jsonl"), workdir.resolve().name
    text = (workdir / "config.py").read_text(encoding="utf-8")
    told = json.loads((workdir / "command.json").read_text())
    command = ["jaxseg", "train", str(workdir / "config.py"), "--workdir", str(workdir)]
    command += ["--tiny"] * told["tiny"] + told["overrides"]
    step = records[-1]["step"] if records else 0
    scores = _logged_scores(records)
    facts = {
        e.task.main_metric: _written(scores.get(e.task.main_metric)),
        "model": ", ".join([type(e.model).__name__, *getattr(e.model, "heads", ())]),
        "steps": f"{step:,} of {e.steps:,}",
        "batch": str(e.batch_size),
        "seed": str(e.seed),
    }
    if records:
        facts["last logged"] = datetime.fromtimestamp(records[-1]["time"]).strftime("%Y-%m-%d %H:%M")
    return viz.Page(
        title=name,
        subtitle=(ast.get_docstring(ast.parse(text)) or "").split("\n")[0].replace("``", ""),
        facts=facts,
        records=records,
        scores=scores,
        main_metric=e.task.main_metric,
        command=shlex.join(command),
        config=text,
        settings={key: json.dumps(value, ensure_ascii=False) for key, value in config.settings(e).items()},
        environment=list(environment()),
        made=f"Written by jaxseg report, {datetime.now():%Y-%m-%d %H:%M}.",
    )


def _judged(page: viz.Page, e: Experiment, arguments: argparse.Namespace) -> viz.Page:
    """The page with what an evaluation shows."""
    import jax

    from jaxseg.progress import progress
    from jaxseg.train.evaluate import load_variables
    from jaxseg.train.judge import classes_of, judge

    variables, step = load_variables(e, arguments.workdir, arguments.checkpoint)
    with progress("evaluate", len(e.data.val), "pictures") as show:
        found = judge(e, variables, most=arguments.images, watch=show)
    parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
    facts = {
        **page.facts,
        e.task.main_metric: _written(found.scores[e.task.main_metric]),
        "checkpoint": f"{arguments.checkpoint}, step {step:,}",
        "parameters": f"{parameters / 1e6:.2f} M",
        "validation pictures": f"{len(e.data.val):,}",
    }
    source, coloured = e.data.val, {"pixels": "classes", "segments": "stuff"}.get(e.task.about)
    names = getattr(source, coloured) if coloured else ()
    return page._replace(
        facts=facts,
        scores=found.scores,
        classes=classes_of(e),
        counts=found.counts,
        unit=found.unit,
        legend=dict(zip(names, getattr(source, "palette", viz.default_palette(len(names))))),
        confusion=found.confusion,
        score=found.score,
        by_picture=found.by_picture,
        worst=found.worst,
        best=found.best,
        no_pictures="no picture has a score of its own.",
    )


def _logged_scores(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last evaluation among the lines of ``metrics.jsonl``, as a metric computed it."""
    scores: dict[str, Any] = {}
    for record in reversed(records):
        for name, value in record.items():
            kind, _, score = name.partition("/")
            score, _, of = score.partition("/")  # the rest is a class, in whose name there may be a slash
            if kind == "val" and of:
                scores.setdefault(score, {})[of] = value
            elif kind == "val":
                scores[score] = value
        if scores:
            break
    return scores


def _written(score: float | None) -> str:
    return "not known" if score is None or math.isnan(score) else f"{score:.4f}"
