"""How long a prediction takes, of each detector on drawn pictures: network, boxes, and what its heads say.

``python -m benchmarks.predict [CONFIG ...] [--batch 8] [--rounds 9] [--published 512]``

Shipped configs (by default all detectors on shapes and solids), with parameters as they begin, on pictures of their
validation source: compile time in s, and of the compiled step the median in ms and pictures a second. With
``--published SIDE`` also the papers' networks, of one picture of that side. In turns, one process.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.roi_nms import interleaved
from jaxseg import config, models
from jaxseg.data import eval_batches
from jaxseg.infer.instances import prediction_program

CONFIGS = (
    *("faster_rcnn_shapes", "mask_rcnn_shapes", "keypoint_rcnn_shapes", "cornernet_shapes", "panoptic_fpn_shapes"),
    *("densecap_shapes", "all_heads_shapes", "mesh_rcnn_solids"),
)
PUBLISHED: dict[str, Callable[[], Any]] = {
    "Mask R-CNN R50": partial(models.MaskRCNNResNet50, 80),
    "Keypoint R-CNN R50": models.KeypointRCNNResNet50,
    "Panoptic FPN R50": partial(models.PanopticFPNResNet50, 80),
    "DenseCap VGG-16": partial(models.DenseCapVGG16, 10_501),
    "Mesh R-CNN R50": partial(models.MeshRCNNResNet50, 9),
    "CornerNet-104": partial(models.CornerNetHourglass104, 80),
}


def of_config(name: str, batch_size: int) -> tuple[float, Callable[[], Any]]:
    e = config.load_config(name)
    d = e.data
    batch = next(eval_batches(d.val, d.prepare, batch_size=batch_size, num_threads=0))
    batch = {key: jnp.asarray(value) for key, value in batch.items()}
    init = partial(e.model.init, train=False)
    variables = jax.jit(init)(jax.random.key(0), *e.task.inputs(batch)[:2])
    return compiled(prediction_program(e), variables, batch)


def of_network(make: Callable[[], Any], side: int) -> tuple[float, Callable[[], Any]]:
    model, image = make(), jnp.asarray(np.random.default_rng(0).random((1, side, side, 3), np.float32))
    variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), image)
    return compiled(jax.jit(partial(model.apply, train=False)), variables, image)


def compiled(program: Any, *arguments: Any) -> tuple[float, Callable[[], Any]]:
    start = time.perf_counter()
    ready = program.lower(*arguments).compile()
    return time.perf_counter() - start, lambda: jax.block_until_ready(ready(*arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=CONFIGS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--published", type=int, default=0, metavar="SIDE")
    arguments = parser.parse_args()
    table([(name, arguments.batch, of_config(name, arguments.batch)) for name in arguments.configs], arguments.rounds)
    for name, make in PUBLISHED.items() if arguments.published else ():  # one after another: they are large
        table([(name, 1, of_network(make, arguments.published))], arguments.rounds)


def table(made: list[tuple[str, int, tuple[float, Callable[[], Any]]]], rounds: int) -> None:
    times = interleaved(rounds, *(run for _, _, (_, run) in made))
    for (name, count, (compiling, _)), taken in zip(made, times, strict=True):
        median = statistics.median(taken)
        print(f"{name:22} compile {compiling:6.1f} s   {median:8.1f} ms   {1e3 * count / median:7.1f} pictures/s")


if __name__ == "__main__":
    main()
