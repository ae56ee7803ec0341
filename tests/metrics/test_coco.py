"""COCO AP: the numbers of pycocotools and of faster-coco-eval, ids that survive, boxes and masks that find back."""

import contextlib
import copy
import io
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jaxseg.data import Coco, Pad, Resize, Shapes, coco_truth, eval_batches
from jaxseg.metrics import Truth, coco_metric, coco_results, combine, paste_mask, segmentation_metric
from jaxseg.metrics.detections import original_boxes
from jaxseg.metrics.rle import decode_rle
from jaxseg.types import JaxsegError

NAMES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
CATEGORIES = (2, 5, 9)


def ellipse(rng, height, width):
    """A random mask, from a few pixels to most of the image."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    radius = np.exp(rng.uniform(np.log(2), np.log(110), 2))
    centre = rng.uniform(0, height), rng.uniform(0, width)
    return ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def random_set(seed, images=12):
    """A truth with crowds, and predictions near it and elsewhere, as one batch of fixed size D."""
    rng, side = np.random.default_rng(seed), 28
    content = {"images": [], "annotations": [], "categories": [{"id": i, "name": f"c{i}"} for i in CATEGORIES]}
    rows = []
    for place in range(images):
        height, width = (int(v) for v in rng.integers(150, 300, 2))
        image_id = 1000 - 7 * place
        content["images"].append({"id": image_id, "file_name": f"{place}", "height": height, "width": width})
        found = []
        for _ in range(rng.integers(1, 15) if place % 4 else 0):
            mask = ellipse(rng, height, width)
            if not mask.any():
                continue
            x1, y1, x2, y2 = box = box_of(mask)
            rle, k = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))), int(rng.integers(0, 3))
            number = len(content["annotations"]) + 1
            content["annotations"].append(
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": CATEGORIES[k],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(mask.sum()),
                    "iscrowd": int(rng.random() < 0.15),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
            for _ in range(rng.integers(0, 4)):
                noisy = box + rng.normal(0, 0.06, 4) * (x2 - x1 + y2 - y1)
                found.append((noisy, k + 1 if rng.random() < 0.9 else 1))
        for _ in range(rng.integers(0, 6) if place != 5 else 0):
            corner = rng.uniform(0, 80, 2)
            found.append((np.concatenate([corner, corner + rng.uniform(1, 60, 2)]), int(rng.integers(1, 4))))
        rows.append((height, width, found))
    count = max(len(found) for _, _, found in rows)
    predictions = {
        "boxes": np.zeros((images, count, 4), np.float32),
        "scores": np.round(rng.random((images, count)), 2).astype(np.float32),  # rounded: some are equal
        "classes": np.ones((images, count), np.int32),
        "valid": np.zeros((images, count), bool),
        "masks": np.zeros((images, count, side, side), np.float32),
    }
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    batch = {"index": np.arange(images), "original": np.array([r[:2] for r in rows], np.int32)}
    scale = rng.uniform(0.4, 2, (images, 2)).astype(np.float32)
    batch["matrix"] = np.zeros((images, 2, 3), np.float32)
    batch["matrix"][:, [0, 1], [0, 1]] = scale
    for b, (_, _, found) in enumerate(rows):
        for d, (box, k) in enumerate(found):
            predictions["boxes"][b, d] = box * np.tile(scale[b], 2)
            predictions["classes"][b, d] = k
            predictions["valid"][b, d] = True
            predictions["masks"][b, d] = np.clip(4 * (1 - x**2 - y**2) + 0.5 + rng.normal(0, 0.3), 0, 1)
    truth = Truth(content, tuple(i["id"] for i in content["images"]), CATEGORIES)
    return truth, predictions, batch


def rows_of(tree, rows):
    return {key: value[rows] for key, value in tree.items()}


def run(metric, predictions, batch, size=None):
    """State after updates with batches of ``size``, the last one filled up."""
    count, state = len(batch["index"]), metric.init()
    size = size or count
    for first in range(0, count, size):
        rows = np.minimum(np.arange(first, first + size), count - 1)
        part = rows_of(batch, rows)
        part["index"] = np.where(np.arange(first, first + size) < count, part["index"], -1)
        state = metric.update(state, rows_of(predictions, rows), part)
    return state


def quiet(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


def api_of(content):
    api = COCO()
    api.dataset = copy.deepcopy(content)
    quiet(api.createIndex)
    return api


def by_hand(content, results, kind, max_detections=100, use_cats=1):
    """pycocotools as its own demo has it."""
    if kind == "segm":
        results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
    truth = api_of(content)
    evaluation = COCOeval(truth, quiet(truth.loadRes, copy.deepcopy(results)), kind)
    evaluation.params.maxDets = [1, 10, max_detections]
    evaluation.params.useCats = use_cats
    quiet(evaluation.evaluate)
    quiet(evaluation.accumulate)
    quiet(evaluation.summarize)
    return evaluation


@pytest.mark.parametrize("seed", range(8))
def test_the_twelve_numbers_are_pycocotools(seed):
    truth, predictions, batch = random_set(seed)
    before = copy.deepcopy(truth.coco)
    metric = coco_metric(lambda: truth)
    state = run(metric, predictions, batch)
    scores, results = metric.compute(state), json.loads(json.dumps(coco_results(state)))
    for name, kind in (("box", "bbox"), ("mask", "segm")):
        evaluation = by_hand(truth.coco, results, kind)
        ours = [scores[f"{name}_{n}"] for n in NAMES]
        np.testing.assert_allclose(ours, np.where(evaluation.stats < 0, np.nan, evaluation.stats), rtol=0, atol=1e-9)
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        for k, i in enumerate(evaluation.params.catIds):
            assert scores[f"{name}_ap_of"][f"c{i}"] == pytest.approx(precision[:, :, k].mean(), abs=1e-9)
    assert 0.05 < scores["box_ap"] < 0.9
    assert 0.05 < scores["mask_ap"] < 0.9
    assert truth.coco == before


def with_keypoints(seed):
    """:func:`random_set` with 17 keypoints an object, in boxes; every fourth object has none that is labelled."""
    truth, predictions, batch = random_set(seed)
    rng = np.random.default_rng(seed)
    for n, a in enumerate(truth.coco["annotations"]):
        x, y, w, h = a["bbox"]
        seen = rng.integers(0, 3, 17) * (n % 4 > 0)
        points = np.stack([x + w * rng.random(17), y + h * rng.random(17), seen], 1) * (seen > 0)[:, None]
        a |= {"keypoints": points.ravel().tolist(), "num_keypoints": int((seen > 0).sum())}
    height, width = np.moveaxis(batch["original"][:, None, None], -1, 0)
    count, d = predictions["valid"].shape
    points = np.stack(
        [width * rng.random((count, d, 17)), height * rng.random((count, d, 17)), np.ones((count, d, 17))], -1
    )
    for b, image in enumerate(truth.image_ids):
        objects = [a for a in truth.coco["annotations"] if a["image_id"] == image]
        for n, a in enumerate(objects[:d]):
            near = np.reshape(a["keypoints"], (17, 3))[:, :2] + rng.normal(0, 0.05, (17, 2)) * np.sqrt(a["area"])
            points[b, n, :, :2] = near
            predictions["classes"][b, n] = CATEGORIES.index(a["category_id"]) + 1
    points[..., :2] = (points[..., :2] + 0.5) * np.diagonal(batch["matrix"][:, :, :2], axis1=1, axis2=2)[:, None, None]
    return truth, predictions | {"keypoints": points.astype(np.float32)}, batch


@pytest.mark.parametrize("seed", range(3))
def test_keypoints_are_judged_by_pycocotools(seed):
    truth, predictions, batch = with_keypoints(seed)
    metric = coco_metric(lambda: truth, ("keypoint",))
    state = run(metric, predictions, batch)
    scores, api = metric.compute(state), api_of(truth.coco)
    results = [{k: v for k, v in r.items() if k != "bbox"} for r in json.loads(json.dumps(coco_results(state)))]
    evaluation = COCOeval(api, quiet(api.loadRes, results), "keypoints")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        quiet(step)
    names = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar20", "ar_medium", "ar_large")
    stats = evaluation.stats[[0, 1, 2, 3, 4, 5, 8, 9]]
    np.testing.assert_allclose([scores[f"keypoint_{n}"] for n in names], np.where(stats < 0, np.nan, stats), atol=1e-9)
    assert 0.05 < scores["keypoint_ap"] < 0.95
    with pytest.raises(JaxsegError, match="17 keypoints, and there are 4 sigmas"):
        coco_metric(lambda: truth, ("keypoint",), sigmas=[0.05] * 4).compute(state)


def test_proposals_are_judged_whatever_their_class():
    truth, predictions, batch = random_set(3)
    metric = coco_metric(lambda: truth, ("box",), any_class=True)
    state = run(metric, predictions, batch)
    scores = metric.compute(state)
    evaluation = by_hand(truth.coco, json.loads(json.dumps(coco_results(state))), "bbox", use_cats=0)
    ours = [scores[f"box_{n}"] for n in NAMES]
    np.testing.assert_allclose(ours, np.where(evaluation.stats < 0, np.nan, evaluation.stats), rtol=0, atol=1e-9)
    assert "box_ap_of" not in scores
    alike = {**predictions, "classes": np.ones_like(predictions["classes"])}
    assert metric.compute(run(metric, alike, batch))["box_ap"] == scores["box_ap"]


def test_faster_coco_eval_agrees():
    faster = pytest.importorskip("faster_coco_eval")
    truth, predictions, batch = random_set(7)
    metric = coco_metric(lambda: truth)
    state = run(metric, predictions, batch)
    scores = metric.compute(state)
    for name, kind in (("box", "bbox"), ("mask", "segm")):
        results = [{k: v for k, v in r.items() if k != "bbox" or kind == "bbox"} for r in coco_results(state)]
        theirs = faster.COCO(copy.deepcopy(truth.coco))
        evaluation = faster.COCOeval_faster(theirs, theirs.loadRes(results), kind)
        quiet(evaluation.evaluate)
        quiet(evaluation.accumulate)
        quiet(evaluation.summarize)
        stats = np.where(evaluation.stats[:12] < 0, np.nan, evaluation.stats[:12])
        np.testing.assert_allclose([scores[f"{name}_{n}"] for n in NAMES], stats, atol=1e-9)


def test_more_than_a_hundred_detections():
    """150 objects of one class, all found: with 100 detections a third is missed."""
    corners = np.stack(np.meshgrid(np.arange(15), np.arange(10)), -1).reshape(-1, 2) * 12.0
    boxes = np.concatenate([corners, corners + 10], 1).astype(np.float32)
    annotations = [
        {"id": n + 1, "image_id": 1, "category_id": 1, "bbox": [*b[:2].tolist(), 10.0, 10.0], "area": 100, "iscrowd": 0}
        for n, b in enumerate(boxes)
    ]
    content = {"images": [{"id": 1, "height": 200, "width": 200}], "annotations": annotations}
    truth = Truth(content | {"categories": [{"id": 1, "name": "cell"}]}, (1,), (1,))
    scores = np.linspace(1, 0.5, 150, dtype=np.float32)[None]
    found = {"boxes": boxes[None], "scores": scores, "classes": np.ones((1, 150), int), "valid": scores > 0}
    batch = {"index": np.array([0]), "original": np.array([[200, 200]]), "matrix": np.eye(2, 3)[None]}
    of = {}
    for count in (5, 100, 300):
        metric = coco_metric(lambda: truth, ("box",), max_detections=count)
        state = run(metric, found, batch)
        of[count] = metric.compute(state)
    assert of[300]["box_ap"] == of[300]["box_ar300"] == 1
    assert of[100]["box_ar100"] == pytest.approx(100 / 150)
    assert of[5]["box_ar5"] == pytest.approx(5 / 150)
    assert "box_ar10" not in of[5]
    evaluation = by_hand(truth.coco, coco_results(state), "bbox", 300)
    assert of[300]["box_ap_small"] == evaluation.stats[3] == 1
    assert evaluation.stats[0] == -1  # what summarize says of AP where maxDets is not 100


def test_any_batches_give_the_same():
    truth, predictions, batch = random_set(3)
    metric = coco_metric(lambda: truth)
    whole = run(metric, predictions, batch)
    scores = metric.compute(whole)
    for size in (1, 5, 12):
        state = run(metric, predictions, batch, size)
        assert state == whole
        np.testing.assert_equal(metric.compute(state), scores)
    first, second = (run(metric, rows_of(predictions, r), rows_of(batch, r)) for r in (slice(0, 5), slice(5, 12)))
    assert metric.merge(second, first) == whole
    np.testing.assert_equal(metric.compute(metric.merge(second, first)), scores)


def nothing(batch, predictions):
    return {**predictions, "valid": np.zeros_like(predictions["valid"])}


def test_without_truth_or_predictions():
    truth, predictions, batch = random_set(2)
    metric = coco_metric(lambda: truth)
    scores = metric.compute(run(metric, nothing(batch, predictions), batch))
    assert [scores[f"{kind}_{n}"] for kind in ("box", "mask") for n in NAMES] == [0.0] * 24
    bare = Truth({**truth.coco, "annotations": []}, *truth[1:])
    for found in (predictions, nothing(batch, predictions)):
        metric = coco_metric(lambda: bare)
        scores = metric.compute(run(metric, found, batch))
        assert all(np.isnan(scores[f"box_{n}"]) for n in NAMES)
        assert scores["mask_ap_of"] == {}
    assert np.isnan(metric.compute(metric.init())["box_ap"])


def test_an_annotation_may_have_the_id_0():
    """pycocotools takes its id for "not found"."""
    content = {"images": [{"id": 0, "height": 40, "width": 50}], "categories": [{"id": 0, "name": "a"}]}
    content["annotations"] = [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [5, 5, 20, 20]}]
    metric = coco_metric(lambda: Truth(content, (0,), (0,)), ("box",))
    found = {"boxes": [[[5, 5, 25, 25]]], "scores": [[0.5]], "classes": [[1]], "valid": [[True]]}
    batch = {"index": [0], "original": [[40, 50]], "matrix": [np.eye(2, 3)]}
    scores = metric.compute(metric.update(metric.init(), {k: np.array(v) for k, v in found.items()}, batch))
    assert scores["box_ap"] == pytest.approx(1)


def test_only_images_that_were_seen_count():
    truth, predictions, batch = random_set(1)
    metric, rows = coco_metric(lambda: truth), slice(1, 4)
    scores = metric.compute(run(metric, rows_of(predictions, rows), rows_of(batch, rows)))
    seen = set(truth.image_ids[rows])
    kept = [a for a in truth.coco["annotations"] if a["image_id"] in seen]
    part = Truth({**truth.coco, "annotations": kept}, *truth[1:])
    of_part = coco_metric(lambda: part)
    assert 0 < len(kept) < len(truth.coco["annotations"])
    np.testing.assert_equal(of_part.compute(run(of_part, rows_of(predictions, rows), rows_of(batch, rows))), scores)


def perfect(batch):
    """The truth of a batch as predictions."""
    instances = batch["instances"]
    return {**instances, "scores": np.where(instances["valid"], 0.9, 0).astype(np.float32)}


def test_perfect_predictions_score_one_and_ids_survive(tmp_path):
    shapes = Shapes(length=9, size=(160, 200), seed=4)
    content = coco_truth(shapes).coco
    ids, numbers = dict(zip(range(1, 6), (1, 3, 90, 7, 44))), [500 - 3 * n for n in range(9)]
    content["categories"] = [c | {"id": ids[c["id"]]} for c in content["categories"]]
    for a in content["annotations"]:
        a |= {"category_id": ids[a["category_id"]], "image_id": numbers[a["image_id"] - 1]}
    for place, image in enumerate(content["images"]):
        image |= {"id": numbers[place], "file_name": f"{place}.png"}
        Image.fromarray(shapes[place]["image"]).save(tmp_path / image["file_name"])
    (tmp_path / "x.json").write_text(json.dumps(content))
    coco = Coco(tmp_path, tmp_path / "x.json")
    metric = coco_metric(coco.truth)
    state = metric.init()
    for batch in eval_batches(
        coco, Resize((192, 192), "pad"), batch_size=4, max_instances=6, mask_side=56, num_threads=0
    ):
        state = metric.update(state, perfect(batch), batch)
    scores, results = metric.compute(state), coco_results(state)
    assert scores["box_ap"] == scores["box_ap50"] == scores["box_ar100"] == pytest.approx(1.0, abs=1e-9)
    assert scores["mask_ap50"] == pytest.approx(1.0, abs=1e-9)
    assert scores["mask_ap"] > 0.75
    assert set(scores["box_ap_of"]) <= set(shapes.things)

    def pairs(entries):
        return sorted((e["image_id"], e["category_id"]) for e in entries)

    assert pairs(results) == pairs(content["annotations"])
    assert {e["category_id"] for e in results} == {1, 3, 90, 7, 44}
    assert by_hand(content, json.loads(json.dumps(results)), "bbox").stats[0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_boxes_and_masks_find_back_to_the_original(seed):
    rng = np.random.default_rng(seed)
    large = []
    for _ in range(5):
        size = tuple(int(v) for v in rng.integers(40, 400, 2))
        source = Shapes(length=2, size=size, seed=seed)
        truth = coco_truth(source)
        metric = coco_metric(lambda truth=truth: truth)
        transform = Resize(tuple(int(v) for v in rng.integers(64, 400, 2)), "pad")
        (batch,) = eval_batches(source, transform, batch_size=2, max_instances=6, mask_side=28, num_threads=0)
        state = metric.update(metric.init(), perfect(batch), batch)
        for place in range(2):
            instances = source[place]["instances"]
            for entry, mask, box in zip(state[place], instances["masks"], instances["boxes"], strict=True):
                x, y, w, h = entry["bbox"]
                np.testing.assert_allclose([x, y, x + w, y + h], box, atol=1e-3)
                bitmap, (left, top) = decode_rle(entry["segmentation"])
                pasted = np.zeros(size, bool)
                pasted[top : top + bitmap.shape[0], left : left + bitmap.shape[1]] = bitmap
                iou = (pasted & mask).sum() / (pasted | mask).sum()
                if min(w, h) >= 32:
                    large.append(iou)
    assert len(large) > 5
    assert min(large) > 0.9


def test_a_mirrored_input_is_mirrored_back():
    boxes = np.array([[2, 4, 10, 20]], np.float32)
    mirror = np.array([[-2, 0, 100], [0, 0.5, 3]])
    np.testing.assert_allclose(original_boxes(boxes, mirror), [[45, 2, 49, 34]])
    content = {
        "images": [{"id": 1, "height": 40, "width": 50}],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}],
    }
    metric = coco_metric(lambda: Truth(content, (1,), (1,)))
    mask = np.zeros((1, 1, 2, 2), np.float32)
    mask[..., 0] = 1  # the left half in the mirror
    found = {"boxes": boxes[None], "scores": np.ones((1, 1)), "classes": np.ones((1, 1), int), "masks": mask}
    batch = {"index": [0], "original": [[40, 50]], "matrix": mirror[None]}
    state = metric.update(metric.init(), found | {"valid": np.ones((1, 1), bool)}, batch)
    bitmap, (x, _) = decode_rle(state[0][0]["segmentation"])
    assert (x, bitmap.shape[1]) == (47, 2)  # the right half of 45..49
    turned = batch | {"matrix": np.array([[[0, 1, 0], [1, 0, 0]]])}
    with pytest.raises(JaxsegError, match="turns the image"):
        metric.update(metric.init(), found | {"valid": np.ones((1, 1), bool)}, turned)


@pytest.mark.parametrize("seed", range(30))
def test_masks_are_pasted_by_grid_sample(seed):
    """torch's grid_sample over the whole image, as detectron2 pastes."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    height, width, side = (int(v) for v in rng.integers((5, 5, 1), (70, 90, 30)))
    mask = rng.random((side, side)).astype(np.float32)
    x1, y1 = rng.uniform(-20, width), rng.uniform(-20, height)
    box = np.array([x1, y1, x1 + rng.uniform(0.1, 80), y1 + rng.uniform(0.1, 80)])
    if seed % 3 == 0:
        box = np.round(box) + 0.5  # edges at pixel centres
    y = (torch.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    x = (torch.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    grid = torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], -1)[None].float()
    want = torch.nn.functional.grid_sample(torch.from_numpy(mask)[None, None], grid, align_corners=False)[0, 0].numpy()
    bitmap, (left, top) = paste_mask(mask, box, (height, width))
    got = np.zeros((height, width), bool)
    got[top : top + bitmap.shape[0], left : left + bitmap.shape[1]] = bitmap
    sure = np.abs(want - 0.5) > 1e-5
    np.testing.assert_array_equal(got[sure], want[sure] >= 0.5)
    assert sure.mean() > 0.95


def test_paste_outside_of_the_image():
    assert paste_mask(np.ones((28, 28)), np.array([50, 5, 60, 9.0]), (40, 50))[0].shape == (0, 0)
    assert paste_mask(np.ones((28, 28)), np.array([5, 5, 5, 9.0]), (40, 50))[0].shape == (0, 0)
    bitmap, corner = paste_mask(np.ones((28, 28)), np.array([-5, -5, 3, 100.0]), (40, 50))
    assert bitmap.shape == (40, 3)
    assert corner == (0, 0)
    assert bitmap.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, b: p.pop("scores"), r"predictions\['scores'\] is missing"),
        (lambda p, b: p.update(boxes=p["boxes"][0]), r"predictions\['boxes'\] is \[\d+, 4\]"),
        (lambda p, b: p.pop("masks"), r"kinds=\('box',\)"),
        (lambda p, b: b.pop("matrix"), "the batch has no matrix"),
        (lambda p, b: p.update(classes=p["classes"] - 1), "classes from 0 to 2; expected 1 to 3"),
        (lambda p, b: p.update(scores=p["scores"] * np.nan), "image 993: valid detections that are not finite"),
    ],
)
def test_what_update_refuses(change, message):
    truth, predictions, batch = random_set(0)
    change(predictions, batch)
    batch = rows_of(batch, slice(1, 12))
    predictions = {k: v if k == "boxes" and v.ndim == 2 else v[1:] for k, v in predictions.items()}
    with pytest.raises(JaxsegError, match=message):
        run(coco_metric(lambda: truth), predictions, batch)


def test_what_is_refused_at_once():
    for kinds in ((), ("boxes",), "box"):
        with pytest.raises(JaxsegError, match="expected a tuple of 'box', 'mask'"):
            coco_metric(lambda: None, kinds)
    with pytest.raises(JaxsegError, match="at least 1"):
        coco_metric(lambda: None, max_detections=0)


def test_beside_a_metric_of_the_device():
    source = Shapes(length=5, size=(48, 64))
    metric = combine(segmentation_metric(8), coco_metric(partial(coco_truth, source), ("box",)))
    alone, state = segmentation_metric(8), metric.init()
    assert metric.on_host
    assert not combine(alone).on_host
    alone_state = alone.init()
    for batch in eval_batches(source, Pad((48, 64)), batch_size=2, max_instances=4, num_threads=0):
        found = {**perfect(batch), "label": np.minimum(batch["label"].astype(np.int32), 7)}
        state = metric.update(state, found, batch)
        alone_state = alone.update(alone_state, {"label": found["label"]}, {k: batch[k] for k in ("label", "valid")})
    scores = metric.compute(state)
    assert scores["box_ap"] == pytest.approx(1.0)
    np.testing.assert_equal({k: scores[k] for k in alone.compute(alone_state)}, alone.compute(alone_state))
