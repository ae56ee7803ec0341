"""The range test: which rates it tries, when it gives up, and what it suggests."""

import dataclasses

import numpy as np
import pytest

from jaxseg import cli
from jaxseg.data import read_image
from jaxseg.train.find_rate import find_rate, smoothed, suggested
from jaxseg.types import JaxsegError
from tests.helpers import tiny_experiment


def test_rates_are_a_geometric_series_and_the_loss_falls():
    e, seen = tiny_experiment(), []
    found = find_rate(e, steps=40, lowest=1e-4, highest=0.1, watch=seen.append)
    assert seen == list(range(1, len(found.rates) + 1))
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 0.1, 40)[: len(found.rates)], rtol=1e-4)
    assert found.suggested == pytest.approx(found.rates[int(np.argmin(found.losses))] / 10)
    assert min(found.losses) < 0.9 * found.losses[0]


def test_it_ends_where_the_loss_explodes():
    e = tiny_experiment()
    e = dataclasses.replace(e, optimizer=dataclasses.replace(e.optimizer, kind="sgd"))
    found = find_rate(e, steps=40, lowest=1e-3, highest=1e6)
    assert len(found.rates) < 40
    assert np.isfinite(found.losses).all()


def test_smoothing_is_a_mean_whose_weights_sum_to_one():
    losses = np.random.default_rng(0).random(30)
    for t, value in enumerate(smoothed(losses), 1):
        weights = 0.9 ** np.arange(t)[::-1]
        assert value == pytest.approx(float(np.average(losses[:t], weights=weights)))


def test_a_tenth_of_the_best():
    rates = np.geomspace(1e-5, 1, 51)
    assert suggested(rates.tolist(), np.abs(np.log10(rates / 0.1)).tolist()) == pytest.approx(0.01)


def test_what_has_no_rate_is_refused():
    with pytest.raises(JaxsegError, match="trains nothing"):
        find_rate(tiny_experiment(steps=0))
    with pytest.raises(JaxsegError, match="0 < lowest < highest"):
        find_rate(tiny_experiment(), lowest=1.0, highest=0.1)


@pytest.mark.slow
def test_command_line(tmp_path, capsys):
    config = tmp_path / "mine.py"
    config.write_text("from tests.helpers import tiny_experiment\ndef get_config(tiny=False): return tiny_experiment()")
    assert cli.main(["train", str(config), "--workdir", str(tmp_path / "run"), "--find-rate"]) == 0
    out = capsys.readouterr().out
    assert "--optimizer.learning-rate" in out
    assert read_image(tmp_path / "run" / "learning_rate.png").std() > 1
    assert not (tmp_path / "run" / "checkpoints").exists()
