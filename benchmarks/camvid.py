"""Every semantic system on CamVid, trained one after another, as one table.

``python benchmarks/camvid.py --root DIR --vgg FILE [--only NAME ...] [--out runs/camvid] [--full]``

By default each config's ``--fast`` form (about 10 minutes on 2 CPU cores); ``--full`` for a GPU. Called again, it goes
on where it was stopped, and prints what is already there. Published figures are for CamVid's test set at 360x480 with
full schedules, from Jégou et al. 2017 (table 3), so they are a direction and not a target; ours are for the 101
validation images.
"""

import argparse
import inspect
import json
import math
import statistics
from functools import partial
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from jaxseg import config
from jaxseg.models import PAPERS
from jaxseg.train import loop
from jaxseg.train.log import read_records

PUBLISHED = {"fcn8s_camvid": 0.570, "deeplab_v1_camvid": 0.616, "deconvnet_camvid": 0.489}


def arguments_for(name: str, options: argparse.Namespace) -> list[str]:
    """Those of the common options that the config takes."""
    known = inspect.signature(config.load_get_config(name)).parameters
    given = {"root": options.root, "vgg": options.vgg}
    arguments = [part for key, value in given.items() if key in known and value for part in (f"--{key}", value)]
    return arguments + ([] if options.full else ["--fast"])


def row(name: str, experiment: config.Experiment, workdir: Path) -> dict[str, object]:
    """What the run in ``workdir`` came to: its last scores, and its speed between evaluations."""
    records = read_records(workdir / "metrics.jsonl")
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), np.float32)
    shapes = jax.eval_shape(partial(experiment.model.init, train=False), jax.random.key(0), images)["params"]
    scores = [r for r in records if "val/miou" in r]
    speeds = [r["train/images_per_second"] for r in records if "train/images_per_second" in r]
    last = scores[-1] if scores else {}
    return {
        "paper": PAPERS[type(experiment.model).__module__],
        "config": name,
        "parameters": f"{sum(math.prod(s.shape) for s in jax.tree.leaves(shapes)) / 1e6:.2f} M",
        "step": f"{last.get('step', 0)} of {experiment.steps}",
        "mIoU": last.get("val/miou"),
        "pixel accuracy": last.get("val/pixel_accuracy"),
        "boundary F": last.get("val/boundary_f"),
        "images/s": statistics.median(speeds) if speeds else None,
        "minutes": (records[-1]["time"] - records[0]["time"]) / 60 if records else None,
        "published": PUBLISHED.get(name),
    }


def print_table(rows: list[dict[str, object]]) -> None:
    table = Table(box=None, header_style="bold")
    for heading in rows[0]:
        table.add_column(heading, no_wrap=True)
    for values in rows:
        table.add_row(*("" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in values.values()))
    Console(width=180).print(table)


def main() -> None:
    names = sorted(path.stem for path in config.config_folder().glob("*_camvid.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="../shared/data/camvid", help="CamVid's folder (%(default)s)")
    parser.add_argument("--vgg", default="../shared/weights/vgg16_hed.npz", help="VGG-16's weights (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="configs to run")
    parser.add_argument("--out", type=Path, default=Path("runs/camvid"), help="folder of the runs (%(default)s)")
    parser.add_argument("--full", action="store_true", help="the configs' full form, for a GPU")
    options = parser.parse_args()
    rows = []
    for name in options.only:
        experiment = config.load_config(name, arguments_for(name, options))
        print(f"{name}: {experiment.steps} steps of {experiment.batch_size}", flush=True)
        if loop.train(experiment, options.out / name).stopped:
            break
        rows.append(row(name, experiment, options.out / name))
        print_table(rows)
    (options.out / "table.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
