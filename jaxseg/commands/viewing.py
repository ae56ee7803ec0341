"""``jaxseg view``: a page on this machine to try trained runs on."""

import argparse
from pathlib import Path
from typing import Any

from jaxseg.commands.evaluation import chosen_runs
from jaxseg.types import JaxsegError


def view(arguments: argparse.Namespace) -> int:
    """Serve the page with every run and file of weights given, by their names, until Ctrl-C; with none given, those
    that are part of jaxseg."""
    from jaxseg.infer import viewer
    from jaxseg.weights import packed

    given = arguments.workdir or arguments.weights
    runs = [run.resolve() for run in (chosen_runs(arguments) if given else packed.shipped().values())]
    # Runs of one name, as a/run and b/run, are told apart by the whole path.
    plain = len({run.stem for run in runs}) == len(runs)
    named = [(run.stem if plain else str(run), _predictor(run, arguments.checkpoint)) for run in runs]
    try:
        viewer.serve(named, host=arguments.host, port=arguments.port, browser=not arguments.no_browser)
    except KeyboardInterrupt:
        print("ended")
    return 0


def _predictor(workdir: Path, which: str) -> Any:
    """That of what a run says of pictures; of label maps with the CRF that a search left with the run."""
    from jaxseg.infer import CRF, InstancePredictor, Predictor, Refined, SegmentPredictor
    from jaxseg.infer.refine import FILE
    from jaxseg.train.build import noted_experiment

    about = noted_experiment(workdir).task.about
    if about == "pixels":
        predictor = Predictor.load(workdir, which)
        return Refined(predictor, CRF.read(workdir / FILE)) if (workdir / FILE).exists() else predictor
    if about == "instances":
        return InstancePredictor.load(workdir, which)
    if about == "segments":
        return SegmentPredictor.load(workdir, which)
    raise JaxsegError(
        f"--workdir {workdir}: the viewer shows label maps, instances and segments; what a run says of whole pictures, "
        "jaxseg report shows"
    )
