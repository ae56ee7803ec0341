"""The loss of keypoints as places of a heat map."""

import jax
import jax.numpy as jnp

from jaxseg.losses.reduce import weighted_mean
from jaxseg.types import Array, JaxsegError


def keypoint_loss(logits: Array, targets: Array, valid: Array) -> Array:
    """Cross-entropy of each keypoint's place among all cells of its map, a softmax over space (He et al. 2017,
    section 5): the mean over the keypoints that count.

    Args:
      logits: ``[B, R, M, M, P]``.
      targets: ``[B, R, P]`` int, row times M plus column (:func:`jaxseg.ops.keypoint_targets`).
      valid: ``[B, R, P]``. What is not valid may hold anything; where none is the loss is 0.
    """
    b, r, m, _, p = logits.shape
    if logits.shape != (b, r, m, m, p) or targets.shape != (b, r, p) or valid.shape != (b, r, p):
        raise JaxsegError(
            f"keypoint_loss: logits {list(logits.shape)}, targets {list(targets.shape)} and valid {list(valid.shape)}; "
            "expected [B, R, M, M, P] and [B, R, P] twice"
        )
    flat = jnp.where(valid[:, :, None], logits.reshape(b, r, m * m, p), 0).astype(jnp.float32)
    own = jnp.take_along_axis(flat, jnp.where(valid, targets, 0)[:, :, None], axis=2)[:, :, 0]
    return weighted_mean(jax.nn.logsumexp(flat, axis=2) - own, valid)
