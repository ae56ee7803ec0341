"""``jaxseg bench``: how long a model takes, its operations, and its memory."""

import argparse
import shutil
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from jaxseg.commands.evaluation import chosen_runs
from jaxseg.types import JaxsegError


def bench(arguments: argparse.Namespace) -> int:
    """One table of a config's model, with random parameters or a run's; ``--json`` writes its numbers."""
    import jax
    import jax.numpy as jnp

    from jaxseg.config import load_config
    from jaxseg.train import bench as benching
    from jaxseg.train.checkpoint import write_json
    from jaxseg.train.evaluate import load_run

    runs = [] if arguments.config else chosen_runs(arguments)
    if arguments.config and (arguments.workdir or arguments.weights):
        raise JaxsegError("bench takes a config, --workdir or --weights, one of them")
    if arguments.config:
        experiment, variables = load_config(arguments.config, tiny=arguments.tiny), None
    else:
        experiment, variables, _ = load_run(runs[0], arguments.checkpoint)
    dtype = None if arguments.dtype is None else jnp.dtype(arguments.dtype)
    console = Console(stderr=True)
    with Progress(
        TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True,
    ) as progress:  # fmt: skip
        bar = progress.add_task("compiling", total=arguments.repeat)
        measured, shape, parameters = benching.bench(
            experiment,
            variables,
            size=arguments.size,
            batch=arguments.batch,
            dtype=dtype,
            train=arguments.train,
            repeat=arguments.repeat,
            watch=lambda done: progress.update(bar, completed=max(done, 0), description="timing"),
        )
        progress.update(bar, description="a matrix product, to compare with")
        roof = benching.matrix_product(dtype or getattr(experiment.model, "dtype", jnp.float32))
    device = jax.devices()[0]
    name = arguments.config or str(runs[0])
    numbers = {
        "model": type(experiment.model).__name__,
        "of": name,
        "what": "training step" if arguments.train else "prediction",
        "device": f"{device.platform} ({device.device_kind})",
        "images": list(shape),
        "dtype": str(jnp.dtype(dtype or getattr(experiment.model, "dtype", jnp.float32))),
        "parameters": parameters,
        "median_s": measured.quantile(0.5),
        "p10_s": measured.quantile(0.1),
        "p90_s": measured.quantile(0.9),
        "repeat": arguments.repeat,
        "images_per_s": shape[0] / measured.quantile(0.5),
        "operations": measured.operations,
        "operations_per_s": measured.operations / measured.quantile(0.5),
        "matrix_product_operations_per_s": roof,
        "share_of_matrix_product": measured.operations / measured.quantile(0.5) / roof,
        "trace_s": measured.tracing,
        "compile_s": measured.compiling,
        "arguments_bytes": measured.arguments,
        "results_bytes": measured.results,
        "temporary_bytes": measured.temporary,
    }
    _print(numbers)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.json, numbers)
        print(f"see {arguments.json}")
    return 0


def _print(n: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    mega, giga = 1e-6, 1e-9
    for name, text in {
        n["what"]: f"{n['model']} of {n['of']}, {'x'.join(map(str, n['images']))}, {n['dtype']}, on one {n['device']}",
        "time": f"{1e3 * n['median_s']:.1f} ms median of {n['repeat']}, {1e3 * n['p10_s']:.1f} to "
        f"{1e3 * n['p90_s']:.1f} (p10, p90)",
        "pictures": f"{n['images_per_s']:.2f} a second",
        "parameters": f"{mega * n['parameters']:.2f} M",
        "operations": f"{giga * n['operations']:.2f} G (additions and products of plain convolutions; loops once)",
        "speed": f"{giga * n['operations_per_s']:.1f} G operations a second, {100 * n['share_of_matrix_product']:.0f} % "
        f"of a large matrix product's here ({giga * n['matrix_product_operations_per_s']:.0f} G)",
        "memory": f"{mega * n['temporary_bytes']:.1f} MB for what is in between, {mega * n['arguments_bytes']:.1f} MB "
        f"arguments, {mega * n['results_bytes']:.1f} MB results",
        "compiling": f"{n['compile_s']:.1f} s, after {n['trace_s']:.1f} s of tracing",
    }.items():
        table.add_row(name, text)
    Console(width=max(150, shutil.get_terminal_size().columns), highlight=False).print(table)
