"""``jaxseg bench``: how long a model takes, how much it computes, and in what memory."""

import argparse
import shutil
from typing import Any

from rich.console import Console
from rich.table import Table

from jaxseg.commands.evaluation import chosen_run
from jaxseg.config import Experiment, load_config
from jaxseg.types import JaxsegError


def bench(arguments: argparse.Namespace) -> int:
    """A table of a config's model, with random parameters, or of a run's; ``--json`` writes its numbers."""
    from jaxseg.train.checkpoint import write_json
    from jaxseg.train.evaluate import load_run

    if bool(arguments.config) == bool(arguments.workdir or arguments.weights):
        raise JaxsegError("bench takes a config, or a run by --workdir or --weights, one of them")
    if arguments.config:
        experiment, variables = load_config(arguments.config, tiny=arguments.tiny), None
    else:
        experiment, variables, _ = load_run(chosen_run(arguments), arguments.checkpoint)
    numbers = _measured(experiment, variables, arguments)
    _print(numbers)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.json, numbers)
        print(f"see {arguments.json}")
    return 0


def _measured(experiment: Experiment, variables: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from jaxseg.progress import progress
    from jaxseg.train import bench as benching

    dtype = jnp.dtype(arguments.dtype or getattr(experiment.model, "dtype", jnp.float32))
    with progress("compiling, then timing", arguments.repeat, "runs") as show:
        measured, shape, parameters = benching.bench(
            experiment,
            variables,
            size=arguments.size,
            batch=arguments.batch,
            dtype=dtype if arguments.dtype else None,
            train=arguments.train,
            repeat=arguments.repeat,
            watch=lambda done: show(max(done, 0)),
        )
    product = benching.matrix_product(dtype)
    device, median = jax.devices()[0], measured.quantile(0.5)
    return {
        "model": type(experiment.model).__name__,
        "of": str(arguments.config or (arguments.workdir or arguments.weights)[0]),
        "what": "training step" if arguments.train else "prediction",
        "device": device.device_kind,
        "images": list(shape),
        "dtype": str(dtype),
        "parameters": parameters,
        "repeat": arguments.repeat,
        "median_s": median,
        "p10_s": measured.quantile(0.1),
        "p90_s": measured.quantile(0.9),
        "images_per_s": shape[0] / median,
        "operations": measured.operations,
        "operations_per_s": measured.operations / median,
        "matrix_product_operations_per_s": product,
        "temporary_bytes": measured.temporary,
        "arguments_bytes": measured.arguments,
        "results_bytes": measured.results,
        "trace_s": measured.tracing,
        "compile_s": measured.compiling,
    }


def _print(n: dict[str, Any]) -> None:
    ms = {key: f"{1e3 * n[key + '_s']:.1f}" for key in ("median", "p10", "p90")}
    mb = {key: f"{n[key + '_bytes'] / 1e6:.1f} MB" for key in ("temporary", "arguments", "results")}
    speed, product = n["operations_per_s"], n["matrix_product_operations_per_s"]
    images = "x".join(map(str, n["images"]))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    operations = f"{n['operations'] / 1e9:.2f} G"
    for name, text in {
        n["what"]: f"{n['model']} of {n['of']}, images {images}, {n['dtype']}, on one device ({n['device']})",
        "time": f"{ms['median']} ms, the median of {n['repeat']} (p10 {ms['p10']}, p90 {ms['p90']})",
        "pictures": f"{n['images_per_s']:.2f} a second",
        "parameters": f"{n['parameters'] / 1e6:.2f} M",
        "operations": f"{operations} (additions and products; convolutions in their plain form, of loops one round)",
        "speed": f"{speed / 1e9:.1f} G operations a second, {100 * speed / product:.0f} % of a large matrix product's "
        f"here ({product / 1e9:.0f} G)",
        "memory": f"{mb['temporary']} in between, {mb['arguments']} arguments, {mb['results']} results",
        "compiling": f"{n['compile_s']:.1f} s, after {n['trace_s']:.1f} s of tracing",
    }.items():
        table.add_row(name, text)
    Console(width=max(150, shutil.get_terminal_size().columns), highlight=False).print(table)
