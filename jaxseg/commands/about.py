"""``jaxseg models`` and ``jaxseg env``: what there is, and on what."""

import argparse
import math
import os
import platform
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from inspect import signature
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jaxseg import config


def models(arguments: argparse.Namespace) -> int:
    """A table of every shipped config's model, its parameters counted without making any."""
    del arguments
    import jax

    from jaxseg.models import PAPERS

    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    proposals = {"boxes": jax.ShapeDtypeStruct((1, 4, 4), np.float32), "valid": jax.ShapeDtypeStruct((1, 4), bool)}
    table = Table(box=None, header_style="bold")
    for heading in ("model", "paper", "file", "parameters", "config"):
        table.add_column(heading, no_wrap=True)
    files = sorted(config.config_folder().glob("*.py"))
    for file in track(files, "tracing", console=Console(stderr=True), transient=True):
        model = config.load_config(file).model
        given = {"proposals": proposals} if "proposals" in signature(type(model).__call__).parameters else {}
        variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images, **given)
        count = f"{sum(math.prod(x.shape) for x in jax.tree.leaves(variables['params'])) / 1e6:.2f} M"
        heads = getattr(model, "heads", {})  # of which the paper tells more than the detector's own
        module = type([model, *heads.values()][-1]).__module__
        name = type(model).__name__ + (f" ({', '.join(heads)})" if heads else "")
        source = module.replace(".", "/") + ".py"
        table.add_row(name, PAPERS[module], source, count, f"configs/{file.name}")
    Console(width=max(200, shutil.get_terminal_size().columns)).print(table)
    return 0


def env(arguments: argparse.Namespace) -> int:
    """Versions of what jaxseg is built on, the machine, its devices, and the variables that change what JAX does."""
    del arguments
    print("\n".join(environment()))
    return 0


def environment() -> Iterator[str]:
    """The lines that ``jaxseg env`` prints."""
    import jax

    import jaxseg

    yield f"jaxseg {metadata.version('jaxseg')} in {Path(jaxseg.__file__).parent}"
    yield f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} CPUs"
    needed = [re.split(r"[^\w-]", line)[0] for line in metadata.requires("jaxseg") or () if "extra ==" not in line]
    for name in ("jaxlib", *needed):
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"{name} is not installed"
    try:
        kinds = Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
        yield ("devices: " + ", ".join(f"{count} x {kind}" for kind, count in kinds.items()))
    except RuntimeError as error:  # a driver that does not fit, as a rule: what a report is about
        yield f"devices: none, for {error}"
    for name in sorted(name for name in os.environ if name.startswith(("JAX_", "XLA_", "CUDA_VISIBLE", "TPU_"))):
        yield f"{name}={os.environ[name]}"
