"""CornerNet: the authors' number of parameters, the network against the same in PyTorch, from true maps back to the
true boxes, nothing to find, any number of objects in one program."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.metrics import coco_metric
from jaxseg.models import CornerNet, CornerNetHourglass104
from jaxseg.models.cornernet import boxes_of
from jaxseg.nn.hourglass import StackedHourglass
from jaxseg.tasks import corner_detection
from tests.helpers import variables_of

K = 3
SMALL = CornerNet(K, StackedHourglass((4, 6, 8), (2, 1, 1), stacks=2, stem=3), 4, corners=10, detections=5)
TASK = corner_detection(("a", "b", "c"), coco_metric(lambda: None, ("box",)))


@cache
def variables():
    return jax.tree.map(np.asarray, variables_of(SMALL, jnp.zeros((1, 64, 64, 3))))


@cache
def applied():
    return jax.jit(partial(SMALL.apply, train=False))


def instances(counts, n=4, side=64):
    rng = np.random.default_rng(1)
    corner, size = rng.uniform(0, 0.5 * side, (len(counts), n, 2)), rng.uniform(9, 0.4 * side, (len(counts), n, 2))
    valid = np.arange(n)[None] < np.asarray(counts)[:, None]
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32) * valid[..., None]
    return {"boxes": boxes, "classes": rng.integers(1, K + 1, (len(counts), n)).astype(np.int32), "valid": valid}


@pytest.mark.slow
def test_hourglass_104_has_the_authors_number_of_parameters():
    model = CornerNetHourglass104(80)
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), np.zeros((1, 128, 128, 3), np.float32))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes["params"])) == 201_035_212


def in_pytorch(params, stats, images):
    """The maps of :data:`SMALL`, by PyTorch's operations on our arrays."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional

    def conv(p, x, stride=1):
        kernel = torch.tensor(p["kernel"].transpose(3, 2, 0, 1).copy())
        bias = torch.tensor(p["bias"]) if "bias" in p else None
        return F.conv2d(x, kernel, bias, stride, kernel.shape[-1] // 2)

    def bn(p, s, x):
        mean, var, scale, bias = (torch.tensor(v) for v in (s["mean"], s["var"], p["scale"], p["bias"]))
        return F.batch_norm(x, mean, var, scale, bias)

    def conv_norm(p, s, x):
        return F.relu(bn(p["bn"], s["bn"], conv(p["conv"], x)))

    def block(p, s, x, stride):
        y = F.relu(bn(p["bn1"], s["bn1"], conv(p["conv1"], x, stride)))
        y = bn(p["bn2"], s["bn2"], conv(p["conv2"], y))
        if "downsample_conv" in p:
            x = bn(p["downsample_bn"], s["downsample_bn"], conv(p["downsample_conv"], x, stride))
        return F.relu(y + x)

    def layer(p, s, name, x, stride=1):
        i = 0
        while f"{name}_{i}" in p:
            x, i = block(p[f"{name}_{i}"], s[f"{name}_{i}"], x, stride if i == 0 else 1), i + 1
        return x

    def hourglass(p, s, x):
        y = layer(p, s, "down", x, 2)
        y = hourglass(p["inner"], s["inner"], y) if "inner" in p else layer(p, s, "middle", y)
        y = F.interpolate(layer(p, s, "up", y), scale_factor=2, mode="nearest")
        return layer(p, s, "aside", x) + y

    def pool(x, side):
        axis, flip = {"top": (2, True), "left": (3, True), "bottom": (2, False), "right": (3, False)}[side]
        y = torch.cummax(x.flip(axis) if flip else x, axis).values
        return y.flip(axis) if flip else y

    b, t = params["backbone"], stats["backbone"]
    x = F.relu(bn(b["stem_bn"], t["stem_bn"], conv(b["stem_conv"], images, 2)))
    x = block(b["stem_block"], t["stem_block"], x, 2)
    found = {}
    for i in range(2):
        y = conv_norm(b[f"out{i}"], t[f"out{i}"], hourglass(b[f"hourglass{i}"], t[f"hourglass{i}"], x))
        for kind, sides in (("top_left", ("top", "left")), ("bottom_right", ("bottom", "right"))):
            p, s = params[f"{kind}{i}_pool"], stats[f"{kind}{i}_pool"]
            pooled = sum(pool(conv_norm(p[side], s[side], y), side) for side in sides)
            z = bn(p["pooled_bn"], s["pooled_bn"], conv(p["pooled"], pooled))
            z = F.relu(z + bn(p["shortcut_bn"], s["shortcut_bn"], conv(p["shortcut"], y)))
            z = conv_norm(p["out"], s["out"], z)
            for head in ("heat", "embedding", "offset"):
                q = params[f"{kind}{i}_{head}"]
                found[f"{kind}{i}_{head}"] = conv(q["last"], F.relu(conv(q["conv"], z))).permute(0, 2, 3, 1).numpy()
        if i == 0:
            parts = [bn(b[f"{n}0_bn"], t[f"{n}0_bn"], conv(b[f"{n}0"], v)) for n, v in (("before", x), ("after", y))]
            x = block(b["between0"], t["between0"], F.relu(parts[0] + parts[1]), 1)
    return found


def test_the_maps_are_those_of_the_same_network_in_pytorch():
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(2).uniform(size=(2, 48, 64, 3)).astype(np.float32)
    got = applied()(variables(), images, np.array([[48, 64]] * 2, np.int32))
    x = (images - SMALL.normalization.mean) / SMALL.normalization.std
    x = torch.tensor(x.transpose(0, 3, 1, 2).astype(np.float32))
    want = in_pytorch(variables()["params"], variables()["batch_stats"], x)
    for kind in ("top_left", "bottom_right"):
        for i, maps in enumerate(got[kind]):
            ours = {"heat": maps.logits, "embedding": maps.embedding[..., None], "offset": maps.offset}
            for head, value in ours.items():
                other = want[f"{kind}{i}_{head}"]
                np.testing.assert_allclose(value, other, atol=1e-4 * np.abs(other).max(), err_msg=head)


def test_true_maps_give_the_true_boxes():
    truth = jax.tree.map(lambda x: x[0], instances([4]))
    maps, corners = [], jax.jit(partial(ops.corner_targets, size=(16, 16), stride=4, num_classes=K))
    for target in jax.device_get(corners(*(truth[k] for k in ("boxes", "classes", "valid")))):
        embedding, offset = np.zeros((256,), np.float32), np.zeros((256, 2), np.float32)
        embedding[target.place], offset[target.place] = np.arange(4), target.offset
        logits = np.log(np.clip(target.heat, 1e-4, 1 - 1e-4) / (1 - np.clip(target.heat, 1e-4, 1 - 1e-4)))
        maps.append(ops.Corners(logits, embedding.reshape(16, 16), offset.reshape(16, 16, 2)))
    decode = jax.jit(partial(boxes_of, corners=20, detections=4, max_distance=0.5))
    found = decode(*maps, np.array([64, 64]))
    distance = np.abs(np.asarray(found.boxes)[:, None] - truth["boxes"][None]).max(-1)
    assert distance.min(0).max() < 1e-3
    np.testing.assert_array_equal(found.classes, truth["classes"][distance.argmin(1)])


@pytest.mark.slow
def test_every_parameter_learns_and_one_program_serves_any_number_of_objects():
    model = SMALL.clone(backbone=StackedHourglass((4, 6), (1, 1), stacks=2, stem=3))
    images = np.random.default_rng(3).uniform(size=(2, 64, 64, 3)).astype(np.float32)
    sizes = np.array([[64, 64], [50, 60]], np.int32)
    variables = variables_of(model, images)

    def loss(params, truth):
        outputs, _ = model.apply({**variables, "params": params}, images, sizes, train=True, mutable=["batch_stats"])
        return TASK.loss(outputs, {"instances": truth})

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for counts in ([3, 4], [1, 0], [0, 0]):
        (_, terms), gradient = step(variables["params"], instances(counts))
        assert all(np.isfinite(value) for value in terms.values())
        assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))
        if counts == [3, 4]:
            assert all(float(value) > 0 for value in terms.values())
            still = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(gradient) if not np.any(g)]
            # An embedding counts relative to others alone: what is added to all changes nothing.
            assert all("embedding" in name and "last" in name and "bias" in name for name in still), still
    assert terms["pull"] == terms["push"] == terms["offset"] == 0
    assert terms["heat"] > 0
    assert step._cache_size() == 1


def test_detections_lie_in_the_image():
    images = np.random.default_rng(4).uniform(size=(2, 48, 64, 3)).astype(np.float32)
    sizes = np.array([[48, 64], [40, 52]], np.int32)
    found = TASK.predict(applied()(variables(), images, sizes), {})
    assert set(found) == {"boxes", "scores", "classes", "valid"}
    assert found["boxes"].shape == (2, 5, 4)
    for boxes, valid, (h, w) in zip(np.asarray(found["boxes"]), np.asarray(found["valid"]), sizes):
        assert np.all(boxes[valid] >= 0)
        assert np.all(boxes[valid] <= [w, h, w, h])
        assert not np.any(boxes[~valid])
