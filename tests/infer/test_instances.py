"""Instances in pictures of any size: back in the picture's own pixels, drawn, and as entries."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg import cli, config
from jaxseg.data import Resize, read_mesh, write_png
from jaxseg.infer import InstancePredictor
from jaxseg.metrics.rle import decode_rle
from jaxseg.train import build

BOXES = np.float32([[8, 4, 40, 28], [0, 0, 16, 16], [30, 20, 60, 62]])


class Fixed(nn.Module):
    """Always the same three detections in a network's input of 64x64: the second too weak, the third none."""

    @nn.compact
    def __call__(self, images, sizes=None, targets=None, *, train=False):
        masks = jnp.zeros((3, 8, 8)).at[:, :4].set(1.0)  # the upper half of a box
        found = {
            "boxes": jnp.asarray(BOXES),
            "scores": jnp.array([0.9, 0.3, 0.8]),
            "classes": jnp.array([2, 1, 1]),
            "valid": jnp.array([True, True, False]),
            "masks": masks,
            "keypoints": jnp.array([[8.0, 4.0, 1.0], [24.0, 16.0, 1.0]])[None].repeat(3, 0),
            "vertices": jnp.array([[8.0, 4, -2], [40, 4, 2], [8, 28, 0], [0, 0, 0]])[None].repeat(3, 0),
            "faces": jnp.array([[0, 1, 2], [0, 0, 0]])[None].repeat(3, 0),
            "face_valid": jnp.array([[True, False]]).repeat(3, 0),
        }
        return {key: value[None] for key, value in found.items()}


@pytest.fixture
def predictor():
    e = config.load_config("mask_rcnn_shapes", tiny=True)
    data = dataclasses.replace(e.data, prepare=Resize((64, 64), mode="pad"))
    return InstancePredictor(dataclasses.replace(e, model=Fixed(), data=data), {})


@pytest.mark.parametrize(("h", "w"), [(32, 32), (128, 96)])
def test_in_the_pictures_own_pixels(predictor, h, w):
    scale = max(h, w) / 64
    found = predictor(np.zeros((h, w, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, BOXES[:1] * scale)
    np.testing.assert_array_equal(found.classes, [2])
    np.testing.assert_allclose(found.scores, [0.9])
    points = np.array([[8 * scale, 4 * scale, 1], [24 * scale, 16 * scale, 1]])
    np.testing.assert_allclose(found.keypoints, points[None])
    np.testing.assert_allclose(predictor.entries(found)[0]["keypoints"], (points - [0.5, 0.5, 0]).ravel())
    (shape,) = found.shapes
    np.testing.assert_allclose(shape.vertices[:3], np.array([[8, 4, -2], [40, 4, 2], [8, 28, 0]]) * scale, atol=1e-5)
    np.testing.assert_array_equal(shape.faces, [[0, 1, 2]])
    expected = np.zeros((h, w), bool)
    x1, y1, x2, y2 = BOXES[0] * scale
    expected[int(y1) : int((y1 + y2) / 2), int(x1) : int(x2)] = True
    differ = found.masks[0] != expected
    assert differ.mean() < 0.02  # interpolated at its edge
    (entry,) = predictor.entries(found)
    assert entry["class"] == predictor.classes[1]
    np.testing.assert_allclose(entry["bbox"], [x1, y1, x2 - x1, y2 - y1])
    bitmap, (x, y) = decode_rle(entry["segmentation"])
    whole = np.zeros((h, w), bool)
    whole[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
    np.testing.assert_array_equal(whole, found.masks[0])


def test_a_picture_with_nothing_in_it(predictor):
    nothing = dataclasses.replace(predictor, min_score=0.95)
    image = np.full((40, 50, 3), 90, np.uint8)
    found = nothing(image)
    assert len(found.boxes) == len(found.masks) == 0
    assert nothing.entries(found) == []
    np.testing.assert_array_equal(nothing.draw(image, found), image)


def test_the_drawing_shows_the_mask(predictor):
    image = np.full((64, 64, 3), 90, np.uint8)
    found = predictor(image)
    changed = (predictor.draw(image, found) != image).any(-1)
    assert changed[found.masks[0]].all()
    assert not changed[50:].any()


def test_command_line(predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "noted_experiment", lambda workdir: predictor.experiment)
    monkeypatch.setattr(InstancePredictor, "load", lambda *args, **options: predictor)
    write_png(tmp_path / "a.png", np.zeros((32, 48, 3), np.uint8))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    command = [
        "predict",
        str(tmp_path / "a.png"),
        str(tmp_path / "bad.png"),
        "--workdir",
        str(tmp_path),
        "--out",
        str(out),
    ]
    assert cli.main(command) == 2
    assert "bad.png" in capsys.readouterr().err
    assert json.loads((out / "a.json").read_text())[0]["score"] == pytest.approx(0.9)
    assert (out / "a.png").exists()
    np.testing.assert_allclose(read_mesh(out / "a_0.obj").vertices.max(0), np.array([40, -4, 2]) * 48 / 64, atol=0.05)
    assert cli.main([*command, "--flip"]) == 2
    assert "leave them out" in capsys.readouterr().err
