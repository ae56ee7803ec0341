"""Configs: every shipped one is built and trains two tiny steps; overrides are typed; what is wrong is told."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxseg import cli, config
from jaxseg.train import build, loop
from jaxseg.train.evaluate import load_run
from jaxseg.types import JaxsegError
from tests.helpers import but_slowly, tiny_experiment

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(p.stem for p in (ROOT / "configs").glob("*.py"))
NOTEBOOKS = "".join(p.read_text() for p in (ROOT / "colab").glob("*.ipynb"))


@pytest.fixture(autouse=True, scope="module")
def no_program_is_kept():
    """No two configs make the same program, and to write large ones down takes a seventh of the time."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", before)
    compilation_cache.reset_cache()


# Trained there as they are here: by the demo of test_cli.py, by test_rcnn.py, and by notebooks in test_notebooks.py.
ELSEWHERE = ("unet_shapes", "rcnn_shapes", *(n for n in CONFIGS if f'load_config(\\"{n}\\", ' in NOTEBOOKS))
SLOW = """
    all_heads_shapes cam_shapes contextual_camvid cornernet_nuclei cornernet_shapes crf_as_rnn_camvid
    deconvnet_camvid deeplab_v1_camvid deeplab_v2_camvid deeplab_v3_camvid deeplab_v3_plus_camvid
    densecap_visual_genome detector_coco fast_rcnn_shapes faster_rcnn_shapes fcn8s_camvid fcn_resnet_camvid
    frrn_camvid full_resolution_shapes fusionnet_camvid localizer_shapes mask_rcnn_nuclei mask_rcnn_shapes
    panoptic_fpn_nuclei pspnet_camvid sliding_window_camvid unet_camvid unet_resnet_camvid
""".split()  # noqa: SIM905
"""What they are made of has quicker tests of its own."""


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_built(name):
    """Its data has what its model, task and optimizer ask for; shapes without numbers."""
    experiment = dataclasses.replace(config.load_config(name, tiny=True), devices=1)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = jax.eval_shape(lambda: build.build(experiment).state)
    assert jax.tree.leaves(state.params)


@pytest.mark.parametrize("name", but_slowly((name for name in CONFIGS if name not in ELSEWHERE), SLOW))
def test_every_config_trains_when_tiny(name, tmp_path):
    experiment = config.load_config(name, tiny=True)
    once = max(experiment.steps, 1)
    experiment = dataclasses.replace(experiment, devices=1, eval_every=once, save_every=once)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        result = loop.train(experiment, tmp_path)
    assert result.step == experiment.steps == 2
    assert 0 <= result.scores[experiment.task.main_metric] <= 1


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_tells_its_story(name):
    get_config = config.load_get_config(name)
    story = __import__("sys").modules.get(get_config.__module__, None) or get_config.__globals__
    text = story["__doc__"] if isinstance(story, dict) else story.__doc__
    assert f"jaxseg train {name}" in text


@pytest.mark.slow
def test_a_finer_fcn_begins_with_what_the_coarser_one_learnt(tmp_path):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        command = ["train", "fcn8s_camvid", "--tiny", "--devices", "1", "--workdir", str(tmp_path), "--stride", "32"]
        assert cli.main([*command, "--steps", "1"]) == 0
        _, learnt, _ = load_run(tmp_path)
        finer = config.load_config("fcn8s_camvid", ["--stride", "16", "--coarser", str(tmp_path)], tiny=True)
        begun = build.build(dataclasses.replace(finer, devices=1)).state.variables
    assert finer.model.stride == 16
    names = set(begun["params"]) - set(learnt["params"])
    assert names == {"score_pool4", "upscore_pool4"}
    for name, part in learnt["params"].items():
        jax.tree.map(np.testing.assert_array_equal, begun["params"][name], part)


def test_overrides_are_typed():
    arguments = "--steps 7 --model.base 16 --model.dtype bfloat16 --optimizer.clip-norm 0.5 --data.augment.no-flip"
    e = config.override(tiny_experiment(), arguments.split())
    assert (e.steps, e.model.base, e.optimizer.clip_norm, e.data.augment.flip) == (7, 16, 0.5, False)
    assert e.model.dtype == jnp.bfloat16
    assert e.model.norm == "batch"
    e = config.override(tiny_experiment(), ["--optimizer.rates", "^down", "0.1", "score", "2"])
    assert e.optimizer.rates == (("^down", 0.1), ("score", 2.0))


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--optimizer.learning-rat", "1"], "--optimizer.learning-rate"),
        (["--model.bas", "8"], "--model.base"),
        (["--steps", "many"], "INT"),
        (["--model.norm", "layer"], "batch"),
    ],
)
def test_misspelt_overrides_are_refused_with_a_suggestion(arguments, hint, capsys):
    with pytest.raises(SystemExit) as error:
        config.override(tiny_experiment(), arguments)
    assert error.value.code == 2
    assert hint in capsys.readouterr().err


def test_arguments_of_a_config(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from tests.helpers import tiny_experiment\n"
        "def get_config(tiny: bool = False, steps: int = 3, fast: bool = False):\n"
        "    return tiny_experiment(steps=steps * (2 if fast else 1))\n"
    )
    assert config.load_config(path).steps == 3
    e = config.load_config(path, ["--steps", "5", "--fast", "--batch-size", "4"])
    assert (e.steps, e.batch_size) == (10, 4)


def test_configs_that_are_missing_or_wrong(tmp_path):
    with pytest.raises(JaxsegError, match="no config unet_shape; did you mean unet_shapes?"):
        config.load_config("unet_shape")
    path = tmp_path / "bad.py"
    for text, message in (
        ("x = 1", "has no get_config"),
        ("def get_config(): pass", "must take tiny"),
        ("import nothing_like_this", "can't be read: ModuleNotFoundError"),
        ("def get_config(", "can't be read: SyntaxError"),
    ):
        path.write_text(text)
        with pytest.raises(JaxsegError, match=message):
            config.load_config(path)


def test_settings_tell_experiments_apart():
    import json

    e = tiny_experiment()
    theirs = json.loads(json.dumps(config.settings(e)))
    assert config.differences(e, theirs) == []
    assert config.differences(dataclasses.replace(e, log_every=1), theirs) == []  # changes no parameter
    changed = dataclasses.replace(
        e, data=dataclasses.replace(e.data, augment=dataclasses.replace(e.data.augment, flip=False))
    )
    assert config.differences(changed, theirs) == ["data.augment.flip: True there, False here"]
