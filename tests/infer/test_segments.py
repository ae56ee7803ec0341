"""Segments of pictures of any size: back in the picture's own pixels, drawn, and as COCO's entries."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg import cli, config
from jaxseg.data import Resize, read_image, write_png
from jaxseg.data.panoptic import ids_of_colours
from jaxseg.infer import SegmentPredictor
from jaxseg.train import build


class Fixed(nn.Module):
    """Always a star in the upper left of 64x64, twice, the second hidden by the first, and water below."""

    @nn.compact
    def __call__(self, images, sizes=None, targets=None, *, train=False):
        rows = jnp.arange(64)[:, None] + jnp.zeros((1, 64), int)
        found = {
            "boxes": jnp.array([[0.0, 0, 32, 32], [0, 0, 32, 16]]),
            "scores": jnp.array([0.9, 0.8]),
            "classes": jnp.array([4, 1]),
            "valid": jnp.array([True, True]),
            "masks": jnp.ones((2, 8, 8)),
            "semantic": jnp.where((rows >= 32)[..., None], jnp.array([0.0, 0, 1, 0]), jnp.array([1.0, 0, 0, 0])),
        }
        return {key: value[None] for key, value in found.items()}


@pytest.fixture
def predictor():
    e = config.load_config("panoptic_fpn_shapes", tiny=True)
    data = dataclasses.replace(e.data, prepare=Resize((64, 64), mode="pad"))
    return SegmentPredictor(dataclasses.replace(e, model=Fixed(), data=data), {})


@pytest.mark.parametrize(("h", "w"), [(32, 32), (128, 96)])
def test_in_the_pictures_own_pixels(predictor, h, w):
    image = np.zeros((h, w, 3), np.uint8)
    found = predictor(image)
    half = max(h, w) // 2
    expected = np.zeros((h, w), np.int32)
    expected[:half, :half], expected[half:] = 1, 4  # the star; after both things grass, and then water
    assert (found.panoptic.ids != expected).mean() < 0.03  # torchvision's masks reach a pixel beyond their boxes
    star, water = predictor.entries(found)
    assert (star["class"], star["area"]) == ("star", (found.panoptic.ids == 1).sum())
    assert star["score"] == pytest.approx(0.9)
    assert (water["class"], water["score"], water["iscrowd"]) == ("water", 1.0, 0)
    assert predictor.draw(image, found).shape == image.shape
    assert predictor.draw(image, found, 2 * w).shape == (2 * h, 2 * w, 3)


def test_on_the_command_line(predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "noted_experiment", lambda workdir: predictor.experiment)
    monkeypatch.setattr(SegmentPredictor, "load", lambda *args, **options: predictor)
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8))
    command = ["predict", str(tmp_path / "a.png"), "--workdir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    entries = json.loads((tmp_path / "out" / "a.json").read_text())
    ids = ids_of_colours(read_image(tmp_path / "out" / "a_segments.png"))
    assert ids.shape == (48, 80)
    assert {e["id"]: e["area"] for e in entries} == {i: int((ids == i).sum()) for i in np.unique(ids).tolist() if i}
    assert read_image(tmp_path / "out" / "a.png").shape == (288, 480, 3)  # small pictures are drawn larger
    assert cli.main([*command, "--flip"]) == 2
    assert "are of label maps" in capsys.readouterr().err
