"""Things and stuff put together, against detectron2's rule written plainly."""

from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxseg import ops
from jaxseg.types import JaxsegError

D, H, W, K, T = 7, 24, 30, 3, 4


def scene(seed):
    """Overlapping rectangles with scores, some of them alike, and a map of things and stuff."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((D, H, W), bool)
    for mask in masks:
        y, x = rng.integers(0, H - 3), rng.integers(0, W - 3)
        mask[y : y + rng.integers(2, 14), x : x + rng.integers(2, 14)] = True
    scores = rng.choice(np.float32([0.2, 0.4, 0.5, 0.6, 0.7, 0.9]), D)
    semantic = np.kron(rng.integers(0, K + 1, (4, 5)), np.ones((6, 6), int)).astype(np.int32)
    return {
        "masks": masks,
        "boxes": None,
        "scores": scores,
        "classes": rng.integers(1, T + 1, D).astype(np.int32),
        "valid": rng.random(D) < 0.8,
        "semantic": semantic,
    }


def plainly(s, overlap=0.5, stuff_area=20, score=0.5):
    """``{(class, pixels)}`` as detectron2's combine_semantic_and_instance_outputs finds them."""
    taken, found = np.zeros((H, W), bool), set()
    for i in np.argsort(-s["scores"], kind="stable"):
        if not s["valid"][i] or s["scores"][i] < score:
            continue
        mask = s["masks"][i]
        shared = (mask & taken).sum()
        if mask.sum() == 0 or shared / mask.sum() > overlap:
            continue
        mask = mask & ~taken
        found.add((K - 1 + int(s["classes"][i]), mask.tobytes()))
        taken |= mask
    for k in range(1, K + 1):
        mask = (s["semantic"] == k) & ~taken
        if mask.sum() >= stuff_area:
            found.add((k - 1, mask.tobytes()))
    return found


def as_set(segments):
    ids, classes, valid = (np.asarray(x) for x in (segments.ids, segments.classes, segments.valid))
    assert set(np.unique(ids)) - {0} == set(np.flatnonzero(valid) + 1)
    return {(int(classes[s]), (ids == s + 1).tobytes()) for s in np.flatnonzero(valid)}


merge = partial(ops.merge_segments, num_stuff=K, stuff_area=20)


@pytest.mark.parametrize("seed", range(20))
def test_as_the_plain_rule(seed):
    s = scene(seed)
    assert as_set(jax.jit(merge)(**s)) == plainly(s)
    assert as_set(jax.jit(partial(merge, overlap=0.2, score=0.0))(**s)) == plainly(s, overlap=0.2, score=0.0)


def test_many_at_once_as_one_by_one():
    scenes = [scene(seed) for seed in range(4)]
    batch = {k: None if v is None else np.stack([s[k] for s in scenes]) for k, v in scenes[0].items()}
    many, one = jax.jit(jax.vmap(lambda batch: merge(**batch)))(batch), jax.jit(merge)
    for i, s in enumerate(scenes):
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a)[i], b), many, one(**s))  # noqa: B023


def test_under_shard_map():
    scenes = [scene(seed) for seed in range(4)]
    batch = {k: np.stack([s[k] for s in scenes]) for k in scenes[0] if k != "boxes"}
    many = jax.vmap(lambda batch: merge(boxes=None, **batch))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.shard_map(many, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    jax.tree.map(np.testing.assert_array_equal, jax.jit(spread)(batch), jax.jit(many)(batch))


def test_masks_in_boxes_are_pasted():
    s = scene(3)
    boxes = np.asarray(jax.jit(jax.vmap(ops.mask_box))(s["masks"]))
    seen = s | {"boxes": boxes, "masks": np.ones((D, 14, 14), np.float32)}
    paste = jax.jit(partial(ops.paste_masks, size=(H, W)))
    inside = np.asarray(paste(seen["masks"], boxes)) >= 0.5
    assert as_set(jax.jit(merge)(**seen)) == plainly(s | {"masks": inside})


def test_beyond_the_image_is_nothing():
    s = scene(1)
    segments = jax.jit(merge)(**s, size=np.array([15, 20]))
    ids = np.asarray(segments.ids)
    assert not ids[15:].any()
    assert not ids[:, 20:].any()
    cut = np.zeros((H, W), bool)
    cut[:15, :20] = True
    assert as_set(segments) == plainly(s | {"masks": s["masks"] & cut, "semantic": np.where(cut, s["semantic"], 0)})


def test_nothing_found_and_nothing_there():
    s = scene(0) | {"valid": np.zeros(D, bool), "semantic": np.zeros((H, W), np.int32)}
    segments = jax.jit(merge)(**s)
    assert not np.asarray(segments.ids).any()
    assert not np.asarray(segments.valid).any()


def test_shapes_that_do_not_belong_together():
    with pytest.raises(JaxsegError, match=r"merge_segments: masks have shape \(7, 24, 30\).*expected \[D, M, M\]"):
        merge(**scene(0) | {"boxes": np.zeros((D, 4), np.float32)})
