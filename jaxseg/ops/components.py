"""Connected regions of a mask, on the device."""

import jax.numpy as jnp
from jax import lax

from jaxseg.types import Array, JaxsegError


def largest_component(mask: Array) -> Array:
    """The largest connected region of a mask; pixels touch along a side or at a corner (8 neighbours).

    Each pixel begins with a number of its own and takes the greatest of its 3x3 neighbours within the mask until
    nothing changes: as many rounds as the longest way through a region has pixels. Under ``vmap`` all wait for the
    slowest.

    Args:
      mask: ``[H, W]`` bool.

    Returns:
      ``[H, W]`` bool. Of regions of equal size that whose first pixel comes first, row by row; all False where the
      mask is.

    Raises:
      JaxsegError: no mask of that kind.
    """
    if mask.ndim != 2 or mask.dtype != jnp.bool_:
        raise JaxsegError(f"mask is {mask.dtype} {list(mask.shape)}, expected bool [H, W]; vmap over more")
    pixels = mask.size
    seeds = jnp.where(mask, pixels - lax.iota(jnp.int32, pixels).reshape(mask.shape), 0)

    def spread(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        label, _ = carry
        around = lax.reduce_window(label, jnp.int32(0), lax.max, (3, 3), (1, 1), "SAME")
        grown = jnp.where(mask, around, 0)
        return grown, jnp.any(grown != label)

    label, _ = lax.while_loop(lambda carry: carry[1], spread, (seeds, jnp.any(mask)))
    # A region bears the number of its first pixel, counted from the end: sizes[i] is that of the one begun at pixel i.
    sizes = jnp.zeros(pixels + 1, jnp.int32).at[pixels - label.ravel()].add(1)[:-1]
    return mask & (label == pixels - jnp.argmax(sizes).astype(jnp.int32))


def mask_box(mask: Array) -> Array:
    """The smallest box that holds a mask ``[H, W]`` bool: (x1, y1, x2, y2), ``[4]`` float32; zeros if it is empty."""

    def ends(line: Array) -> tuple[Array, Array]:
        return jnp.argmax(line), line.size - jnp.argmax(line[::-1])

    (x1, x2), (y1, y2) = ends(jnp.any(mask, axis=0)), ends(jnp.any(mask, axis=1))
    return jnp.where(jnp.any(mask), jnp.stack([x1, y1, x2, y2]).astype(jnp.float32), 0.0)
