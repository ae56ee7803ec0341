"""Heads that learn together, among them the one that docs/families/masks.md shows."""

import pathlib
import re

import jax
import numpy as np
import pytest

from jaxseg.data import Resize, Shapes, eval_batches
from jaxseg.losses import keypoint_loss
from jaxseg.metrics import coco_metric
from jaxseg.models import FasterRCNN, KeypointHead
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN
from tests.helpers import variables_of

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "families" / "masks.md"


def test_every_parameter_of_the_keypoint_head_learns():
    head, rng = KeypointHead(3, convs=2, channels=4), np.random.default_rng(0)
    regions = rng.normal(size=(2, 2, 14, 14, 5)).astype(np.float32)
    boxes = np.tile(np.float32([[4, 8, 30, 36], [30, 20, 60, 50]]), (2, 1, 1))
    points = np.stack([boxes[..., :2] + 5, boxes[..., :2] + 12, boxes[..., 2:] - 3], axis=2)
    targets = {"keypoints": np.concatenate([points, np.full((2, 2, 3, 1), 2, np.float32)], -1)}
    positives = {"boxes": boxes, "match": np.tile(np.int32([0, 1]), (2, 1)), "valid": np.ones((2, 2), bool)}
    params = jax.jit(head.init)(jax.random.key(0), regions[0])

    def loss(params, regions):
        return keypoint_loss(**head.apply(params, regions, positives, targets, SHAPES_RCNN, method="training"))

    gradient = jax.jit(jax.grad(loss, (0, 1)))(params, regions)
    for path, g in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.any(np.asarray(g)), jax.tree_util.keystr(path)


@pytest.mark.slow
def test_mask_keypoint_and_a_head_of_ones_own_learn_together():
    source = Shapes("val", length=4)
    code = next(c for c in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "class FillHead" in c)
    backbone = ResNetFPN(ResNet((1, 1, 1, 1), bottleneck=False, base=4), FPN(8))
    names = {
        "things": source.things,
        "points": source.keypoint_names,
        "metric": coco_metric(lambda: None, ("box",)),
        "detector": FasterRCNN(len(source.things), backbone, TwoFC(8), SHAPES_RCNN),
    }
    exec(code.replace("MaskHead(len(things))", "MaskHead(len(things), 1, 8)").replace(
        "KeypointHead(len(points))", "KeypointHead(len(points), 1, 8)"), names)  # fmt: skip
    model, task = names["model"], names["task"]
    batch = next(iter(eval_batches(source, Resize(source.size), batch_size=4, max_instances=6, mask_side=14)))
    image, sizes, instances = task.inputs(batch)
    variables = variables_of(model, image)

    def loss(params):
        outputs, _ = model.apply(
            {**variables, "params": params}, image, sizes, instances, train=True, mutable=["batch_stats"],
            rngs={"sampling": jax.random.key(1)},
        )  # fmt: skip
        return task.loss(outputs, batch)

    (_, terms), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    assert set(terms) == {"objectness", "rpn_box", "class", "box", "mask", "keypoint", "fill"}
    assert all(float(value) > 0 for value in terms.values())
    for name in ("mask", "keypoint", "fill"):
        assert all(np.any(np.asarray(g)) for g in jax.tree.leaves(gradient[f"heads_{name}"])), name
    found = task.predict(jax.jit(lambda v: model.apply(v, image, sizes))(variables), batch)
    d = SHAPES_RCNN.detections
    assert found["fill"].shape == (4, d)
    assert found["keypoints"].shape == (4, d, 4, 3)
    assert found["masks"].shape == (4, d, 28, 28)
    seen = np.asarray(found["valid"])
    inside = np.asarray(found["keypoints"])[seen][..., :2]
    boxes = np.asarray(found["boxes"])[seen][:, None]
    assert np.all((inside >= boxes[..., :2] - 1) & (inside <= boxes[..., 2:] + 1))
