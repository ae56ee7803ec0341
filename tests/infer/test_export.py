"""Exported models: they run where there is no jaxseg, say what the model says, for all that they were written for."""

import json
import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg import config
from jaxseg.infer import card, compare, export_model, onnx
from jaxseg.infer import export as exporting
from jaxseg.models import UNet
from jaxseg.tasks import semantic
from jaxseg.train.build import state_like
from jaxseg.types import JaxsegError
from tests.helpers import but_slowly, slowly, variables_of
from tests.models.test_contract import MODELS

CLASSES = ("ground", "disk", "star")
ALIKE = {"unet", "unet_remat", "fcn32s", "fcn16s", "deeplab_v1", "deeplab_v2_resnet"}  # others are of the same parts
SLOW = ("crf_as_rnn", "full_resolution", "unet_batch", "unet_group", "fcn_resnet", "unet_resnet", "contextual")
OF_FIXED_SIZE = {"crf_as_rnn", "unet_mirror", "deconvnet"}

ELSEWHERE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jaxseg", "flax"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Absent())
import json, os, numpy
os.chdir(sys.argv[1])
card = json.load(open("unet.json"))
given, found_of = numpy.load("given.npz"), {}
for key in given:
    image = given[key]
    exec("\\n".join(card["run"]))
    found_of |= {key + name: numpy.asarray(value) for name, value in found.items()}
assert not {"jaxseg", "flax"} & set(sys.modules)
numpy.savez("found.npz", **found_of)
"""


@pytest.fixture(scope="module")
def unet():
    model = UNet(3, base=4, depth=2, norm="batch")
    return model, variables_of(model, jnp.zeros((1, 32, 32, 3)))


def test_a_file_runs_where_there_is_no_jaxseg(unet, tmp_path):
    model, variables = unet
    made = export_model(tmp_path / "unet.jax", model, variables, task=semantic(CLASSES))
    rng = np.random.default_rng(0)
    given = {"one": rng.random((1, 33, 70, 3), np.float32), "three": rng.random((3, 48, 40, 3), np.float32)}
    np.savez(tmp_path / "given.npz", **given)
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path)], check=True, timeout=120)
    found = np.load(tmp_path / "found.npz")
    for key, image in given.items():
        logits = model.apply(variables, image, train=False)["logits"]
        np.testing.assert_allclose(found[key + "probabilities"], jax.nn.softmax(logits), atol=1e-5)
        np.testing.assert_array_equal(found[key + "label"], logits.argmax(-1))
    assert made == json.loads((tmp_path / "unet.json").read_text())
    assert made["inputs"]["image"]["shape"] == ["b", "h", "w", 3]
    assert set(made["outputs"]) == {"label", "probabilities"}
    assert made["compared_with_the_model"]["label"]["equal"] == 1
    assert made["normalization_inside"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert made["parameters"] == sum(x.size for x in jax.tree.leaves(variables["params"]))


def test_it_is_for_all_platforms_and_calls_no_python(unet, tmp_path):
    export_model(tmp_path / "unet.jax", *unet, size=(32, 32))
    written = export.deserialize(bytearray((tmp_path / "unet.jax").read_bytes()))
    assert set(written.platforms) == {"cpu", "cuda", "tpu"}
    called = re.findall(r"custom_call @(\w+)", written.mlir_module())
    assert set(called) <= {"shape_assertion"}  # jax.export's own: is it called with a size that it is for


def test_bytes_go_in_as_well(unet, tmp_path):
    model, variables = unet
    made = export_model(tmp_path / "bytes.jax", model, variables, size=(32, 48), batch=2, uint8=True)
    run = export.deserialize(bytearray((tmp_path / "bytes.jax").read_bytes())).call
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    logits = model.apply(variables, jnp.asarray(image, jnp.float32) / 255, train=False)["logits"]
    np.testing.assert_allclose(run(image)["probabilities"], jax.nn.softmax(logits), atol=1e-5)
    assert made["inputs"]["image"] == {
        "shape": [2, 32, 48, 3], "dtype": "uint8", "what": card.INPUTS["image"].format(range="0 to 255")
    }  # fmt: skip


@pytest.mark.parametrize("name", but_slowly((name for name in MODELS if name not in ALIKE), SLOW))
def test_which_models_are_of_any_number_and_size(name):
    model = MODELS[name]()
    variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variables)
    program = exporting.make_program(model)
    traced = lambda *sizes: jax.jit(partial(program.call, variables)).trace(*program.shapes(sizes).values())
    sizes = ("b", 64, 64) if name in OF_FIXED_SIZE else ("b", "h", "w")
    found = traced(*sizes)
    assert tuple(map(str, found.out_info["label"].shape)) == tuple(map(str, sizes))
    assert not found.jaxpr.effects  # no call to Python


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("cornernet_shapes", {"boxes": ["b", 20, 4]}),
        *slowly(("mask_rcnn_shapes", {"masks": ["b", 10, 28, 28]})),
    ],
)
def test_a_detector_with_the_true_sizes_of_padded_pictures(name, shapes, tmp_path):
    e, variables = detector(name)
    options = {"task": e.task, "usual_size": (64, 64), "platforms": ("cpu",)}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        made = export_model(tmp_path / "m.jax", e.model, variables, **options)
    assert made["inputs"]["size"]["shape"] == ["b", 2]
    assert shapes.items() <= {key: x["shape"] for key, x in made["outputs"].items()}.items()
    assert list(made["not_for"]) == ["any number of pictures of any size from 32x32 on"]
    assert min(compared["equal"] for compared in made["compared_with_the_model"].values()) > 0.99


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # a part of jax2onnx that warns while it is imported would be left out
def test_mask_rcnn_as_onnx(tmp_path):
    pytest.importorskip("jax2onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession
    e, variables = detector("mask_rcnn_shapes")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        export_model(tmp_path / "m.onnx", e.model, variables, task=e.task, format="onnx", size=(64, 64), batch=1)
        given = {"image": np.random.default_rng(0).random((1, 64, 64, 3), np.float32), "size": np.array([[64, 48]])}
        program = exporting.make_program(e.model, e.task)
        wanted = jax.jit(program.call)(variables, given["image"], given["size"])
    run = session(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    found = run.run(["boxes", "masks"], {"image": given["image"], "size": given["size"].astype(np.int32)})
    for key, value in zip(("boxes", "masks"), found):
        np.testing.assert_allclose(value, wanted[key], atol=2e-3)


def detector(name):
    e, rng = config.load_config(name, tiny=True), np.random.default_rng(0)
    return e, jax.tree.map(lambda x: jnp.asarray(rng.normal(0.02, 0.1, x.shape), x.dtype), state_like(e).variables)


def test_what_disagrees_is_refused_and_what_was_there_stays(unet, tmp_path, monkeypatch):
    model, variables = unet
    file = tmp_path / "unet.jax"
    export_model(file, model, variables, size=(32, 32))
    before, program = file.read_bytes(), exporting.make_program(model)
    other = jax.tree.map(lambda x: x[..., ::-1], variables)
    given = compare.examples(program.shapes((1, 32, 32)))
    with pytest.raises(JaxsegError, match="disagrees with the model: of .* only .* % of the values are equal"):
        compare.compare(file, "jax", program.call, other, given)
    monkeypatch.setattr(exporting, "compare", refuse)
    with pytest.raises(JaxsegError, match="disagrees"):
        export_model(file, model, other, size=(32, 32))
    assert file.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["unet.jax", "unet.json"]


def refuse(*arguments):
    raise JaxsegError("disagrees")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"platforms": ("gpu",)}, "platforms are gpu; they can be cpu, cuda, rocm and tpu"),
        ({"size": (32,)}, "give .height, width. in pixels"),
        ({"format": "tflite"}, "it can be jax or onnx"),
        ({"format": "onnx"}, "an ONNX file is of a fixed size"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_what_can_be_mended(options, message, unet, tmp_path):
    with pytest.raises(JaxsegError, match=message):
        export_model(tmp_path / "x", *unet, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["unet_batch", *slowly("deeplab_v1")])
def test_onnx_says_what_the_model_says(name, tmp_path):
    pytest.importorskip("jax2onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession
    model = MODELS[name]()
    variables = variables_of(model, jnp.zeros((1, 32, 32, 3)))
    export_model(tmp_path / "m.onnx", model, variables, format="onnx", size=(64, 48))
    run = session(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        image = np.random.default_rng(count).random((count, 64, 48, 3), np.float32)
        label, probabilities = run.run(["label", "probabilities"], {"image": image})
        wanted = jax.nn.softmax(jax.jit(partial(model.apply, train=False))(variables, image)["logits"])
        np.testing.assert_allclose(probabilities, wanted, atol=1e-4)
        assert (label == wanted.argmax(-1)).mean() > 0.999


PLACES = jnp.array([[0, 7, -2], [3, 4, 1]])
INDEXING = {
    "rows": lambda x: jnp.take(x, PLACES, axis=1),
    "filled": lambda x: jnp.take(x, PLACES, axis=2, mode="fill"),
    "held": lambda x: x.at[:, PLACES].get(mode="clip"),
    "along": lambda x: jnp.take_along_axis(x, jnp.array([1, 0])[:, None, None, None].repeat(3, 3), axis=1),
    "each its own": lambda x: jax.vmap(lambda a, i: a[i])(x, PLACES),
    "points": lambda x: jax.vmap(lambda a, i: a[i, i])(x, PLACES),
    "set": lambda x: x.at[:, PLACES[0]].set(1.5),
    "set points": lambda x: jax.vmap(lambda a, i: a.at[i, i].set(7.0, mode="drop"))(x, PLACES),
    "set one": lambda x: x.at[1, 2, 3].set(9.0),
    "add": lambda x: x.at[0, jnp.array([1, 1, 9])].add(2.0),
    "largest": lambda x: x.at[:, PLACES[1]].max(20.0),
    "windows": lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 3, 1), (1, 2, 1, 1), "SAME"),
    "stacked": lambda x: jnp.stack([x, 2 * x], 2),
}


@pytest.mark.parametrize("name", INDEXING)
def test_what_stands_for_operations_that_onnx_lacks(name):
    x = jnp.arange(2 * 5 * 6 * 3, dtype=jnp.float32).reshape(2, 5, 6, 3)
    closed = jax.jit(INDEXING[name]).trace(x).jaxpr
    rewritten = jax.make_jaxpr(lambda x: onnx.evaluate(closed, [x])[0])(x)
    assert str(rewritten) != str(closed)
    both = jax.jit(lambda x: (onnx.evaluate(closed, [x])[0], INDEXING[name](x)))
    np.testing.assert_array_equal(*both(x))
