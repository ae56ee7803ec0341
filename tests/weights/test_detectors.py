"""Names and arrays of published detectors: torchvision's old and new, detectron2's, and pickles of arrays."""

import os
import pickle
import re
from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.models import DETECTORS, load_detector
from jaxseg.models.faster_rcnn import faster_rcnn
from jaxseg.nn import ResNet
from jaxseg.types import JaxsegError
from jaxseg.weights import PUBLISHED, detectron2, read_arrays, to_torch, torchvision
from jaxseg.weights.pickles import read_pickle
from tests.helpers import but_slowly

TRANSPOSED = r"(conv5_mask|kps_score_lowres)$"


def shapes_of(name):
    """Ours, as arrays that take no memory."""
    weights = PUBLISHED[name]
    model = DETECTORS[name](weights.preset.classes)
    image = np.zeros((1, 64, 64, 3), np.float32)
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), image)
    return jax.tree.map(lambda s: np.broadcast_to(np.float32(0), s.shape), shapes)


@pytest.mark.parametrize(
    "name",
    ["maskrcnn_resnet50_fpn_coco_v1", "maskrcnn_resnet50_fpn_v2_coco_v1", "keypointrcnn_resnet50_fpn_coco_v1"],
)
def test_torchvisions_names_and_shapes(name):
    pytest.importorskip("torch")
    import torch

    from tests.torchvision_models import import_torchvision

    detection = import_torchvision().models.detection
    build = getattr(detection, name.removesuffix("_coco_v1"))
    with torch.device("meta"):
        state = build(weights=None, weights_backbone=None).state_dict()
    theirs = {name: np.broadcast_to(np.float32(0), tuple(t.shape)) for name, t in state.items() if t.ndim}
    theirs = {name: value.shape for name, value in torchvision.detector_arrays(theirs).items()}
    ours = to_torch(shapes_of(name), torchvision.RCNN_FPN, transposed=TRANSPOSED, connected=r"^box_head/fc6?$")
    connected = {"roi_heads.box_head.fc6.weight", "roi_heads.box_head.5.weight"}
    assert set(ours) == set(theirs)
    for key in set(ours) - connected:
        assert ours[key].shape == theirs[key], key
    for key in connected & set(ours):
        assert np.prod(ours[key].shape) == np.prod(theirs[key])


def test_torchvisions_first_names():
    """Those in the published files of the first version."""
    old = {
        "backbone.fpn.inner_blocks.2.weight": "backbone.fpn.inner_blocks.2.0.weight",
        "backbone.fpn.layer_blocks.0.bias": "backbone.fpn.layer_blocks.0.0.bias",
        "rpn.head.conv.weight": "rpn.head.conv.0.0.weight",
        "rpn.head.cls_logits.bias": "rpn.head.cls_logits.bias",
        "roi_heads.mask_head.mask_fcn1.weight": "roi_heads.mask_head.0.0.weight",
        "roi_heads.mask_head.mask_fcn4.bias": "roi_heads.mask_head.3.0.bias",
    }
    assert list(torchvision.detector_arrays(dict.fromkeys(old, np.ones(1)))) == list(old.values())


DETECTRON2_NAMES = {
    "fpn": {
        "backbone/resnet/conv1": "backbone.bottom_up.stem.conv1",
        "backbone/resnet/bn1": "backbone.bottom_up.stem.conv1.norm",
        "backbone/resnet/layer1_0/downsample_conv": "backbone.bottom_up.res2.0.shortcut",
        "backbone/resnet/layer1_0/downsample_bn": "backbone.bottom_up.res2.0.shortcut.norm",
        "backbone/resnet/layer4_2/bn3": "backbone.bottom_up.res5.2.conv3.norm",
        "backbone/fpn/inner0": "backbone.fpn_lateral2",
        "backbone/fpn/layer3": "backbone.fpn_output5",
        "detector/rpn/conv0": "proposal_generator.rpn_head.conv",
        "rpn/cls_logits": "proposal_generator.rpn_head.objectness_logits",
        "rpn/bbox_pred": "proposal_generator.rpn_head.anchor_deltas",
        "box_head/fc7": "roi_heads.box_head.fc2",
        "box_predictor/bbox_pred": "roi_heads.box_predictor.bbox_pred",
        "heads_keypoint/conv7": "roi_heads.keypoint_head.conv_fcn8",
        "heads_keypoint/kps_score_lowres": "roi_heads.keypoint_head.score_lowres",
        "heads_mask/conv0/conv": "roi_heads.mask_head.mask_fcn1",
        "heads_mask/conv5_mask": "roi_heads.mask_head.deconv",
        "heads_mask/mask_fcn_logits": "roi_heads.mask_head.predictor",
    },
    "panoptic": {
        "instances/detector/backbone/fpn/inner0": "backbone.fpn_lateral2",
        "instances/heads_mask/conv0/conv": "roi_heads.mask_head.mask_fcn1",
        "semantic/p2_0/conv": "sem_seg_head.p2.0",
        "semantic/p4_1/conv": "sem_seg_head.p4.2",
        "semantic/p5_2/bn/group": "sem_seg_head.p5.4.norm",
        "semantic/predictor": "sem_seg_head.predictor",
    },
    "c4": {
        "detector/backbone/resnet/bn1": "backbone.stem.conv1.norm",
        "backbone/resnet/layer3_5/conv2": "backbone.res4.5.conv2",
        "region_stage/resnet/layer4_0/downsample_conv": "roi_heads.res5.0.shortcut",
        "region_stage/resnet/layer4_0/bn1": "roi_heads.res5.0.conv1.norm",
    },
}


@pytest.mark.parametrize("kind", DETECTRON2_NAMES)
def test_detectron2s_names(kind):
    patterns = {
        "fpn": detectron2.RCNN_FPN,
        "panoptic": detectron2.PANOPTIC_FPN,
        "c4": detectron2.RCNN_ONE_LEVEL,
    }[kind]
    for ours, theirs in DETECTRON2_NAMES[kind].items():
        *folders, last = ours.split("/")
        tree = {last: {"bias": np.zeros(1)}}
        for folder in reversed(folders):
            tree = {folder: tree}
        assert list(to_torch({"params": tree}, patterns)) == [f"{theirs}.bias"]


def test_detectron2s_background_is_last_and_its_images_are_bgr():
    arrays = {
        "roi_heads.box_predictor.cls_score.bias": np.arange(4.0),
        "roi_heads.box_predictor.bbox_pred.bias": np.arange(12.0),
        "backbone.bottom_up.stem.conv1.weight": np.arange(3.0).reshape(1, 3, 1, 1),
        "pixel_mean": np.ones((3, 1, 1)),
        "proposal_generator.anchor_generator.cell_anchors.0": np.ones((3, 4)),
    }
    got = detectron2.detector_arrays(arrays)
    assert len(got) == 3
    np.testing.assert_array_equal(got["roi_heads.box_predictor.cls_score.bias"], [3, 0, 1, 2])
    np.testing.assert_array_equal(got["roi_heads.box_predictor.bbox_pred.bias"], np.arange(12))
    np.testing.assert_array_equal(got["backbone.bottom_up.stem.conv1.weight"].ravel(), [2, 1, 0])


AGAIN = [name for name in DETECTORS if re.search("r_101|_3x|legacy|faster_rcnn_r", name)]  # the networks of others


@pytest.mark.parametrize("name", but_slowly(DETECTORS, AGAIN))
def test_every_array_of_a_published_detector_has_a_name_of_its_own(name):
    variables = shapes_of(name)
    names = to_torch(variables, PUBLISHED[name].patterns, transposed=TRANSPOSED)
    assert len(names) == len(jax.tree.leaves(variables))
    # Nothing of ours is left in them.
    assert not [n for n in names if re.search(r"_bn|resnet|detector|region_stage|instances|semantic", n)]


def small_detector(num_classes, *_, **settings):
    return faster_rcnn(num_classes, partial(ResNet, (1, 1, 1, 1), base=4), **settings)


def test_from_a_file_to_a_detector(tmp_path, monkeypatch):
    """As a .pkl of detectron2's: every array arrives; of other classes the last layers are fresh."""
    name = "faster_rcnn_r_50_fpn_1x"
    monkeypatch.setitem(DETECTORS, name, partial(small_detector, config=DETECTORS[name].keywords["config"]))
    model = DETECTORS[name](80)
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(1), np.zeros((1, 64, 64, 3), np.float32))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
    theirs = to_torch(variables, detectron2.RCNN_FPN)
    fc = theirs["roi_heads.box_head.fc1.weight"]
    theirs["roi_heads.box_head.fc1.weight"] = fc.reshape(len(fc), -1)
    theirs["backbone.bottom_up.stem.conv1.weight"] = theirs["backbone.bottom_up.stem.conv1.weight"][:, ::-1]
    for leaf in ("weight", "bias"):
        key = f"roi_heads.box_predictor.cls_score.{leaf}"
        theirs[key] = np.roll(theirs[key], -1, axis=0)
    theirs |= {"pixel_mean": np.ones(3), "pixel_std": np.ones(3)}
    file = tmp_path / "model_final.pkl"
    file.write_bytes(pickle.dumps({"model": theirs, "__author__": "Detectron2 Model Zoo"}))
    loaded, got = load_detector(name, file)
    assert loaded.config.paste == "detectron2"
    jax.tree.map(np.testing.assert_array_equal, got, variables)
    _, other = load_detector(name, file, num_classes=3)
    assert other["params"]["box_predictor"]["cls_score"]["bias"].shape == (4,)
    np.testing.assert_array_equal(
        other["params"]["box_head"]["fc6"]["kernel"], variables["params"]["box_head"]["fc6"]["kernel"]
    )


def test_no_detector_of_that_name():
    with pytest.raises(JaxsegError, match="no published detector 'mask'; there are fasterrcnn"):
        load_detector("mask")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_arrays(protocol, tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.float64([1, 2]),
        "c": np.asfortranarray(np.eye(3)),
    }
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps({"model": arrays}, protocol))
    got = read_arrays(file)
    assert set(got) == set(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == value.dtype


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("content", [Harm(), {"model": {"a": Harm()}}])
def test_nothing_in_a_pickle_is_run(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bad.pkl"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(JaxsegError, match="nothing in it was run: it names posix.mkdir"):
        read_pickle(file)
    assert not (tmp_path / "harm").exists()


class Crafted:
    """Pickled as whatever is called to make it, and the state that it is then given."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


RECORDS = Crafted(np.dtype, ("V8", False, True), (3, "|", None, ("a",), {"a": (np.dtype("f8"), 1 << 40)}, 8, 1, 0))
BEYOND = Crafted(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": (np.dtype("f8"), 1 << 40)}, 8, 1, 0))
EMPTY = (np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"))


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        (RECORDS, (1,), "refused, nothing in it was run: it holds an array of 'V8'"),
        (BEYOND, (1,), "refused, nothing in it was run: it holds an array of records"),
        (np.dtype("O"), (1,), "refused, nothing in it was run: it holds an array of 'O8'"),
        (np.dtype("f8"), (1 << 20,), "damaged"),
        (3, (1,), "damaged"),
    ],
)
def test_a_crafted_pickle_reads_nothing_outside_itself(dtype, shape, said, tmp_path):
    """numpy's own arrays and dtypes would take these states, and then read wherever the file says."""
    file = tmp_path / "bad.pkl"
    file.write_bytes(pickle.dumps({"a": Crafted(*EMPTY, (1, shape, dtype, False, b"12345678"))}))
    with pytest.raises(JaxsegError, match=said):
        read_pickle(file)


def test_no_array_takes_a_second_state(tmp_path):
    """The names that are allowed give no array or dtype of numpy's own, whose __setstate__ a file could call."""
    file = tmp_path / "bad.pkl"
    file.write_bytes(b"cnumpy\nndarray\n(I0\ntR(I1\n(I1\ntcnumpy\ndtype\n(S'f8'\ntRI00\nS'12345678'\ntb.")
    with pytest.raises(JaxsegError, match="damaged"):
        read_pickle(file)


def test_a_damaged_pickle(tmp_path):
    file = tmp_path / "bad.pkl"
    file.write_bytes(pickle.dumps({"a": np.arange(100)})[:-40])
    with pytest.raises(JaxsegError, match="damaged"):
        read_pickle(file)
