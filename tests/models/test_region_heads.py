"""Heads that learn together, among them the one that docs/families/masks.md shows."""

import pathlib
import re

import jax
import numpy as np

from jaxseg.data import Resize, Shapes, eval_batches
from jaxseg.metrics import coco_metric
from jaxseg.models import FasterRCNN
from jaxseg.nn import FPN, ResNet, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import SHAPES_RCNN

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "families" / "masks.md"


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
    variables = jax.jit(lambda key: model.init(key, image, sizes, train=False))(jax.random.key(0))

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
