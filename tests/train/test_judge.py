"""Every kind of task judged picture by picture: the totals are the evaluation's, the spoilt pictures are the worst."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxseg.config import load_config
from jaxseg.data.panoptic import panoptic_truth
from jaxseg.metrics.confusion import scores as scores_of
from jaxseg.train.evaluate import evaluate
from jaxseg.train.judge import _picture, classes_of, confusion_of, judge
from jaxseg.types import VOID
from tests.helpers import rows_experiment, tiny_experiment

CONFIGS = ("unet_shapes", "mask_rcnn_shapes", "keypoint_rcnn_shapes", "cornernet_shapes", "densecap_shapes",
           "panoptic_fpn_shapes", "mesh_rcnn_solids", "cam_shapes", "localizer_shapes")  # fmt: skip
SPOILT = (2, 5)  # places in the source of pictures in which nothing is right


def truth_as_predictions(e, batch):
    """What a network would say that is right everywhere but in the pictures ``SPOILT``."""
    good = ~np.isin(batch["index"], SPOILT)
    if e.task.about == "pixels":
        return {"label": np.where(good[:, None, None], batch["label"], (batch["label"] + 1) % 8).astype(np.int32)}
    there = batch["instances"]
    if e.task.about == "picture":
        return picture_predictions(e, batch, there, good)
    valid = there["valid"] & good[:, None]
    found = {k: there[k] for k in ("boxes", "classes", "keypoints", "tokens") if k in there} | {"valid": valid}
    found["scores"] = np.where(valid, 0.9, 0).astype(np.float32)
    if there["masks"].dtype != bool:
        found["masks"] = there["masks"]
    if e.task.about == "segments":
        found |= segment_predictions(e, batch, good)
    if "voxels" in there:
        found |= mesh_predictions(e, batch)
    return found


def picture_predictions(e, batch, there, good):
    category = batch["category"]
    if category.ndim == 2:
        scores = np.where((category == 1) == good[:, None], 5.0, -5.0).astype(np.float32)
        boxes = np.repeat(there["boxes"][:, :1], category.shape[1], 1)
        points, maps = (boxes[..., :2] + boxes[..., 2:]) / 2, np.ones((len(good), 4, 4, category.shape[1]), np.float32)
        return {"scores": scores, "present": scores > 0, "boxes": boxes, "points": points, "maps": maps}
    chosen = np.where(good, category, (category + 1) % 5)
    points = np.where(good[:, None, None], there["keypoints"][:, 0, :, :2], 0.0)
    return {"scores": 5 * np.eye(5, dtype=np.float32)[chosen], "category": chosen.astype(np.int32),
            "boxes": there["boxes"][:, 0], "keypoints": points.astype(np.float32)}  # fmt: skip


def segment_predictions(e, batch, good):
    """The true segments of each picture, numbered from 1; of a spoilt one none."""
    ids, classes = np.zeros(batch["label"].shape, np.int32), np.zeros((len(good), 16), np.int32)
    for row, place in enumerate(batch["index"]):
        truth = panoptic_truth(e.data.val, int(place))
        for n, (i, kind) in enumerate(truth.classes.items()):
            ids[row][truth.ids == i] = good[row] * (n + 1)
            classes[row, n] = kind
    return {"segments": ids, "segment_classes": classes, "segment_scores": np.ones(classes.shape, np.float32),
            "segment_valid": np.ones(classes.shape, bool)}  # fmt: skip


def mesh_predictions(e, batch):
    shapes = [[shape for _, shape in e.data.val.shapes(int(place))] for place in batch["index"]]
    most = [max(len(shape[k]) for row in shapes for shape in row) for k in (0, 1)]
    slots = batch["instances"]["valid"].shape
    vertices, faces = (np.zeros((*slots, n, 3)) for n in most)
    there = np.zeros((*slots, most[1]), bool)
    for b, row in enumerate(shapes):
        for n, shape in enumerate(row):
            vertices[b, n, : len(shape.vertices)] = shape.vertices
            faces[b, n, : len(shape.faces)] = shape.faces
            there[b, n, : len(shape.faces)] = True
    return {"vertices": vertices, "faces": faces.astype(np.int32), "face_valid": there}


def step_of(e, counting=True):
    def step(variables, state, batch):
        del variables
        batch = jax.device_get(batch)
        predictions = truth_as_predictions(e, batch)
        if counting and not e.task.metric.on_host:
            state = jax.jit(e.task.metric.update)(state, predictions, batch)
        return state, predictions

    return step


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_of_task(name):
    e = load_config(name, tiny=True)
    e = dataclasses.replace(e, devices=1, data=dataclasses.replace(e.data, num_threads=0))
    done = []
    found = judge(e, {}, most=2, width=96, eval_step=step_of(e, counting=False), watch=done.append)
    expected, _ = evaluate(e, {}, shown=0, eval_step=step_of(e))
    flat = lambda scores: {k: v for k, v in jax.tree.leaves_with_path(scores) if isinstance(v, float)}
    assert flat(found.scores) == pytest.approx(flat(expected), rel=1e-6, nan_ok=True)
    count = len(e.data.val)
    assert done[-1] == len(found.by_picture) == count
    known = np.sort(found.by_picture[np.isfinite(found.by_picture)])
    np.testing.assert_array_equal([p.score for p in found.worst], known[:2])
    np.testing.assert_array_equal([p.score for p in found.best], known[::-1][:2])
    assert {p.name for p in found.worst} == {e.data.val[place]["name"] for place in SPOILT}
    assert known[1] < 0.5 < known[2]
    for picture in (*found.worst, *found.best):
        assert len({view.shape for view in picture.views.values()}) == 1  # else the slider would shift them
        assert next(iter(picture.views.values())).shape[1] == 96
        assert all(view.dtype == np.uint8 for view in picture.views.values())
    if "truth" in found.best[0].views:
        differ = [
            np.abs(p.views["truth"].astype(int) - p.views["prediction"]).mean() for p in (*found.best, *found.worst)
        ]
        assert max(differ[:2]) < min(differ[2:])
    counted = sum(found.counts.values())
    sources = [e.data.val[i] for i in range(count)]
    if e.task.about == "instances":
        assert counted == sum(len(s["instances"]["boxes"]) for s in sources)
    elif e.task.about == "segments":
        stuff = sum(len(set(np.unique(s["label"])) & set(range(len(e.data.val.stuff)))) for s in sources)
        assert counted == stuff + sum(len(s["instances"]["boxes"]) for s in sources)
    if found.confusion is not None:
        assert counted == found.confusion.sum()
    if e.task.about == "pixels":
        again = scores_of(found.confusion, classes_of(e))
        assert again["iou"] == pytest.approx(expected["iou"])


def test_void_is_nowhere_in_the_confusion():
    truth = np.array([[0, 1, VOID, 2], [1, 1, -1, 3]])
    found = np.array([[0, 2, 0, -1], [1, 0, 0, 0]])
    np.testing.assert_array_equal(confusion_of(truth, found, 3), [[1, 0, 0], [1, 1, 1], [0, 0, 0]])


def test_a_tall_picture_is_shown_narrower():
    e, label = tiny_experiment(), np.zeros((1, 900, 3), np.int32)
    batch = {"image": np.zeros((1, 900, 3, 3), np.float32), "label": label}
    batch |= {"size": np.array([[900, 3]]), "valid": np.array([True])}
    shown = _picture(e.task, e.data.val, (0.5, 0, (batch, {"label": label})), 400)
    assert {view.shape for view in shown.views.values()} == {(1500, 5, 3)}  # 400 wide it would be 120,000 high


def test_a_picture_without_a_score_is_counted_and_not_ranked():
    e = rows_experiment()
    nothing = e.task.metric._replace(compute=lambda state: {"miou": float("nan")}, update=lambda state, *_: state)
    e = dataclasses.replace(e, task=e.task._replace(metric=nothing))
    step = lambda variables, state, batch: (state, {"label": np.asarray(batch["label"])})
    found = judge(e, {}, eval_step=step)
    assert np.isnan(found.by_picture).sum() == len(e.data.val)
    assert found.worst == found.best == []


def test_few_pictures_are_shown_once():
    e = tiny_experiment(eval_batch_size=3)
    step = lambda variables, state, batch: (state, {"label": np.asarray(batch["label"], np.int32)})
    found = judge(e, {}, most=8, eval_step=step)
    names = [p.name for p in (*found.worst, *found.best)]
    assert len(names) == len(set(names)) == len(e.data.val)
