"""RoIAlign and NMS against onnxruntime's compiled operators on this CPU: time, memory, agreement.

``python benchmarks/roi_nms.py [--rounds 15]`` (needs ``pip install onnx onnxruntime``)

RoIAlign on P2 to P5 of a 512x512 image, 256 channels, boxes of the sizes that proposals have; onnxruntime runs each
level's boxes for itself. NMS with threshold 0.7, of clustered and of uniform boxes. In turns in one process; ratio:
onnxruntime's time to jaxseg's (median of the rounds).

glibc is told to keep what is freed, as onnxruntime's own allocator does: by default each call's results and temporary
memory are fetched from the system again, page by page, which takes longer than RoIAlign itself (``--default-malloc``).
"""

import argparse
import ctypes
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.ops import feature_levels, multilevel_roi_align, nms

STRIDES = (4, 8, 16, 32)
SCALES = tuple(1 / s for s in STRIDES)


def operator(name: str, inputs: dict[str, int], **attributes):
    """A session that runs one operator; ``inputs``: names and ONNX types."""
    import onnx
    import onnxruntime

    given = [onnx.helper.make_tensor_value_info(n, t, None) for n, t in inputs.items()]
    out = [onnx.helper.make_tensor_value_info("y", 1 if name == "RoiAlign" else 7, None)]
    graph = onnx.helper.make_graph([onnx.helper.make_node(name, list(inputs), ["y"], **attributes)], "g", given, out)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # its threads would slow what comes next
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def proposals(rng: np.random.Generator, n: int, extent: float = 512) -> np.ndarray:
    side = np.exp(rng.uniform(np.log(16), np.log(400), (n, 1)) + rng.normal(0, 0.3, (n, 2)))
    centre = rng.uniform(0, extent, (n, 2))
    return np.clip(np.concatenate([centre - side / 2, centre + side / 2], 1), 0, extent).astype(np.float32)


def clustered(rng: np.random.Generator, n: int, extent: float = 512) -> np.ndarray:
    centre = rng.uniform(40, extent - 40, (n // 20, 2))[rng.integers(0, n // 20, n)] + rng.normal(0, 6, (n, 2))
    side = rng.uniform(40, 90, (n, 2))
    return np.concatenate([centre - side / 2, centre + side / 2], 1).astype(np.float32)


def interleaved(rounds: int, *calls) -> list[list[float]]:
    for call in calls:
        call()
    times = [[] for _ in calls]
    for _ in range(rounds):
        for call, into in zip(calls, times):
            start = time.perf_counter()
            call()
            into.append(1e3 * (time.perf_counter() - start))
    return times


def roi_align(n: int, size: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    levels = [rng.normal(size=(512 // s, 512 // s, 256)).astype(np.float32) for s in STRIDES]
    boxes = proposals(rng, n)
    level = np.asarray(feature_levels(jnp.asarray(boxes))) - 2
    options = {"coordinate_transformation_mode": "half_pixel", "mode": "avg", "sampling_ratio": 2}
    sessions = [
        operator(
            "RoiAlign", {"x": 1, "rois": 1, "i": 7}, output_height=size, output_width=size, spatial_scale=s, **options
        )
        for s in SCALES
    ]
    channels_first = [np.ascontiguousarray(f.transpose(2, 0, 1))[None] for f in levels]
    mine = [np.flatnonzero(level == i) for i in range(len(STRIDES))]

    def theirs():
        for session, x, rows in zip(sessions, channels_first, mine):
            yield session.run(None, {"x": x, "rois": boxes[rows], "i": np.zeros(len(rows), np.int64)})[0]

    align = partial(multilevel_roi_align, output_size=size, spatial_scales=SCALES)
    features, b, at = [jnp.asarray(f) for f in levels], jnp.asarray(boxes), jnp.asarray(level)
    forward = jax.jit(align)
    y = forward(features, b, at)
    loss = lambda f, b: jnp.vdot(align(f, b, at), y)
    toward_features, both = (jax.jit(jax.grad(loss, argnums=a)) for a in (0, (0, 1)))
    run = lambda f, *args: partial(lambda: jax.block_until_ready(f(*args)))
    ours, other = interleaved(rounds, run(forward, features, b, at), lambda: list(theirs()))
    # By themselves: what they give back to the system the others would have to fetch again.
    (features_,), (both_,) = (interleaved(rounds, run(f, features, b)) for f in (toward_features, both))
    off = max(
        float(np.abs(np.asarray(y)[rows].transpose(0, 3, 1, 2) - t).max(initial=0)) for rows, t in zip(mine, theirs())
    )
    temporary = [
        f.lower(*a).compile().memory_analysis().temp_size_in_bytes / 1e6
        for f, a in ((forward, (features, b, at)), (both, (features, b)))
    ]
    median = statistics.median
    print(
        f"| {n} RoIs, {size}x{size} | {median(ours):.1f} | {median(other):.1f} | "
        f"{median(o / m for o, m in zip(other, ours)):.1f} | {median(features_):.1f} | {median(both_):.1f} | "
        f"{temporary[0]:.0f} | {temporary[1]:.0f} | {off:.0e} |",
        flush=True,
    )


def suppression(n: int, kind: str, rounds: int) -> None:
    rng = np.random.default_rng(1)
    boxes = (clustered if kind == "clustered" else proposals)(rng, n)
    scores = rng.permutation(n).astype(np.float32) / n
    session = operator("NonMaxSuppression", {"b": 1, "s": 1, "m": 7, "t": 1}, center_point_box=0)
    feed = {
        "b": boxes[None, :, [1, 0, 3, 2]], "s": scores[None, None], "m": np.int64([n]), "t": np.float32([0.7])
    }  # fmt: skip
    f = jax.jit(partial(nms, iou_threshold=0.7, max_outputs=n))
    b, s = jnp.asarray(boxes), jnp.asarray(scores)
    ours, other = interleaved(rounds, lambda: jax.block_until_ready(f(b, s)), lambda: session.run(None, feed))
    kept = f(b, s)
    same = np.array_equal(np.asarray(kept.indices)[np.asarray(kept.valid)], session.run(None, feed)[0][:, 2])
    median = statistics.median
    ratio = median(o / m for o, m in zip(other, ours))
    number = int(kept.valid.sum())
    print(f"| {n} {kind} | {number} | {median(ours):.2f} | {median(other):.2f} | {ratio:.1f} | {same} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--default-malloc", action="store_true")
    args = parser.parse_args()
    if not args.default_malloc:
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-8, 1)):  # mmap threshold, trim threshold, arenas
            libc.mallopt(option, value)
    names = ["RoIAlign", "jaxseg ms", "onnxruntime ms", "ratio", "toward features ms", "and boxes ms"]
    print("|", " | ".join([*names, "temporary MB", "with gradients MB", "max difference"]), "|\n" + "|---" * 9 + "|")
    for n, size in ((512, 7), (1000, 7), (512, 14), (1000, 14)):
        roi_align(n, size, args.rounds)
    print("\n| NMS | kept | jaxseg ms | onnxruntime ms | ratio | same indices |\n" + "|---" * 6 + "|")
    for n in (1000, 2000):
        for kind in ("clustered", "uniform"):
            suppression(n, kind, 3 * args.rounds)


if __name__ == "__main__":
    main()
