"""Fast R-CNN against torchvision's parts, its sampling against a count by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.metrics.precision import box_iou
from jaxseg.models.fast_rcnn import FastRCNN, roi_targets, true_instances
from jaxseg.nn import GIRSHICK_2015, VGG16
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.types import JaxsegError
from tests.helpers import variables_of

K, R = 3, 20
RULES = GIRSHICK_2015._replace(score_threshold=0.15, detections=12, roi_samples=16)


def model(config=RULES, **settings):
    return FastRCNN(K, VGG16(base=4, poolings=2, **settings), TwoFC(16), stride=4, config=config)


class Fed:
    """The model with its proposals given, so that :func:`variables_of` can draw for it."""

    def __init__(self, detector, given):
        self.detector, self.given = detector, given

    def init(self, key, x, train):
        return self.detector.init(key, x, None, None, self.given, train=train)


def boxes_in(rng, count, h, w):
    corner = rng.uniform(0, 0.6, (2, count, 2)) * [w, h]
    return np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (2, count, 2)) * [w, h]], -1).astype(np.float32)


@pytest.fixture(scope="module")
def setting():
    rng, h, w = np.random.default_rng(0), 50, 62
    images = rng.random((2, h, w, 3)).astype(np.float32)
    sizes = np.array([[h, w], [40, 47]], np.int32)
    truth = {"boxes": boxes_in(rng, 4, 38, 45), "classes": rng.integers(1, K + 1, (2, 4)).astype(np.int32)}
    truth["valid"] = np.array([[True] * 4, [True, True, False, False]])
    near = np.repeat(truth["boxes"], 5, 1) + rng.normal(0, 3, (2, R, 4)).astype(np.float32)
    proposals = {"boxes": np.clip(near, 0, 40).astype(np.float32), "valid": np.arange(R)[None] < [[R], [R - 6]]}
    proposals["valid"] &= (proposals["boxes"][..., 2:] - proposals["boxes"][..., :2]).min(-1) > 1
    variables = variables_of(Fed(model(), jax.tree.map(lambda x: x[:1], proposals)), images[:1])
    predictor = variables["params"]["box_predictor"]
    predictor["cls_score"]["kernel"] *= 0.3  # scores that differ, and boxes that stay near
    predictor["bbox_pred"]["kernel"] *= 0.1
    return images, sizes, truth, proposals, variables


def pooled_by_loop(features, box, bins=7, scale=0.25):
    """Girshick's roi_pooling_layer.cpp, one bin after another."""
    x1, y1, x2, y2 = (int(np.floor(v * scale + 0.5)) for v in box)
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    out = np.zeros((bins, bins, features.shape[-1]), np.float32)
    for p, q in np.ndindex(bins, bins):
        rows = slice(max(y1 + p * height // bins, 0), max(y1 - (-(p + 1) * height // bins), 0))
        columns = slice(max(x1 + q * width // bins, 0), max(x1 - (-(q + 1) * width // bins), 0))
        bin_ = features[rows, columns]
        out[p, q] = bin_.max((0, 1)) if bin_.size else 0
    return out


def heads_of_torch(torch, features, boxes, params):
    """RoIPool as Caffe's loop has it, fc6, fc7 and the predictor of one image by torch, from our arrays."""
    pooled = torch.tensor(np.stack([pooled_by_loop(np.asarray(features), box) for box in boxes])).flatten(1)

    def dense(x, layer):
        return x @ torch.tensor(np.asarray(layer["kernel"])).reshape(x.shape[1], -1) + torch.tensor(
            np.asarray(layer["bias"])
        )

    hidden = dense(torch.relu(dense(pooled, params["box_head"]["fc6"])), params["box_head"]["fc7"]).relu()
    predictor = params["box_predictor"]
    return dense(hidden, predictor["cls_score"]), dense(hidden, predictor["bbox_pred"])


def test_detections_are_torchvisions(setting):
    torch = pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    tv = import_torchvision()
    images, sizes, _, proposals, variables = setting
    found = jax.jit(partial(model().apply, train=False))(variables, images, sizes, None, proposals)
    judge = tv.models.detection.roi_heads.RoIHeads(
        None, None, None, 0.5, 0.5, 16, 0.25, (10.0, 10.0, 5.0, 5.0), RULES.score_threshold, 0.3, RULES.detections
    )
    for i in range(2):
        boxes = proposals["boxes"][i][proposals["valid"][i]]
        scores, deltas = heads_of_torch(torch, found["features"][i], boxes, variables["params"])
        deltas = torch.cat([torch.zeros(len(boxes), 4), deltas], 1)  # torchvision's background has one
        wanted = judge.postprocess_detections(scores, deltas, [torch.tensor(boxes)], [tuple(sizes[i].tolist())])
        count = int(found["valid"][i].sum())
        assert count == len(wanted[0][0]) >= 3
        for key, theirs in zip(("boxes", "scores", "classes"), wanted, strict=True):
            np.testing.assert_allclose(found[key][i, :count], theirs[0].numpy(), atol=2e-3, err_msg=key)


def test_the_loss_is_the_papers(setting):
    torch = pytest.importorskip("torch")
    from tests.torchvision_models import import_torchvision

    tv = import_torchvision()
    images, sizes, truth, proposals, variables = setting
    apply = jax.jit(partial(model().apply, train=True))
    outputs = apply(variables, images, sizes, truth, proposals, rngs={"sampling": jax.random.key(1)})
    roi = outputs["roi"]
    names = ("logits", "deltas", "classes", "targets", "valid")
    kind, box = jax.jit(partial(losses.roi_losses, beta=RULES.box_beta))(*(roi[name] for name in names))
    logits, moved, classes, targets = [], [], [], []
    for i in range(2):
        rows = np.asarray(roi["valid"][i])
        boxes = np.asarray(roi["boxes"][i])[rows]
        scores, deltas = heads_of_torch(torch, outputs["features"][i], boxes, variables["params"])
        iou = torch.tensor(box_iou(boxes, truth["boxes"][i][truth["valid"][i]]))
        best, match = iou.max(1)
        own = truth["boxes"][i][match.numpy()]
        coder = tv.models.detection._utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
        targets.append(coder.encode_single(torch.tensor(own), torch.tensor(boxes)))
        classes.append(torch.tensor(truth["classes"][i][match.numpy()]) * (best >= 0.5))
        logits.append(scores)
        moved.append(deltas.reshape(-1, K, 4))
    logits, moved, classes, targets = (torch.cat(parts) for parts in (logits, moved, classes, targets))
    assert 2 <= (classes > 0).sum() < len(classes)
    f, rows = torch.nn.functional, torch.nonzero(classes > 0)[:, 0]
    np.testing.assert_allclose(kind, f.cross_entropy(logits, classes.long()), rtol=1e-4)
    chosen = moved[rows, classes[rows].long() - 1]
    wanted = f.smooth_l1_loss(chosen, targets[rows], beta=1.0, reduction="sum") / len(classes)
    np.testing.assert_allclose(box, wanted, rtol=1e-4)


def test_which_regions_are_drawn():
    """16 an image, a quarter objects, background of IoU 0.1 to 0.5; all of these, and nothing else, in the end."""
    rng = np.random.default_rng(3)
    truth = {"boxes": np.float32([[10, 10, 30, 30], [40, 10, 60, 40]]), "classes": np.int32([2, 1])}
    truth = true_instances(jax.tree.map(jnp.asarray, {**truth, "valid": np.array([True, True])}))
    boxes = np.concatenate([boxes_in(rng, 150, 50, 70)[0], np.float32([[0, 0, 1, 1]] * 10)])
    valid = np.arange(160) != 5
    iou = box_iou(np.concatenate([boxes, truth["boxes"]]), truth["boxes"]).max(1)
    draw = jax.jit(lambda key: roi_targets(RULES, key, (jnp.asarray(boxes), jnp.asarray(valid)), truth))
    seen = set()
    for seed in range(60):
        roi = jax.device_get(draw(jax.random.key(seed)))
        assert roi["valid"].all()
        assert (roi["classes"] > 0).sum() == 4
        own = iou[roi["index"]]
        np.testing.assert_array_equal(roi["classes"] > 0, own >= 0.5)
        assert (own >= 0.1).all()
        seen |= set(roi["index"].tolist())
    allowed = set(np.flatnonzero((iou >= 0.1) & np.append(valid, [True, True])).tolist())
    assert seen == allowed
    assert 30 < len(allowed) < 140
    anywhere = jax.jit(partial(roi_targets, RULES._replace(roi_lowest=0.0)))
    far = anywhere(jax.random.key(0), (boxes, valid), truth)
    assert (iou[far["index"]] < 0.1).any()


def test_every_parameter_learns_and_an_empty_picture_costs_nothing(setting):
    images, sizes, truth, proposals, variables = setting

    def loss(params, truth, proposals):
        outputs = model().apply(
            {"params": params}, images, sizes, truth, proposals, train=True, rngs={"sampling": jax.random.key(0)}
        )
        return sum(losses.roi_losses(*(outputs["roi"][k] for k in ("logits", "deltas", "classes", "targets", "valid"))))

    step = jax.jit(jax.value_and_grad(loss))
    _, gradients = step(variables["params"], truth, proposals)
    dead = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.any(g)]
    assert dead == []
    nothing = {**truth, "valid": np.zeros_like(truth["valid"])}
    none = {**proposals, "valid": np.zeros_like(proposals["valid"])}
    value, gradients = step(variables["params"], nothing, none)
    assert value == 0
    assert not any(np.any(g) for g in jax.tree.leaves(gradients))


def test_what_is_padding_changes_nothing(setting):
    images, sizes, _, proposals, variables = setting
    detect = jax.jit(partial(model().apply, train=False))
    found = detect(variables, images, sizes, None, proposals)
    rubbish = {
        "boxes": np.where(proposals["valid"][..., None], proposals["boxes"], np.float32(7e5)),
        "valid": proposals["valid"],
    }
    noise = images.copy()
    noise[1, 40:], noise[1, :, 47:] = 9, 9
    again = detect(variables, noise, sizes, None, rubbish)
    none = detect(variables, images, sizes, None, {**proposals, "valid": np.zeros_like(proposals["valid"])})
    for key in ("boxes", "scores", "classes", "valid"):
        np.testing.assert_array_equal(found[key], again[key])
        assert not np.any(none[key])


def test_what_is_missing_is_said(setting):
    images, sizes, _, proposals, variables = setting
    with pytest.raises(JaxsegError, match=r"add data\.Propose"):
        jax.eval_shape(model().apply, variables, images, sizes)
    with pytest.raises(JaxsegError, match="trained with targets"):
        jax.eval_shape(partial(model().apply, train=True), variables, images, sizes, None, proposals)
