"""What would be released: a wheel for any machine, whole, whose metadata PyPI accepts, and which runs by itself."""

import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_is_for_any_machine_and_whole(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(next(n for n in names if n.endswith("/METADATA"))))
    shipped = subprocess.run(
        ["git", "ls-files", "jaxseg", "configs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    expected = {f"jaxseg/{name}" if name.startswith("configs/") else name for name in shipped}
    assert {n for n in names if ".dist-info/" not in n} == expected
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert needed
    assert not [line for line in needed if re.match(r"(tensorflow(-cpu)?|torch\w*)\b(?!-datasets)", line)]


def test_pypi_would_take_it(wheel):
    pytest.importorskip("twine")
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_installed_it_runs_with_no_checkout_beside_it(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    program = (
        "import jaxseg.cli as c; print(c.__file__); c.main(['weights', 'list']);"
        "from jaxseg import config; print(config.find_config('unet_shapes'), config.load_config('unet_shapes').steps)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path / "site" / "jaxseg"))
    assert "nuclei" in done.stdout
    assert f"{tmp_path}/site/jaxseg/configs/unet_shapes.py 1000" in done.stdout


def test_one_version_of_the_linter():
    pinned = re.search(r"^ruff==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
    assert set(re.findall(r"ruff==([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text())) == {pinned}
