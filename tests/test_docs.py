"""The documentation: it builds strictly and without network, its code runs, and it leaves nothing public out."""

import ast
import importlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from jaxseg import commands, parsers
from jaxseg.config import load_config
from tests.test_package import LAYERS

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PACKAGES = ("ops", "losses", "metrics", "models", "nn", "data", "tasks", "train", "infer", "viz", "weights")
# A block of Python, and a comment on the line before it: "not run: WHY", or "a file: NAME".
CODE = re.compile(r"(?:<!-- ((?:not run|a file): [^\n]*?) -->\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_CODE = [page for page in PAGES if CODE.search(page.read_text())]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors: a dead link, an anchor or a name that is not there among them."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_public_name_is_in_the_api(site):
    names = {name for page in site.rglob("*.html") for name in re.findall(r' id="(jaxseg[\w.]*)"', page.read_text())}
    for package in PACKAGES:
        module = importlib.import_module(f"jaxseg.{package}")
        shown = {name.split(".")[-1] for name in names if re.fullmatch(rf"jaxseg\.{package}(\.\w+){{1,2}}", name)}
        assert set(module.__all__) <= shown, f"jaxseg.{package}: {set(module.__all__) - shown}"


def test_every_page_of_the_site_stands_alone(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["']?(https?:[^"'\s>]+)""", text)
        assert not loaded, f"{page.name} loads {loaded}"
        assert not re.search(r":(func|class|mod|data|meth):`", re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)), (
            page
        )


def test_every_model_has_a_page_and_its_departures(site):
    pages = "\n".join(page.read_text() for page in (DOCS / "families").glob("*.md"))
    table, _, silent = (site / "departures.html").read_text().partition("others name none")
    for file in (ROOT / "jaxseg" / "models").glob("*.py"):
        if file.stem != "__init__":
            assert f"[{file.name}][jaxseg.models.{file.stem}]" in pages, f"no page in docs/families names {file.name}"
            said = re.search(r"\b(Departs|Left out)\b", ast.get_docstring(ast.parse(file.read_text())) or "")
            assert f">{file.name}</a>" in (table if said else silent)


def test_figures_are_drawn_described_and_small():
    sys.path.insert(0, str(DOCS))
    try:
        drawn = importlib.import_module("figures").FIGURES
    finally:
        sys.path.remove(str(DOCS))
    shown = set()
    for page in PAGES:
        for text, target in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text()):
            assert len(text) > 25, f"{page.name}: say what {target} shows, for those who don't see it"
            path = (page.parent / target).resolve()
            assert path.exists(), f"{page.name}: no {target}"
            shown |= {path.stem} if path.parent.name == "figures" else set()
    files = list((DOCS / "figures").iterdir())
    assert shown == set(drawn) == {file.stem for file in files}
    assert max(file.stat().st_size for file in files) < 150_000
    assert sum(file.stat().st_size for file in files) < 2_000_000


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for remark, code in CODE.findall(page.read_text()):
        kind, _, rest = remark.partition(": ")
        if kind == "a file":
            pathlib.Path(rest).write_text(code)
            experiment = load_config(rest, [], tiny=True)
            assert len(experiment.data.train) > len(experiment.data.val) > 0
        elif kind != "not run":
            exec(compile(code, str(page), "exec"), names)


def test_the_table_of_layers_is_the_one_that_is_held():
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| [\d, ]+ \| (.*?) \|", text, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows[:-1]] == LAYERS[:-1]
    assert set(re.findall(r"`(\w+)`", rows[-1])) == LAYERS[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_its_commands_are_understood(page):
    blocks = re.findall(r"^```\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0] for block in blocks for line in block.splitlines() if line.startswith("jaxseg ")]
    for line in lines:
        known, rest = parsers.parser().parse_known_args(shlex.split(line)[1:])
        assert callable(getattr(commands, known.run))
        assert known.more or not rest, line
