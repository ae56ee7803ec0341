"""Two processes, as on two hosts: they train, save and go on, and the numbers are those of one process."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxseg.train import loop
from jaxseg.train.checkpoint import write_json
from jaxseg.train.evaluate import evaluate
from jaxseg.train.log import read_records
from tests.helpers import rows_experiment, slowly, tiny_experiment, variables_for

PROGRAM = """
import sys
from jaxseg.train import loop, parallel
parallel.connect_hosts()
from tests.helpers import tiny_experiment
print(loop.train(tiny_experiment(devices=None, spread=sys.argv[1], save_every=3, log_every=1), sys.argv[2]).step)
"""

# A metric on the host gathers the rows of all: (place in the source, first predicted class) of every image.
ROWS = """
import sys
from jaxseg.train import evaluate, parallel
parallel.connect_hosts(find=True)
from tests.helpers import rows_experiment, variables_for
e = rows_experiment(devices=None)
print(evaluate.evaluate(e, variables_for(e))[0]["rows"])
"""


def train_on_two_hosts(spread, workdir):
    return run_on_two_hosts(PROGRAM, spread, str(workdir))


def told(port, index):
    address = f"127.0.0.1:{port}"
    return {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(index)}


def as_slurm_does(port, index):
    """A job's number is where JAX takes the coordinator's port from: it lies in the last 4096."""
    job = {"SLURM_JOB_ID": str(port - 61440), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    return job | {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index), "SLURM_STEP_TASKS_PER_NODE": "2"}


def run_on_two_hosts(program, *arguments, told=told):
    port = next(port for port in range(61440, 65536) if is_free(port))
    processes = []
    for index in range(2):
        hosts = told(port, index)
        # As in all tests (see conftest.py), but for the number of devices.
        env = os.environ | hosts | {"XLA_FLAGS": re.sub(r"(?<=device_count=)\d+", "2", os.environ["XLA_FLAGS"])}
        command = [sys.executable, "-c", program, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], env=env, **pipes))
    said = [process.communicate(timeout=300) for process in processes]
    assert [p.returncode for p in processes] == [0, 0], said
    return said


def is_free(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def test_hosts_that_nothing_tells_of_are_an_error():
    program = "from jaxseg import cli; cli.main(['train', 'unet_shapes', '--workdir', 'never', '--hosts'])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "no other hosts were found" in said.stderr


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run on one host."""
    workdir = tmp_path_factory.mktemp("one")
    loop.train(tiny_experiment(log_every=1), workdir)
    return workdir


@pytest.mark.parametrize("spread", ["jit", *slowly("pmap")])
def test_two_hosts_train_like_one(spread, one, tmp_path):
    train_on_two_hosts(spread, tmp_path)
    assert_same_losses(one, tmp_path)


@pytest.mark.slow
def test_two_hosts_go_on_where_they_were(one, tmp_path):
    train_on_two_hosts("jit", tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "6")
    said = train_on_two_hosts("jit", tmp_path)
    assert "at step 3 of 6" in said[0][1]
    assert [out.split()[-1] for out, _ in said] == ["6", "6"]
    assert_same_losses(one, tmp_path)


def test_a_metric_on_the_host_sees_the_rows_of_all_hosts():
    e = rows_experiment()
    alone = evaluate(e, variables_for(e))[0]["rows"]
    assert [row[0] for row in alone] == list(range(10))
    said = run_on_two_hosts(ROWS, told=as_slurm_does)
    assert [out.strip().splitlines()[-1] for out, _ in said] == [str(alone)] * 2


def test_many_may_write_one_file_at_once(tmp_path):
    """Every host notes the experiment in the folder that all of them see."""
    path, value = tmp_path / "experiment.json", {"steps": list(range(1000))}
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(write_json, path, value) for _ in range(200)]:
            future.result()
    assert json.loads(path.read_text()) == value
    assert list(tmp_path.iterdir()) == [path]


def assert_same_losses(one, other):
    losses = [
        [r["train/loss"] for r in read_records(folder / "metrics.jsonl") if "train/loss" in r]
        for folder in (one, other)
    ]
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
