"""Refinement by a CRF: predictor, evaluation, search, and the command line."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg import cli
from jaxseg.data import Resize, read_image
from jaxseg.infer import CRF, Predictor, Refined, crf_search
from jaxseg.infer.refine import refined_eval_step
from jaxseg.ops import Bilateral, Gaussian, dense_crf
from jaxseg.train.evaluate import evaluate
from jaxseg.types import JaxsegError
from tests.helpers import tiny_experiment, variables_for
from tests.infer.test_predictor import Brightness

SHARP = CRF(sxy=20.0, srgb=20.0, weight=8.0, iterations=5)


def bright_predictor():
    e = tiny_experiment()
    data = dataclasses.replace(e.data, prepare=Resize((48, 64)))
    return Predictor(dataclasses.replace(e, model=Brightness(), data=data), {})


def noisy_halves(h=48, w=64):
    """The left half dark and the right one bright, with noise that the network mistakes for the other."""
    rng = np.random.default_rng(0)
    image = np.where(np.arange(w) < w // 2, 110, 145)[None, :, None] + rng.normal(0, 30, (h, w, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def test_refined_is_the_crf_after_the_predictor():
    predictor, image = bright_predictor(), noisy_halves()
    probabilities = predictor.probabilities(image)
    refined = Refined(predictor, SHARP)
    expected = dense_crf(
        -jnp.log(jnp.clip(probabilities, 1e-5, 1.0)),
        jnp.asarray(image),
        iterations=5,
        gaussian=Gaussian(3.0, 3.0),
        bilateral=Bilateral(20.0, 20.0, 8.0),
    )
    done = []
    label = refined(image, done.append)
    np.testing.assert_array_equal(label, np.asarray(expected.q).argmax(-1))
    assert done == [48]
    truth = np.broadcast_to(np.arange(64) >= 32, label.shape)
    assert np.mean(predictor(image) == truth) < 0.95 < np.mean(label == truth)
    assert refined.classes == predictor.classes
    np.testing.assert_array_equal(refined.palette, predictor.palette)


def test_evaluation_refines_each_image():
    e = tiny_experiment()
    e = dataclasses.replace(e, eval_batch_size=4)
    variables = variables_for(e)
    plain, _ = evaluate(e, variables)
    nothing = CRF(weight=0.0, smooth_weight=0.0)
    same, _ = evaluate(e, variables, eval_step=refined_eval_step(e, nothing))
    assert same["miou"] == pytest.approx(plain["miou"], abs=1e-6)
    refined, sheet = evaluate(e, variables, eval_step=refined_eval_step(e, CRF()))
    assert refined["miou"] != plain["miou"]
    assert sheet.ndim == 3


@pytest.mark.slow
def test_command_line(trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    assert cli.main(["eval", "--workdir", str(run)]) == 0
    plain = json.loads((run / "eval.json").read_text())
    grid = ["--sxy", "10", "--srgb", "13", "--weight", "2", "5", "--images", "3"]
    assert crf_search.main(["--workdir", str(run), *grid]) == 0
    found = CRF.read(run / "crf.json")
    assert (found.sxy, found.srgb, found.iterations) == (10, 13, 10)
    assert found.weight in (2, 5)
    assert "no CRF" in capsys.readouterr().out
    assert cli.main(["eval", "--workdir", str(run), "--crf"]) == 0
    assert str(found) in capsys.readouterr().err
    assert json.loads((run / "eval.json").read_text()) != plain
    picture = tmp_path / "noisy.png"
    Image.fromarray(noisy_halves(40, 50)).save(picture)
    other = tmp_path / "mine.json"
    SHARP.write(other)
    out = ["--workdir", str(run), "--out", str(tmp_path / "out")]
    assert cli.main(["predict", str(picture), *out, "--crf", str(other)]) == 0
    assert str(SHARP) in capsys.readouterr().err
    expected = Refined(Predictor.load(run), SHARP)(read_image(picture))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "noisy_label.png")), expected)


@pytest.mark.slow
def test_search_scores_are_those_of_the_evaluation():
    e = tiny_experiment()
    variables = variables_for(e)
    scores = crf_search.search(e, variables, sxy=(10.0,), srgb=(13.0, 30.0), weight=(2.0, 6.0), images=100)
    assert len(scores) == 5
    assert scores[None] == pytest.approx(evaluate(e, variables)[0]["miou"], abs=1e-6)
    for crf in (CRF(10.0, 13.0, 6.0), CRF(10.0, 30.0, 2.0)):
        expected, _ = evaluate(e, variables, eval_step=refined_eval_step(e, crf))
        assert scores[crf] == pytest.approx(expected["miou"], abs=1e-3)


@pytest.mark.parametrize("text", ["{", '{"sigma": 3}', "[]"])
def test_settings_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "crf.json").write_text(text)
    with pytest.raises(JaxsegError, match="expected JSON with sxy"):
        CRF.read(tmp_path / "crf.json")
