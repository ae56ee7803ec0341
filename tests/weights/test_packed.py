"""Files of weights of our own: what goes in comes out, and what does not fit is told."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxseg.types import JaxsegError
from jaxseg.weights import load, packed

RNG = np.random.default_rng(0)
VARIABLES = {
    "params": {
        "backbone": {"conv": {"kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)}},
        "score": {"bias": np.array([1e6, 1.0], np.float32)},
    },
    "batch_stats": {"backbone": {"bn": {"var": np.array([1e-7, 3.0], np.float32)}}},
}
SHAPES = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), VARIABLES)
WHAT = packed.About("unet_shapes", ("--model.base", "8"), step=7, scores={"miou": 0.5}, card={"title": "A small one"})


@pytest.fixture
def file(tmp_path):
    return packed.write_packed(tmp_path / "new" / "weights.safetensors", VARIABLES, WHAT)


def test_what_goes_in_comes_out(file):
    assert packed.is_packed(file)
    assert packed.about(file) == WHAT
    back = load(file, SHAPES)
    kernel = VARIABLES["params"]["backbone"]["conv"]["kernel"]
    np.testing.assert_array_equal(back["params"]["backbone"]["conv"]["kernel"], kernel.astype(np.float16))
    assert back["params"]["backbone"]["conv"]["kernel"].dtype == np.float32
    # What float16 does not hold, and statistics, of which the smallest count, are as they were.
    np.testing.assert_array_equal(back["params"]["score"]["bias"], VARIABLES["params"]["score"]["bias"])
    np.testing.assert_array_equal(
        back["batch_stats"]["backbone"]["bn"]["var"], VARIABLES["batch_stats"]["backbone"]["bn"]["var"]
    )
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_part_or_all_but_the_fresh(file):
    ours = jax.tree.map(np.zeros_like, VARIABLES)
    part = load(file, ours, part="backbone")
    assert part["params"]["backbone"]["conv"]["kernel"].any()
    assert part["batch_stats"]["backbone"]["bn"]["var"].any()
    assert not part["params"]["score"]["bias"].any()
    ours["params"]["score"]["bias"] = np.zeros(5, np.float32)
    with pytest.raises(JaxsegError, match=r"1 misshapen \(params/score/bias \[2\], not \[5\]\)"):
        load(file, ours)
    for rest in (load(file, ours, fresh="score"), load(file, ours, exempt=("score",))):
        assert rest["params"]["score"]["bias"].shape == (5,)
        assert rest["params"]["backbone"]["conv"]["kernel"].any()


def test_what_does_not_fit_is_listed(file):
    other = {"params": {"backbone": {"conv": {"bias": np.zeros(4, np.float32)}}}}
    with pytest.raises(JaxsegError, match=r"1 missing \(params/backbone/conv/bias\); 3 unexpected \("):
        load(file, other)


def test_files_that_are_not_ours(tmp_path):
    bare = tmp_path / "bare.safetensors"
    save_file({"a": np.zeros(3)}, bare)
    assert not packed.is_packed(bare)
    with pytest.raises(JaxsegError, match=r"bare.safetensors tells nothing of a network of jaxseg; .* weights import"):
        packed.about(bare)
    save_file({"a": np.zeros(3)}, bare, {"jaxseg": json.dumps({"config": "x", "colour": "blue"})})
    with pytest.raises(JaxsegError, match="not understood .*a newer jaxseg"):
        packed.about(bare)
    for odd in ({"config": ["x"]}, {"scores": {"miou": "high"}}, {"card": ["x"]}, {"arguments": [3]}, {"step": None},
                {"arguments": ["--help"]}, {"card": {"title": 3}}):  # fmt: skip
        save_file({"a": np.zeros(3)}, bare, {"jaxseg": json.dumps({"config": "unet_shapes", **odd})})
        with pytest.raises(JaxsegError, match="is not understood"):
            packed.about(bare)
    save_file({"a": np.zeros(3)}, bare, {"jaxseg": json.dumps({"config": "unet_shapes"})})
    with pytest.raises(JaxsegError, match=r"does not fit the model: .* 1 unexpected \(a\)"):
        packed.from_packed(bare, SHAPES)
    bare.write_bytes(b"nonsense")
    with pytest.raises(JaxsegError, match="no readable .safetensors"):
        packed.about(bare)


def test_names_of_weights():
    assert set(packed.shipped()) == {"nuclei", "shapes"}
    assert packed.packed_file("nuclei") == packed.shipped()["nuclei"]
    with pytest.raises(JaxsegError, match="no weights nucleus; did you mean nuclei"):
        packed.packed_file("nucleus")
    with pytest.raises(JaxsegError, match="jaxseg weights import resnet50_imagenet1k_v2 CONFIG"):
        packed.packed_file("resnet50_imagenet1k_v2")
