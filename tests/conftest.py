"""The strict environment every test runs in: 8 CPU devices, no implicit rank or dtype promotion."""

import gc
import os
import pathlib
import tempfile
from importlib.metadata import version

# Before jax starts a backend. Tests that need several devices ask for them; the rest use the first.
# Most of the suite's time is compiling, which LLVM's optimisations would lengthen by a quarter, and XLA's newer code
# generator for fusions by a half; to split a program into parts costs more than pytest's workers leave to gain.
flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
flags += " --xla_cpu_parallel_codegen_split_count=1"
if version("jaxlib").startswith("0.10."):  # an option that XLA no longer knows would end the process
    flags += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The same small programs are compiled by many tests, by pytest's other workers, and by the processes that tests start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="jaxseg-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_finish():
    """What has been imported stays: looking through it for garbage, over and over, took a twentieth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


SHARED = pathlib.Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Compiled programs of one file's tests serve no other's: over the suite they would add up to gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and weights beside the checkout; tests that need it are skipped without it."""
    if not SHARED.exists():
        pytest.skip("no ../shared beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a run of four steps, trained by the command line from one's own config. Copy it to change it."""
    from jaxseg import cli
    from tests.helpers import TINY_CONFIG

    folder = tmp_path_factory.mktemp("trained")
    (folder / "mine.py").write_text(TINY_CONFIG)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert cli.main(["train", str(folder / "mine.py"), "--workdir", str(folder / "run")]) == 0
    return folder / "run"
