"""What the README shows: its Python runs, its commands are understood, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import commands, config, parsers
from jaxseg.weights import packed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line.split(" #")[0] for _, block in BLOCKS for line in block.splitlines() if line.startswith("jaxseg ")]


def test_its_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), names)
    assert names["scores"].shape == (64, 64, 5)
    void = np.zeros((64, 64), bool)
    void[:8] = True
    assert (np.abs(names["slope"]).sum(-1) == 0).tolist() == void.tolist()
    assert names["regions"].shape == (1, 7, 7, 8)
    assert names["keep"].shape == names["valid"].shape == (10,)
    assert jnp.sum(names["valid"]) == 1
    assert names["logits"].shape == (1, 96, 128, 11)
    assert names["found"].boxes.shape == (len(names["found"].scores), 4)


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_understood(line):
    known, rest = parsers.parser().parse_known_args(shlex.split(line)[1:])
    assert callable(getattr(commands, known.run))
    assert known.more or not rest
    if known.run == "train":
        config.load_config(known.config, rest)
    for name in getattr(known, "weights", None) or []:
        assert packed.packed_file(name).is_file()


def test_its_targets_are_the_makefiles():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) | {"docs"} <= targets


def test_its_links_lead_somewhere():
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", README) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []
    notebooks = re.findall(r"blob/main/(colab/\w+\.ipynb)", README)
    assert sorted(set(notebooks)) == sorted(f"colab/{p.name}" for p in (ROOT / "colab").glob("*.ipynb"))


def test_every_command_and_every_system_is_in_it():
    subparsers = next(a for a in parsers.parser()._actions if a.dest == "command")
    assert [name for name in subparsers.choices if not re.search(rf"`{name}\b|jaxseg {name}\b", README)] == []
    inner = {"__init__.py", "published.py"}
    files = [p.relative_to(ROOT) for d in ("jaxseg/models", "configs") for p in (ROOT / d).glob("*.py")]
    assert [str(p) for p in files if f"({p})" not in README and p.name not in inner] == []
