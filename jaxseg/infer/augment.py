"""Test-time augmentation: one prediction from several looks at the same image."""

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp

from jaxseg import ops
from jaxseg.nn.heads import enlarge
from jaxseg.types import Array, JaxsegError


def average_views(
    logits: Callable[[Array], Array], *, scales: Sequence[float] = (1.0,), flip: bool = False
) -> Callable[[Array], Array]:
    """``images [B, H, W, 3] -> log(mean over views of softmax(logits of the view))``, ``[B, H, W, K]`` float32.

    A view is the image scaled by one of ``scales`` (bilinear, antialiased where it shrinks), as it is and with ``flip``
    also mirrored left and right; its logits are brought back to H x W bilinearly and mirrored back before the softmax
    (DeepLab v3, Chen et al. 2017, section 4.1; DeepLab v2 took the maximum over scales instead of the mean).
    Logarithms, since these can be enlarged and compared like logits, and stay finite.

    Every size follows from that of ``images``: under jit it is one program. ``logits`` may give fewer pixels than it is
    given (its centre) where the only scale is 1.

    Raises JaxsegError for scales that are not positive or leave no pixel, and for logits that can't be scaled.
    """
    scales = tuple(scales)
    if not scales or not all(math.isfinite(s) and s > 0 for s in scales):
        raise JaxsegError(f"scales {scales}; give at least one, all positive, as 0.75, 1 and 1.25")

    def averaged(images: Array) -> Array:
        views = [_view(logits, images, scale, mirror) for scale in scales for mirror in (False, True)[: 1 + flip]]
        return reduce(jnp.logaddexp, views) - math.log(len(views))

    return averaged


def _view(logits: Callable[[Array], Array], images: Array, scale: float, mirror: bool) -> Array:
    """Log-probabilities of one view, on the pixels of ``images``."""
    size = images.shape[1:3]
    h, w = (round(scale * side) for side in size)
    if min(h, w) < 1:
        raise JaxsegError(f"scale {scale} leaves nothing of an image of {size[0]}x{size[1]} pixels; give a larger one")
    x = images
    if (h, w) != size:
        x = jax.vmap(partial(ops.resize_bilinear, size=(h, w), antialias=True))(images)
    y = logits(x[:, :, ::-1])[:, :, ::-1] if mirror else logits(x)
    if (h, w) != size:
        if y.shape[1:3] != (h, w):
            raise JaxsegError(
                f"the model scores {y.shape[1]}x{y.shape[2]} of {h}x{w} pixels, so its scores can't be brought back "
                "from another scale; leave scales at 1"
            )
        y = enlarge(y, size)
    return jax.nn.log_softmax(y.astype(jnp.float32), axis=-1)
