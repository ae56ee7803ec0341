"""R-CNN stage by stage: warped regions, their classes, machines with mining, regressions, detections."""

import dataclasses
from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config, ops
from jaxseg.data import InMemory, Propose, RegionCrops, Resize, Shapes, eval_batches, warp_region
from jaxseg.data.proposals import edge_proposals
from jaxseg.metrics.precision import box_iou
from jaxseg.models.rcnn import RCNN, RegionNetwork, describe_all, examples, fit, machine, mine, pairs
from jaxseg.nn import GIRSHICK_2014, IMAGENET, VGG16
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.train import loop
from jaxseg.train.log import read_records
from jaxseg.types import JaxsegError
from tests.helpers import variables_of

SIDE, CONTEXT, K = 16, 2, 5
MEAN = np.float32([124, 116, 104]) / 255
PROPOSE = Propose(edge_proposals, count=24, min_side=4)
RULES = GIRSHICK_2014._replace(detections=15, score_threshold=-1e3)


def test_a_box_fills_all_but_its_context():
    """Appendix A with numbers that come out even: a box of 10 x 5 to 20 x 20 within 28 x 28, by OpenCV."""
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    out = warp_region(image, np.float32([6, 8, 16, 13]), 28, context=4)
    # 4 pixels of context are 2 pixels of the picture across and 1 down.
    wanted = cv2.resize(image[7:14, 4:18].astype(np.float32) / 255, (28, 28), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(out[4:24, 4:24], wanted[4:24, 4:24], atol=1e-5)
    assert out.shape == (28, 28, 3)
    corner = warp_region(image, np.float32([0, 0, 10, 5]), 28, context=4)
    np.testing.assert_allclose(corner[:2], np.broadcast_to(MEAN, (2, 28, 3)), atol=1e-6)
    np.testing.assert_allclose(corner[:, :3], np.broadcast_to(MEAN, (28, 3, 3)), atol=1e-6)
    assert np.abs(corner[4:24, 4:24] - MEAN).mean() > 0.1
    shrunk = warp_region(image, np.float32([0, 0, 40, 30]), 10, context=0)
    area = cv2.resize(image.astype(np.float32) / 255, (10, 10), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(shrunk, area, atol=1e-5)


@pytest.mark.parametrize("box", [[3.3, 4.1, 21.7, 9.2], [-5, -6, 70, 50], [4, 4, 4, 4], [30, 20, 39.5, 29.9]])
def test_the_host_and_the_device_see_the_same(box):
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    host = warp_region(image, np.float32(box), SIDE, context=CONTEXT)
    np.testing.assert_allclose(host, crop_on_device(image.astype(np.float32) / 255, np.float32(box)), atol=2e-5)
    with pytest.raises(JaxsegError, match="less than half"):
        ops.context_boxes(jnp.float32(box), 8, 4)


@jax.jit
def crop_on_device(image, box):
    return ops.crop_resize(image, ops.context_boxes(box, SIDE, CONTEXT), SIDE, jnp.asarray(MEAN))


def test_crops_are_of_the_class_that_they_overlap():
    source = InMemory(Shapes(length=12), PROPOSE)
    crops = RegionCrops(source, SIDE, CONTEXT)
    places, boxes, kinds = crops.regions
    objects = others = 0
    for i in range(12):
        truth, mine = source[i]["instances"], places == i
        iou = box_iou(boxes[mine], truth["boxes"])
        wanted = np.where(iou.max(1) >= 0.5, truth["classes"][iou.argmax(1)], 0)
        np.testing.assert_array_equal(kinds[mine], wanted)
        proposed = source[i]["proposals"]["boxes"]
        near = box_iou(proposed, truth["boxes"]).max(1) >= 0.5
        objects += len(truth["boxes"]) + near.sum()
        others += (~near).sum()
    assert (kinds > 0).sum() == objects > 30
    assert (kinds == 0).sum() == min(3 * objects, others)
    assert crops.classes == ("background", *Shapes().things)
    sample = crops[3]
    np.testing.assert_array_equal(sample["category"], kinds[3])
    wanted = warp_region(source[int(places[3])]["image"], boxes[3], SIDE, context=CONTEXT)
    np.testing.assert_array_equal(sample["image"], wanted)
    np.testing.assert_array_equal(RegionCrops(source, SIDE, CONTEXT).regions[1], boxes)


class WithCrowd:
    things = ("thing",)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        truth = np.float32([[0, 0, 10, 10], [20, 0, 40, 20]])
        given = np.float32([[1, 0, 10, 10], [21, 1, 39, 20], [30, 2, 34, 9], [0, 20, 9, 30], [0, 0, 1, 1]])
        instances = {"boxes": truth, "classes": np.int32([1, 1]), "crowd": np.array([False, True])}
        proposals = {"boxes": given, "valid": np.array([True, True, True, True, False])}
        return {"image": np.zeros((30, 40, 3), np.uint8), "instances": instances, "proposals": proposals}


def test_crowds_are_neither_and_what_is_not_valid_is_not_there():
    _, boxes, kinds = RegionCrops(WithCrowd()).regions
    assert {tuple(b): int(k) for b, k in zip(boxes.tolist(), kinds)} == {
        (0, 0, 10, 10): 1,
        (1, 0, 10, 10): 1,
        (0, 20, 9, 30): 0,
    }


@pytest.fixture(scope="module")
def described():
    network = RegionNetwork(K, VGG16(base=2, poolings=2), TwoFC(8))
    model = RCNN(network, SIDE, CONTEXT, RULES, at_once=10)
    source = InMemory(Shapes(length=16), PROPOSE)
    batches = list(eval_batches(source, replaced(), batch_size=8, max_instances=5))
    first = batches[0]

    class Fed:
        def init(self, key, x, train):
            one = jax.tree.map(lambda v: v[:1], first["proposals"])
            return model.init(key, x, None, None, one, train=train)

    variables = variables_of(Fed(), first["image"][:1])
    return model, variables, batches, describe_all(model, variables, batches)


def replaced():
    return dataclasses.replace(PROPOSE, after=Resize((64, 64)))


def test_features_are_those_of_the_crops_one_by_one(described):
    model, variables, batches, images = described
    assert len(images) == 16
    network = {"params": variables["params"]["network"]}
    apply = jax.jit(partial(model.network.apply, train=False))
    for place in (0, 13):
        image, row = images[place], batches[place // 8]["image"][place % 8]
        pixels = np.round(row * 255).astype(np.uint8)
        fill = tuple(255 * v for v in IMAGENET.mean)
        crops = np.stack([warp_region(pixels, box, SIDE, context=CONTEXT, fill=fill) for box in image.boxes])
        alone = apply(network, crops.astype(np.float32))
        for name in ("fc7", "pool5"):
            wanted = np.asarray(alone[name])
            np.testing.assert_allclose(getattr(image, name), wanted, atol=1e-3 * np.abs(wanted).max(), err_msg=name)
        np.testing.assert_array_equal(image.boxes[: len(image.truth)], image.truth)


def test_mining_ends_at_the_machine_of_all_negatives():
    svm = pytest.importorskip("sklearn.svm")
    rng = np.random.default_rng(0)
    positives = rng.normal(1.5, 1, (30, 6)).astype(np.float32)
    negatives = [rng.normal(-0.5, 1, (50, 6)).astype(np.float32) for _ in range(30)]
    asked = []

    def solve(a, b):
        asked.append(len(b))
        return machine(a, b, cost=0.05)

    found = mine(positives, negatives, solve, fresh=40)
    x, y = np.concatenate([positives, *negatives]), np.arange(1530) < 30
    theirs = svm.LinearSVC(
        loss="hinge", dual=True, C=0.05, class_weight={True: 2, False: 1}, intercept_scaling=10, tol=1e-6,
        max_iter=1_000_000,
    ).fit(x, y)  # fmt: skip
    np.testing.assert_allclose(found.weights, theirs.coef_[0], atol=0.02)
    np.testing.assert_allclose(found.bias, theirs.intercept_[0], atol=0.02)
    assert max(asked) < 600  # of 1500
    alone = mine(positives, negatives[:1], solve)
    assert asked[-1] == 50
    assert np.isfinite(alone.weights).all()


def test_machines_and_regressions_of_each_class_are_scikit_learns(described):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model, variables, batches, images = described
    fitted = fit(model, variables, batches, cost=1e-3, penalty=50.0)["params"]
    norms = {
        name: 20 / np.mean(np.linalg.norm(np.concatenate([getattr(i, name) for i in images]), axis=1))
        for name in ("fc7", "pool5")
    }
    checked = 0
    for kind in range(1, K + 1):
        # By a loop: every proposal of IoU 0.6 or more whose nearest object is of the class.
        x, t = [], []
        for image in images:
            for box, feature in list(zip(image.boxes, image.pool5))[len(image.truth) :]:
                iou = box_iou(box[None], image.truth)[0]
                if iou.max() >= 0.6 and image.classes[iou.argmax()] == kind:
                    (gx1, gy1, gx2, gy2), (x1, y1, x2, y2) = image.truth[iou.argmax()], box
                    w, h = x2 - x1, y2 - y1
                    centre = ((gx1 + gx2 - x1 - x2) / 2 / w, (gy1 + gy2 - y1 - y2) / 2 / h)
                    t.append([*centre, np.log((gx2 - gx1) / w), np.log((gy2 - gy1) / h)])
                    x.append(feature * norms["pool5"])
        own = slice(4 * kind - 4, 4 * kind)
        kernel = np.asarray(fitted["box"]["kernel"])[:, own] / norms["pool5"]
        if x:
            theirs = linear_model.Ridge(alpha=50.0).fit(np.array(x), np.array(t))
            np.testing.assert_allclose(kernel, theirs.coef_.T, atol=2e-4)
            np.testing.assert_allclose(fitted["box"]["bias"][own], theirs.intercept_, atol=1e-3)
            checked += 1
        else:
            assert not kernel.any()
        positives, negatives = examples(images, kind)
        assert len(positives) == sum((i.classes == kind).sum() for i in images)
        for image, rows in zip(images, negatives):
            same = image.truth[image.classes == kind]
            far = [not len(same) or box_iou(b[None], same).max() < 0.3 for b in image.boxes]
            np.testing.assert_array_equal(rows, image.fc7[far])
    assert checked >= 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted))
    x, t, m = pairs(images, 1)
    assert len(x) == len(t) == len(m)


def test_detections_are_a_greedy_loops(described):
    model, variables, batches, _ = described
    batch = batches[0]
    arguments = (batch["image"], batch["size"], None, batch["proposals"])
    params = {**variables["params"]}
    params["box"] = jax.tree.map(lambda x: x * 0.01, params["box"])
    found = jax.jit(partial(model.apply, train=False))({"params": params}, *arguments)
    describe = jax.jit(partial(model.apply, method="describe"))
    features = describe({"params": params}, *arguments[:2], batch["proposals"]["boxes"])
    for i in (0, 5):
        valid = batch["proposals"]["valid"][i]
        boxes = batch["proposals"]["boxes"][i][valid].astype(np.float64)
        f = {name: np.asarray(features[name][i], np.float64)[valid] for name in features}
        scores = f["fc7"] @ np.asarray(params["svm"]["kernel"]) + np.asarray(params["svm"]["bias"])
        d = (f["pool5"] @ np.asarray(params["box"]["kernel"]) + np.asarray(params["box"]["bias"])).reshape(-1, K, 4)
        side, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
        middle, half = centre[:, None] + d[..., :2] * side[:, None], np.exp(d[..., 2:]) * side[:, None] / 2
        moved = np.clip(np.concatenate([middle - half, middle + half], -1), 0, 64)
        wanted = []
        for kind in range(K):
            order = np.argsort(-scores[:, kind])
            while len(order):
                best = order[0]
                wanted.append((scores[best, kind], kind + 1, moved[best, kind]))
                order = order[1:][box_iou(moved[best : best + 1, kind], moved[order[1:], kind])[0] <= 0.3]
        wanted.sort(key=lambda w: -w[0])
        assert found["valid"][i].sum() == min(15, len(wanted))
        for n, (score, kind, box) in enumerate(wanted[:15]):
            np.testing.assert_allclose(found["scores"][i, n], score, rtol=1e-3, atol=1e-3)
            assert found["classes"][i, n] == kind
            np.testing.assert_allclose(found["boxes"][i, n], box, atol=0.05)


def test_what_cannot_be_is_said(described):
    model, variables, batches, _ = described
    images = batches[0]["image"]
    with pytest.raises(JaxsegError, match="trained in stages"):
        model.apply(variables, images, train=True)
    with pytest.raises(JaxsegError, match=r"add data\.Propose"):
        model.apply(variables, images)
    empty = InMemory(Shapes(length=2, count=(0, 0)), PROPOSE)
    with pytest.raises(JaxsegError, match="needs objects"):
        len(RegionCrops(empty))


@pytest.mark.slow
def test_both_stages_of_the_config(tmp_path):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        first, second = tmp_path / "1", tmp_path / "2"
        from jaxseg import cli

        command = ["train", "rcnn_shapes", "--tiny", "--devices", "1", "--workdir"]
        assert cli.main([*command, str(first)]) == 0
        assert cli.main([*command, str(second), "--stage", "2", "--begin", str(first)]) == 0
        from jaxseg.train.evaluate import load_run

        _, learnt, _ = load_run(first)
        last = read_records(first / "metrics.jsonl")[-1]
        assert last["step"] == 2
        assert 0 <= last["val/accuracy"] <= 1
        experiment, fitted, step = load_run(second)
        assert step == 0
        jax.tree.map(np.testing.assert_array_equal, fitted["params"]["network"], learnt["params"])
        assert np.any(fitted["params"]["svm"]["kernel"])
        again = loop.train(dataclasses.replace(experiment, pretrained=None), second)  # nothing is left to do
    assert again.step == 0
    assert 0 <= again.scores["box_ap"] <= 1
    assert config.settings(experiment)["steps"] == 0
