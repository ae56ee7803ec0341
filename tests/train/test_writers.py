"""Weights & Biases, offline, by its own library; what TensorBoard's events hold is tested with the loop."""

import json
import struct
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from jaxseg.train.log import Log
from jaxseg.train.writers import Writer, weights_and_biases
from jaxseg.types import JaxsegError


def offline_records(folder):
    """What is in the file that ``wandb sync`` would send: LevelDB's log of its own messages, here in one block."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, records = file.read_bytes()[7:], []
    while data:
        _, length, kind = struct.unpack("<IHB", data[:7])
        assert kind == 1, "a record that goes on in the next block"
        records.append(Record.FromString(data[7 : 7 + length]))
        data = data[7 + length :]
    return records


def history(folder):
    """The values of each step, once its own process has written the end of the run."""
    for _ in range(100):
        records = offline_records(folder)
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.1)
    steps = [record.history for record in records if record.HasField("history")]
    return [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in step.item} for step in steps]


@pytest.mark.filterwarnings("ignore")  # what its library does is not ours to mend
def test_weights_and_biases_is_told_the_same(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    writer = weights_and_biases(tmp_path, "project", {"optimizer.learning_rate": 0.1})
    name = json.loads((tmp_path / "wandb.json").read_text())["id"]
    writer.numbers(3, {"train/loss": 0.5})
    writer.picture(4, "val/predictions", np.zeros((4, 6, 3), np.uint8))
    writer.close()
    first, second = history(tmp_path)
    assert (first["_step"], first["train/loss"]) == (3, 0.5)
    assert (second["_step"], second["val/predictions/width"], second["val/predictions/height"]) == (4, 6, 4)
    assert name in next(tmp_path.glob("wandb/offline-run-*")).name


def test_without_it_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(JaxsegError, match=r"pip install 'jaxseg\[wandb\]'"):
        weights_and_biases(tmp_path, "project", {})


def test_every_writer_gets_finite_numbers_and_is_closed(tmp_path):
    told = []
    writer = Writer(lambda *a: told.append(a), lambda *a: told.append(a), lambda: told.append("closed"))
    log = Log(tmp_path, steps=3, start=0, writers=[lambda: writer])
    log.record(1, {"loss": 0.5, "ap_small": float("nan"), "name": "x"})
    log.picture(1, "val", "picture")
    log.close()
    assert told == [(1, {"loss": 0.5}), (1, "val", "picture"), "closed"]
    assert '"name": "x"' in (tmp_path / "metrics.jsonl").read_text()


def test_tensorboards_events_need_no_pytorch_where_there_is_one(tmp_path):
    pytest.importorskip("torch")
    code = f"""
        import sys
        from pathlib import Path
        from jaxseg.train.writers import tensorboard
        writer = tensorboard(Path({str(tmp_path)!r}), 0)
        writer.numbers(1, {{"train/loss": 0.5}})
        writer.close()
        assert "torch" not in sys.modules
        import torch
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    assert next((tmp_path / "events").iterdir()).stat().st_size > 0
