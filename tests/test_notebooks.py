"""The notebooks run from top to bottom in their tiny form, without network."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from jaxseg import notebook
from jaxseg.types import JaxsegError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "colab").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_notebook_runs(path, tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("JAXSEG_TINY", "1")
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1"))
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # no other test makes these programs
    book = nbformat.read(path, as_version=4)
    code = [c for c in book.cells if c.cell_type == "code"]
    assert len(code) <= 10
    assert not any(c.outputs for c in code), "commit notebooks without their outputs"
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "jaxseg_run" / "overlay.png").stat().st_size > 1000


def test_on_colab_runs_are_kept_on_drive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert notebook.work_folder("run") == Path("run")
    mounted = []
    google = ModuleType("google")
    google.colab = SimpleNamespace(drive=SimpleNamespace(mount=mounted.append))
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", google.colab)
    monkeypatch.setattr(notebook, "Path", lambda *parts: Path(tmp_path, *(part.lstrip("/") for part in parts)))
    assert notebook.work_folder("run") == tmp_path / "content/drive/MyDrive/jaxseg/run"
    assert notebook.work_folder("run", drive=False) == tmp_path / "run"
    assert mounted == ["/content/drive"]
    assert "Runtime > Change runtime type" in notebook.devices()

    def refused(_):
        raise ValueError("mount failed")

    google.colab.drive.mount = refused
    with pytest.raises(JaxsegError, match=r"can't be mounted \(mount failed\); .* DRIVE = False"):
        notebook.work_folder("run")


def test_elsewhere_nothing_is_said_of_colab():
    assert notebook.devices() == "8 x cpu (cpu)"
