"""Mask and Keypoint R-CNN stage by stage against torchvision's: proposals, regions, detections, pasted masks,
keypoints, the six losses. Version 1 has both heads."""

from functools import cache, partial

import jax
import numpy as np
import pytest

from jaxseg import losses, ops
from jaxseg.models import KeypointHead, mask_rcnn
from jaxseg.nn import ResNet
from jaxseg.weights import torchvision as names
from jaxseg.weights.match import to_jaxseg

torch = pytest.importorskip("torch")
from tests.helpers import slowly  # noqa: E402
from tests.torchvision_models import arrays_of, import_torchvision, nchw, nhwc, randomized  # noqa: E402

K, POINTS = 4, 5
CASES = [(1, (96, 128)), (2, (160, 96))]
"""torchvision's version, and the height and width of the padded images."""
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
TINY = partial(ResNet, (1, 1, 1, 1))
RULES = {"box_score_thresh": 0.2, "rpn_pre_nms_top_n_test": 300, "rpn_post_nms_top_n_test": 80}
OURS = mask_rcnn.TORCHVISION._replace(
    score_threshold=0.2, pre_nms=(300, 300), post_nms=(150, 80), rpn_samples=64, roi_samples=32, detections=20
)


def their_model(version):
    """torchvision's on a ResNet of one block a stage, its last layers' weights large enough for scores to differ."""
    tv = import_torchvision()
    detection = tv.models.detection
    backbone = tv.models.resnet.ResNet(tv.models.resnet.Bottleneck, [1, 1, 1, 1])
    norm = torch.nn.BatchNorm2d if version == 2 else None
    fpn = detection.backbone_utils._resnet_fpn_extractor(backbone, 5, norm_layer=norm)
    heads = {}
    if version == 2:
        anchors = detection.faster_rcnn._default_anchorgen()
        heads = {
            "rpn_anchor_generator": anchors,
            "rpn_head": detection.rpn.RPNHead(256, anchors.num_anchors_per_location()[0], conv_depth=2),
            "box_head": detection.faster_rcnn.FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=norm),
            "mask_head": detection.mask_rcnn.MaskRCNNHeads(256, [256] * 4, 1, norm_layer=norm),
        }
    torch.manual_seed(0)
    model = detection.MaskRCNN(
        fpn,
        K + 1,
        rpn_pre_nms_top_n_train=300,
        rpn_post_nms_top_n_train=150,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_detections_per_img=20,
        **RULES,
        **heads,
    )
    if version == 1:
        model.roi_heads.keypoint_roi_pool = model.roi_heads.mask_roi_pool
        model.roi_heads.keypoint_head = detection.keypoint_rcnn.KeypointRCNNHeads(256, [32] * 8)
        model.roi_heads.keypoint_predictor = detection.keypoint_rcnn.KeypointRCNNPredictor(32, POINTS)
    generator = torch.Generator().manual_seed(1)
    for layer, scale in (
        (model.rpn.head.cls_logits, 0.05),
        (model.rpn.head.bbox_pred, 0.02),
        (model.roi_heads.box_predictor.cls_score, 0.3),
        (model.roi_heads.box_predictor.bbox_pred, 0.1),
        (model.roi_heads.mask_predictor.mask_fcn_logits, 0.3),
    ):
        layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * scale
    return randomized(model)


@cache
def pair(version):
    """``(torchvision's model, ours, variables)`` with one set of weights."""
    theirs = their_model(version)
    build = {1: partial(mask_rcnn.mask_rcnn, config=OURS), 2: mask_rcnn.mask_rcnn_v2}[version]
    ours = build(K, TINY)
    if version == 2:
        ours = ours.clone(detector=ours.detector.clone(config=OURS))
    else:
        ours = ours.clone(heads={**ours.heads, "keypoint": KeypointHead(POINTS, channels=32)})
    shapes = jax.eval_shape(ours.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    blank = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    arrays = names.detector_arrays(arrays_of(theirs))
    return theirs, ours, to_jaxseg(blank, arrays, names.RCNN_FPN, transposed="conv5_mask|kps_score_lowres")


def batch(h, w):
    """Two images; the second is smaller than the batch is."""
    images = np.random.default_rng(h).uniform(size=(2, h, w, 3)).astype(np.float32)
    sizes = np.array([[h, w], [h - 20, w - 24]], np.int32)
    images[1, h - 20 :], images[1, :, w - 24 :] = 0.7, 0.7
    return images, sizes


def image_list(images, sizes):
    x = nchw(((images - MEAN) / STD).astype(np.float32))
    for i, (h, w) in enumerate(sizes):
        x[i, :, h:], x[i, :, :, w:] = 0, 0
    image_list = import_torchvision().models.detection.image_list
    return image_list.ImageList(x, [(int(h), int(w)) for h, w in sizes])


def truth(h, w, count=7, seed=5):
    """Boxes [2, N, 4] with masks [2, N, H, W]; the second image has fewer."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.5, (2, count, 2)) * [w - 24, h - 20]
    side = rng.uniform(0.1, 0.5, (2, count, 2)) * [w - 24, h - 20]
    boxes = np.concatenate([corner, corner + side], -1).astype(np.float32)
    y, x = np.mgrid[:h, :w] + 0.5
    cx, cy = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2
    rx, ry = side[..., 0] / 2, side[..., 1] / 2
    masks = ((x - cx[..., None, None]) / rx[..., None, None]) ** 2 + (
        (y - cy[..., None, None]) / ry[..., None, None]
    ) ** 2 < 1
    valid = np.arange(count)[None] < np.array([[count], [count - 3]])
    return {
        "boxes": boxes,
        "classes": rng.integers(1, K + 1, (2, count)).astype(np.int32),
        "masks": masks,
        "keypoints": points_in(boxes, rng),
        "valid": valid,
    }


def points_in(boxes, rng):
    """Keypoints [2, N, P, 3], some of them unlabelled and some outside of their boxes."""
    at = rng.uniform(-0.1, 1.1, (*boxes.shape[:2], POINTS, 2)) * (boxes[..., 2:] - boxes[..., :2])[:, :, None]
    seen = rng.integers(0, 3, (*boxes.shape[:2], POINTS, 1))
    return np.concatenate([at + boxes[:, :, None, :2], seen], -1).astype(np.float32)


def all_but_ties(ours, theirs):
    """Boxes equal to 1e-3, but for those that near ties of scores or overlaps change for others: one in fifty."""
    distance = np.abs(ours[None] - theirs[:, None]).max(-1)
    for axis in (0, 1):
        assert (distance.min(axis) < 1e-3).mean() >= 0.98


def in_their_order(ours, theirs):
    """Which of our boxes is each of theirs: in the same order, but that scores all but equal may change places."""
    nearest = np.abs(np.asarray(ours)[None] - theirs[:, None]).max(-1).argmin(1)
    assert len(set(nearest)) == len(theirs)
    assert np.abs(nearest - np.arange(len(theirs))).max() <= 1
    return nearest


@pytest.mark.parametrize(("version", "size"), [CASES[0], *slowly(CASES[1])], ids=str)
def test_inference(version, size):
    theirs, ours, variables = pair(version)
    images, sizes = batch(*size)
    found = jax.jit(partial(ours.apply, train=False))(variables, images, sizes)
    listed, pooled = image_list(images, sizes), []
    watched = theirs.roi_heads.box_roi_pool.register_forward_hook(lambda m, i, o: pooled.append(nhwc(o)))
    with torch.no_grad():
        levels = theirs.backbone(listed.tensors)
        proposals, _ = theirs.rpn(listed, levels)
        given = {key: np.asarray(value) for key, value in found["proposals"].items()}
        same = [torch.tensor(b[v]) for b, v in zip(given["boxes"], given["valid"])]
        results, _ = theirs.roi_heads(levels, same, listed.image_sizes)
    watched.remove()
    for mine, (name, other) in zip(found["features"], levels.items()):
        np.testing.assert_allclose(mine, nhwc(other), atol=1e-3 * float(other.abs().max()), err_msg=name)
    for i in range(2):
        all_but_ties(same[i].numpy(), proposals[i].numpy())
        assert abs(len(same[i]) - len(proposals[i])) <= 1
        assert len(same[i]) > 50
        d = len(results[i]["scores"])
        assert d == int(found["valid"][i].sum()) > 5
        order = in_their_order(found["boxes"][i, :d], results[i]["boxes"].numpy())
        mine = {key: np.asarray(found[key][i])[order] for key in ("boxes", "scores", "classes", "masks")}
        for key, other, atol in (("boxes", "boxes", 1e-3), ("scores", "scores", 1e-4), ("classes", "labels", 0)):
            np.testing.assert_allclose(mine[key], results[i][other].numpy(), atol=atol, err_msg=key)
        np.testing.assert_allclose(mine["masks"], results[i]["masks"][:, 0].numpy(), atol=1e-3)
        if version == 1:
            points, scores = (np.asarray(found[key][i])[order] for key in ("keypoints", "keypoint_scores"))
            np.testing.assert_allclose(points, results[i]["keypoints"].numpy(), atol=1e-3)
            np.testing.assert_allclose(scores, results[i]["keypoints_scores"].numpy(), atol=1e-3)
        h, w = (int(n) for n in sizes[i])
        paste = import_torchvision().models.detection.roi_heads.paste_masks_in_image
        pasted = paste(results[i]["masks"], results[i]["boxes"], (h, w))[:, 0]
        # By the same boxes: pasting cuts them to whole pixels, where a difference of 1e-6 may be one of a pixel.
        paste = jax.jit(partial(ops.paste_masks, size=(h, w), rule="torchvision"))
        ours_pasted = paste(mine["masks"], results[i]["boxes"].numpy())
        np.testing.assert_allclose(ours_pasted, pasted.numpy(), atol=1e-3)
    pool = jax.jit(lambda levels, boxes: ours.bind(variables).detector.roi_features(levels, boxes, 7))
    mine = np.asarray(pool(found["features"], given["boxes"]))[given["valid"]]
    np.testing.assert_allclose(mine, pooled[0], atol=1e-3 * np.abs(pooled[0]).max())


@pytest.mark.parametrize(("version", "size"), [*slowly(CASES[0]), CASES[1]], ids=str)
def test_losses(version, size):
    """With our choice of anchors and regions put in the place of torchvision's random one."""
    theirs, ours, variables = pair(version)
    images, sizes = batch(*size)
    instances = truth(*size)
    # Batch normalisation by running statistics in both: by those of the batch it is tested with the backbones.
    apply = jax.jit(partial(with_norm(ours, "frozen").apply, train=True))
    found = apply(variables, images, sizes, instances, rngs={"sampling": jax.random.key(3)})
    mine = {}
    rpn, roi, mask = found["rpn"], found["roi"], found["mask"]
    mine["loss_objectness"], mine["loss_rpn_box_reg"] = losses.rpn_losses(
        rpn["logits"], rpn["deltas"], rpn["targets"], rpn["valid"], rpn["positive"]
    )
    mine["loss_classifier"], mine["loss_box_reg"] = losses.roi_losses(
        roi["logits"], roi["deltas"], roi["classes"], roi["targets"], roi["valid"]
    )
    mine["loss_mask"] = losses.mask_loss(mask["logits"], mask["targets"], mask["valid"])
    if version == 1:
        mine["loss_keypoint"] = losses.keypoint_loss(**found["keypoint"])
    other = their_losses(theirs, image_list(images, sizes), instances, found)
    for name, value in mine.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-3, err_msg=name)
        assert float(value) > 1e-3


def with_norm(model, norm):
    detector, heads = model.detector, model.heads
    backbone = detector.backbone
    resnet = backbone.resnet.clone(norm=norm)
    fpn = backbone.fpn if backbone.fpn.norm == "none" else backbone.fpn.clone(norm=norm)
    box_head = detector.box_head.clone(norm=norm) if hasattr(detector.box_head, "norm") else detector.box_head
    heads = {k: h if getattr(h, "norm", "none") == "none" else h.clone(norm=norm) for k, h in heads.items()}
    return model.clone(
        detector=detector.clone(backbone=backbone.clone(resnet=resnet, fpn=fpn), box_head=box_head), heads=heads
    )


def adaptive_roi_align(masks, rois, size, scale):
    """What torchvision makes mask targets with, ``sampling_ratio=-1``; its Python for that takes minutes."""

    def axis(start, end, length):
        step = max(end - start, 1) / 28
        count = int(np.ceil(max(end - start, 1) / 28))
        at = start + (np.arange(28)[:, None] + (np.arange(count) + 0.5) / count) * step
        matrix = np.maximum(0, 1 - np.abs(np.clip(at, 0, length - 1)[..., None] - np.arange(length)))
        return (matrix * ((at >= -1) & (at <= length))[..., None]).mean(1)

    assert tuple(size) == (28, 28)
    assert scale == 1.0
    masks, rois = masks[:, 0].numpy().astype(np.float64), rois.detach().numpy().astype(np.float64)
    height, width = masks.shape[1:]
    parts = [axis(y1, y2, height) @ masks[int(n)] @ axis(x1, x2, width).T for n, x1, y1, x2, y2 in rois]
    return torch.tensor(np.stack(parts), dtype=torch.float32)[:, None]


def their_losses(model, images, instances, found):
    """torchvision's losses on the anchors and regions that we sampled; its matching, targets and sums."""
    targets = [
        {
            "boxes": torch.tensor(instances["boxes"][i][instances["valid"][i]]),
            "labels": torch.tensor(instances["classes"][i][instances["valid"][i]], dtype=torch.int64),
            "masks": torch.tensor(instances["masks"][i][instances["valid"][i]].astype(np.uint8)),
            "keypoints": torch.tensor(instances["keypoints"][i][instances["valid"][i]]),
        }
        for i in range(2)
    ]
    rpn, roi = (jax.tree.map(np.asarray, found[key]) for key in ("rpn", "roi"))

    def choose_anchors(labels):
        chosen = []
        for positive in (True, False):
            masks = []
            for i, label in enumerate(labels):
                index = rpn["index"][i][rpn["valid"][i] & (rpn["positive"][i] == positive)]
                assert (label[index] == float(positive)).all()  # theirs matches these alike
                masks.append(torch.zeros(len(label), dtype=torch.bool))
                masks[-1][index] = True
            chosen.append(masks)
        return chosen

    regions = []

    def choose_regions(labels):
        chosen = []
        for i, label in enumerate(labels):
            wanted = roi["boxes"][i][roi["valid"][i]]
            distance = np.abs(wanted[:, None] - regions[i][None]).max(-1)
            assert distance.min(1).max() < 1e-3
            index = torch.tensor(distance.argmin(1))
            assert (label[index].numpy() == roi["classes"][i][roi["valid"][i]]).all()
            chosen.append(index)
        return chosen

    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    heads = model.roi_heads
    add = heads.add_gt_proposals
    module = import_torchvision().models.detection.roi_heads
    roi_align = module.roi_align
    try:
        model.rpn.fg_bg_sampler = choose_anchors
        heads.subsample = choose_regions
        module.roi_align = adaptive_roi_align
        heads.add_gt_proposals = lambda *x: (
            regions.extend(r.detach().numpy() for r in add(*x)) or [torch.tensor(r) for r in regions]
        )
        with torch.no_grad():
            levels = model.backbone(images.tensors)
            proposals, first = model.rpn(images, levels, targets)
            _, second = heads(levels, proposals, images.image_sizes, targets)
    finally:
        del heads.subsample, heads.add_gt_proposals
        module.roi_align = roi_align
        model.eval()
    return {name: float(value) for name, value in (first | second).items()}
