"""The package as a whole: what importing it costs, which way imports point, that the pieces named exist."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up; a package may import from those on earlier lines only (docs/architecture.md).
LAYERS = [
    {"types", "names"},
    {"progress"},
    {"download"},
    {"ops", "viz", "metrics"},
    {"data", "losses", "nn", "weights"},
    {"models", "tasks"},
    {"config", "train"},
    {"infer", "recipes", "notebook", "completion"},
    {"commands", "parsers"},
    {"cli"},
]
BESIDE = {("config", "train"), ("train", "config")}  # the loop runs experiments; an experiment holds an Optimizer


def package_of(path):
    return path.relative_to(ROOT / "jaxseg").parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxseg":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxseg."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("jaxseg."))


def test_imports_point_one_way():
    rank = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    wrong = []
    for path in (ROOT / "jaxseg").rglob("*.py"):
        package = package_of(path)
        for other in imports_of(path):
            if package in ("__init__", other) or (package, other) in BESIDE:
                continue
            if rank[other] >= rank[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports jaxseg.{other}")
    assert wrong == []


def test_importing_touches_no_device_and_no_framework():
    program = (
        "import jaxseg, sys, jax;"
        "from jax._src import xla_bridge; assert not xla_bridge._backends, 'a backend was started';"
        "import jaxseg.cli;"
        "heavy = {'tensorflow', 'torch', 'cv2', 'matplotlib', 'tensorboardX', 'pycocotools'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "name", ["data", "losses", "metrics", "models", "nn", "ops", "tasks", "train", "viz", "weights", "infer"]
)
def test_what_is_announced_exists_and_is_explained(name):
    module = importlib.import_module(f"jaxseg.{name}")
    assert module.__doc__
    for public in module.__all__:
        thing = getattr(module, public)
        if callable(thing) and not hasattr(thing, "func"):
            assert thing.__doc__, f"{name}.{public} has no docstring"


def test_pmap_and_retired_calls_stay_where_they_belong():
    for path in (ROOT / "jaxseg").rglob("*.py"):
        text = path.read_text()
        for word in ("device_put_replicated", "device_put_sharded", "jax_utils.replicate", "colab_tpu"):
            assert word not in text, path
        assert "jax.pmap" not in text or path.name == "parallel.py", path
