"""Training from a work directory: resuming, damage, faults, and what a run leaves."""

import dataclasses
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data import pipeline, read_image
from jaxseg.train import build, evaluate, loop
from jaxseg.train.checkpoint import Checkpoints
from jaxseg.train.log import read_records
from jaxseg.types import JaxsegError
from tests.helpers import rows_experiment, slowly, tiny_experiment

EXPERIMENT = tiny_experiment(ema=0.9)


def final_state(workdir, experiment=EXPERIMENT):
    checkpoints = Checkpoints(workdir / "checkpoints")
    found = checkpoints.restore(build.state_like(experiment))
    checkpoints.close()
    return jax.device_get(found[0])


def assert_bit_equal(a, b):
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b)):
        np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, loop.train(EXPERIMENT, workdir)


def last_picture(events):
    """The last of the pictures that TensorBoard would show, as the bytes of a PNG."""
    from tensorboardX.proto.event_pb2 import Event  # slow to import

    data, pictures = events.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        record, data = data[12 : 12 + length], data[16 + length :]  # a checksum follows the length, and the record
        pictures += [v for v in Event.FromString(record).summary.value if v.HasField("image")]
    assert [v.tag for v in pictures] == ["val/predictions"] * 2
    return pictures[-1].image.encoded_image_string


def test_what_a_run_leaves(whole):
    workdir, result = whole
    assert result.step == 6
    assert not result.stopped
    assert 0 < result.scores["miou"] < 1
    assert {p.name for p in result.files} == {"predictions.png", "curves.png"}
    records = read_records(workdir / "metrics.jsonl")
    assert [r["step"] for r in records if "train/loss" in r] == [2, 4, 6]
    assert [r["step"] for r in records if "val/miou" in r] == [3, 6]
    (events,) = (workdir / "events").iterdir()
    assert read_image(last_picture(events)).tolist() == read_image(workdir / "predictions.png").tolist()
    assert sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()) == [4, 6]


def test_the_best_checkpoint_scores_what_was_logged(whole):
    workdir, _ = whole
    variables, step = evaluate.load_variables(EXPERIMENT, workdir)
    scores, sheet = evaluate.evaluate(EXPERIMENT, variables)
    logged = {r["step"]: r["val/miou"] for r in read_records(workdir / "metrics.jsonl") if "val/miou" in r}
    assert scores["miou"] == pytest.approx(logged[step], abs=1e-6)
    assert scores["miou"] == pytest.approx(max(logged.values()), abs=1e-6)
    assert sheet.std() > 10


@pytest.mark.parametrize("shown", [3, *slowly(1, 100)])
def test_the_sheet_shows_examples_from_first_to_last(whole, shown):
    variables, _ = evaluate.load_variables(EXPERIMENT, whole[0])
    drawn = {}

    def draw(batch, predictions):
        drawn.update(batch=batch, predictions=predictions)
        return EXPERIMENT.task.draw(batch, predictions)

    task = EXPERIMENT.task._replace(draw=draw)
    evaluate.evaluate(dataclasses.replace(EXPERIMENT, task=task), variables, shown=shown)
    last = len(EXPERIMENT.data.val) - 1
    assert list(drawn["batch"]["index"]) == {1: [0], 3: [0, round(last / 2), last]}.get(shown, list(range(last + 1)))
    images = drawn["batch"]["image"]
    alone = EXPERIMENT.model.apply(variables, images, train=False)["logits"].argmax(-1)
    assert (drawn["predictions"]["label"] == alone).mean() > 0.999


def test_finished_runs_do_nothing_more(whole):
    workdir, _ = whole
    before = (workdir / "metrics.jsonl").read_text()
    assert loop.train(EXPERIMENT, workdir).step == 6
    assert (workdir / "metrics.jsonl").read_text() == before


def test_a_clean_stop_goes_on_to_the_same_end(whole, tmp_path, monkeypatch):
    """SIGTERM during step 3 saves step 3; the same call ends bit-equal with the uninterrupted run."""
    steps = loop._steps

    def interrupted(*arguments):
        for step, *rest in steps(*arguments):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield step, *rest

    monkeypatch.setattr(loop, "_steps", interrupted)
    result = loop.train(EXPERIMENT, tmp_path)
    assert (result.step, result.stopped) == (3, True)
    monkeypatch.undo()
    loop.train(EXPERIMENT, tmp_path)
    assert_bit_equal(final_state(whole[0]), final_state(tmp_path))
    losses = [[(r["step"], r["train/loss"]) for r in read_records(w / "metrics.jsonl") if "train/loss" in r]
              for w in (whole[0], tmp_path)]  # fmt: skip
    assert [s for s, _ in losses[0]] == [s for s, _ in losses[1]]  # no step is logged twice


def test_killed_at_any_moment_it_ends_where_it_would_have(whole, tmp_path):
    """kill -9 twice at random moments of a run, then to the end: bit-equal (benchmarks/kill.py does ten)."""
    program = (
        "from jaxseg.train import loop; from tests.helpers import tiny_experiment;"
        f"loop.train(tiny_experiment(ema=0.9), {str(tmp_path)!r})"
    )
    root = Path(__file__).parents[2]
    rng = np.random.default_rng(0)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=root, stderr=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(4, 14)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    loop.train(EXPERIMENT, tmp_path)
    assert_bit_equal(final_state(whole[0]), final_state(tmp_path))


def damaged_copy(whole, tmp_path, damage):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "checkpoints" / "6"
    damage(newest)
    said = []
    checkpoints = Checkpoints(tmp_path / "checkpoints", say=said.append)
    found = checkpoints.restore(build.state_like(EXPERIMENT))
    checkpoints.close()
    return found, said


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(folder):
    """In the middle of the stored numbers, where nothing but a checksum would notice."""
    path = largest(folder / "state")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(bytes(data))


def truncate(folder):
    path = largest(folder / "state")
    path.write_bytes(path.read_bytes()[:100])


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def lose_the_metadata(folder):
    for path in folder.rglob("_METADATA"):
        path.write_text("{")


@pytest.mark.parametrize("damage", [flip_a_bit, empty, *slowly(truncate, lose_the_metadata)])
def test_damage_is_found_and_the_one_before_is_taken(whole, tmp_path, damage):
    found, said = damaged_copy(whole, tmp_path, damage)
    assert int(found[0].step) == 4
    assert len(said) == 1
    assert "checkpoints/6 is damaged" in said[0]
    assert "trying the one before" in said[0]
    assert (tmp_path / "checkpoints" / "6").is_dir()  # reading removes nothing
    loop.train(EXPERIMENT, tmp_path)  # and training goes on from there to the same end
    assert_bit_equal(final_state(whole[0]), final_state(tmp_path))


def test_a_damaged_best_checkpoint_does_not_stop_a_resume(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "6")
    for step in (tmp_path / "best").iterdir():
        empty(step)
    with pytest.raises(JaxsegError, match="all 1 checkpoints in .*best are damaged"):
        evaluate.load_variables(EXPERIMENT, tmp_path)
    said = []
    loop.train(EXPERIMENT, tmp_path, say=said.append)
    assert any("best is sound; the next evaluation saves its own" in line for line in said)
    assert_bit_equal(final_state(whole[0]), final_state(tmp_path))
    evaluate.load_variables(EXPERIMENT, tmp_path)


def test_a_pause_does_not_move_the_speed_for_long(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    speed = loop._Speed(batch_size=8)
    shown = []
    for seconds in (30.0, 1.0, 1.0, 1.0, 600.0, 1.0, 1.0):  # compiling, and the lid of a laptop closed
        now[0] += 2 * seconds
        shown.append(speed.waited(2))
    assert shown[2:] == [8.0] * 5


def test_what_never_began_stands_in_nobodys_way(tmp_path):
    mistaken = dataclasses.replace(EXPERIMENT, seed=7)
    build.open_workdir(mistaken, tmp_path)  # and then, say, its data was not there
    build.open_workdir(EXPERIMENT, tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    build.open_workdir(EXPERIMENT, tmp_path)
    with pytest.raises(JaxsegError, match="belongs to another experiment"):
        build.open_workdir(mistaken, tmp_path)


def test_another_experiment_is_refused(whole):
    workdir, _ = whole
    with pytest.raises(JaxsegError, match=r"belongs to another experiment \(seed: 0 there, 1 here\)"):
        loop.train(dataclasses.replace(EXPERIMENT, seed=1), workdir)
    wider = dataclasses.replace(EXPERIMENT, model=EXPERIMENT.model.clone(base=8))
    with pytest.raises(JaxsegError, match="model.base: 4 there, 8 here"):
        loop.train(wider, workdir)
    with pytest.raises(JaxsegError, match="holds another model: .* use the config and the classes"):
        evaluate.load_variables(wider, workdir)


def test_classes_and_scores_must_agree(tmp_path):
    wrong = dataclasses.replace(EXPERIMENT, model=EXPERIMENT.model.clone(num_classes=5))
    with pytest.raises(JaxsegError, match="5 .* 8 classes"):
        loop.train(wrong, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    batches = pipeline.train_batches(EXPERIMENT.data.train, EXPERIMENT.data.augment, batch_size=8, seed=0)
    marks = [float(next(batches)["image"].sum()) for _ in range(6)]

    def explode(outputs, batch):
        loss, terms = EXPERIMENT.task.loss(outputs, batch)
        fourth = jnp.abs(jnp.sum(batch["image"]) - marks[3]) < 0.1
        return loss, {**terms, "odd_term": jnp.where(fourth, jnp.nan, 0.0)}

    assert min(abs(marks[3] - m) for i, m in enumerate(marks) if i != 3) > 1
    exploding = dataclasses.replace(EXPERIMENT, task=EXPERIMENT.task._replace(loss=explode))
    with pytest.raises(JaxsegError, match="odd_term is nan at step 4; the last good checkpoint is kept"):
        loop.train(exploding, tmp_path)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.steps() == [2]
    checkpoints.close()


def test_a_full_disk_is_told_and_nothing_saved_before_is_lost(whole, tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    save = ocp.CheckpointManager.save

    def full(self, step, *arguments, **keywords):
        if step == 4:
            raise OSError(28, "No space left on device")
        return save(self, step, *arguments, **keywords)

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(JaxsegError, match="could not save checkpoint 4 .* No space left .* last good one is step 2"):
        loop.train(EXPERIMENT, tmp_path)
    monkeypatch.undo()
    loop.train(EXPERIMENT, tmp_path)
    assert_bit_equal(final_state(whole[0]), final_state(tmp_path))


def test_unwritable_and_senseless_work_directories(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(JaxsegError, match="is a file; name a folder"):
        loop.train(EXPERIMENT, file)
    with pytest.raises(JaxsegError, match="can't be written"):
        loop.train(EXPERIMENT, file / "below")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "experiment.json").write_text('{"seed": ')
    with pytest.raises(JaxsegError, match="experiment.json is damaged"):
        loop.train(EXPERIMENT, tmp_path / "w")
    with pytest.raises(JaxsegError, match="no checkpoints in"):
        evaluate.load_variables(EXPERIMENT, tmp_path)


def test_one_program_serves_every_batch(whole, tmp_path):
    run = build.build(EXPERIMENT)
    state = run.spread.place(run.state)
    for _ in range(2):
        state = run.spread.place(jax.device_get(state))
        scores, _ = evaluate.evaluate_state(run, state)
    assert run.eval_step._cache_size() == 1  # ten images in batches of eight: the last is filled up
    assert json.dumps({k: v for k, v in scores.items() if k == "miou"})


def test_a_metric_on_the_host_is_evaluated_in_training(tmp_path):
    result = loop.train(rows_experiment(steps=2, eval_every=1), tmp_path)
    assert [place for place, _ in result.scores["rows"]] == list(range(10))


def test_patience_ends_a_run_that_gets_no_better_and_more_of_it_goes_on(tmp_path):
    e = rows_experiment(steps=5, eval_every=1, save_every=5, patience=2)  # its score is always 0: the first is best
    said = []
    assert loop.train(e, tmp_path, say=said.append).step == 3
    assert "no better score than that of step 1 for 2 evaluations" in said
    assert loop.train(e, tmp_path, say=said.append).step == 3
    assert sum("no better score" in line for line in said) == 2
    assert loop.train(dataclasses.replace(e, patience=3), tmp_path).step == 4
    assert loop.train(dataclasses.replace(e, patience=0), tmp_path).step == 5
