"""Counters that stay exact on the device for as long as a data set lasts.

jax has no 64-bit integers unless told so, int32 ends at 2^31 and float32 skips numbers from 2^24 on;
Cityscapes' training set alone has 2^32.5 pixels. A counter is therefore two uint32 arrays, ``value = hi *
2^32 + lo``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.types import DATA_AXIS, Array

Counter = dict[str, Any]
"""``hi`` and ``lo``, uint32 arrays of one shape."""


def zeros(shape: tuple[int, ...]) -> Counter:
    """A counter of nothing."""
    return {"hi": jnp.zeros(shape, jnp.uint32), "lo": jnp.zeros(shape, jnp.uint32)}


def add(counter: Counter, increment: Array) -> Counter:
    """``counter + increment``, the increment an integer array of counts below 2^32."""
    return merge(counter, {"hi": jnp.zeros_like(counter["hi"]), "lo": increment.astype(jnp.uint32)})


def merge(a: Counter, b: Counter) -> Counter:
    """``a + b``. A sum of the low words that came out smaller than a summand has wrapped: carry one."""
    lo = jnp.asarray(a["lo"]) + jnp.asarray(b["lo"])
    carry = (lo < jnp.asarray(a["lo"])).astype(jnp.uint32)
    return {"hi": jnp.asarray(a["hi"]) + jnp.asarray(b["hi"]) + carry, "lo": lo}


def to_host(counter: Counter) -> np.ndarray:
    """The counts as int64 on the host (exact below 2^63)."""
    hi, lo = (np.asarray(jax.device_get(counter[word])).astype(np.int64) for word in ("hi", "lo"))
    return (hi << 32) + lo


def sum_over_devices(counts: Array) -> Array:
    """``psum`` of counts over ``DATA_AXIS`` where that axis is mapped (pmap, shard_map); the counts
    elsewhere.

    The counterpart of :func:`jaxseg.types.mean_over_devices`: every device then holds the counts of all of
    them, so a mapped ``update`` keeps a replicated state, of which any one copy is the answer.
    """
    try:
        lax.axis_index(DATA_AXIS)
    except NameError:  # jax's word for an axis that is not mapped here
        return counts
    return lax.psum(counts, DATA_AXIS)
