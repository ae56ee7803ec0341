"""One image classified window by window and all windows at once: ``python benchmarks/sliding_window.py [--side 64]``.

Prints, for the network of Ciresan et al. 2012 (window of 95), the time of both, the ratio of the times and that of the
multiplications, and how far apart the scores are. The windows go in batches, so that it is the work that is compared
and not the number of calls.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.models.sliding_window import SlidingWindow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64, help="side of the image in pixels")
    parser.add_argument("--batch", type=int, default=256, help="windows at a time")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    side, batch = arguments.side, arguments.batch
    model = SlidingWindow(2)
    image = np.random.default_rng(0).random((1, side, side, 3)).astype(np.float32)
    variables = jax.jit(lambda key: model.init(key, jnp.zeros((1, 95, 95, 3)), train=True))(jax.random.key(0))

    @jax.jit
    def all_at_once(image):
        return model.apply(variables, image, train=False)["logits"][0]

    @jax.jit
    def one_by_one(image):
        margin = model.window // 2
        wide = jnp.pad(image[0], ((margin, margin), (margin, margin), (0, 0)), mode="reflect")

        def score(pixel):
            corner = (pixel // side, pixel % side, 0)
            window = jax.lax.dynamic_slice(wide, corner, (model.window, model.window, 3))
            return model.apply(variables, window[None], train=True)["logits"][0, 0, 0]

        return jax.lax.map(score, jnp.arange(side * side), batch_size=batch).reshape(side, side, -1)

    difference = np.abs(all_at_once(image) - one_by_one(image)).max()
    dense, sliding = (timed(f, image, arguments.rounds) for f in (all_at_once, one_by_one))
    work = [model.operations((side, side), dense=d) for d in (True, False)]
    print(f"{side}x{side} pixels, windows of {model.window}, {jax.default_backend()}")
    print(f"| | seconds | multiplications |\n|---|---|---|\n| window by window | {sliding:.3f} | {work[1]:.3g} |")
    print(f"| all at once | {dense:.4f} | {work[0]:.3g} |\n| ratio | {sliding / dense:.0f} | {work[1] / work[0]:.0f} |")
    print(f"largest difference of two scores: {difference:.1e}")


def timed(f, image, rounds: int) -> float:
    """Median seconds of a call that has been compiled."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(f(image))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
