"""A window slid over the image: a small network classifies its centre pixel (Ciresan et al., NIPS 2012, their N4).

Followed: four times convolution and 2x2 max-pooling, one hidden layer of 200, the classes (table 1: kernels 4, 5, 4, 4,
48 maps each, a window of 95); the image is mirrored at its border so that every pixel has a whole window (section 2);
training on windows of sampled pixels, equally many of each class (:class:`jaxseg.data.PixelWindow`).

An image is not cut into windows to predict on it: without strides every layer is computed once for all windows, and the
poolings' strides become the dilation of what follows ("filter rarefaction", Long et al. 2015, section 3.2; as fragments
in Giusti et al. 2013). The scores are those of the windows one by one.

Departs: rectified linear units and He's initialisation. In place of the paper's polynomial calibration for the balanced
classes there is ``priors``. Left out: foveation and non-uniform sampling (section 2.2), by which a pixel would look
different in every window, so that nothing could be shared; for the mean of several nets there is
:func:`jaxseg.models.deconvnet.ensemble`.
"""

from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import Conv, Normalization
from jaxseg.types import Array, JaxsegError, Outputs


class SlidingWindow(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32}``; in training windows -> ``[B, 1, 1, K]``.

    In training images are taken as they are: logits are those of the pixels that have a whole window, ``[B, H - window
    + 1, W - window + 1, K]``. Otherwise the image is mirrored about its border first, so that all pixels have one. Any
    H, W >= 1. ``kernels``: sides of the convolutions, each before a 2x2 pooling; ``top``: side of the last map, which
    the hidden layer sees whole. ``priors``: the classes' frequencies, for a network that was trained on equally many
    pixels of each: by Bayes' rule their logarithm is added to the logits, but not in training.
    """

    num_classes: int
    kernels: tuple[int, ...] = (4, 5, 4, 4)
    top: int = 3
    features: int = 48
    fc_features: int = 200
    priors: tuple[float, ...] | None = None
    normalization: Normalization = Normalization()
    dtype: Any = jnp.float32

    @property
    def window(self) -> int:
        """Side of the window in pixels: 95 for the paper's N4."""
        side = self.top
        for kernel in reversed(self.kernels):
            side = 2 * side + kernel - 1
        return side

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        if self.window % 2 == 0:
            raise JaxsegError(
                f"kernels {self.kernels} and top {self.top} make a window of {self.window} without a centre pixel; "
                "make the first kernel even"
            )
        x = self.normalization(images).astype(self.dtype)
        if not train:
            margin = self.window // 2
            x = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
        if any(n < self.window for n in x.shape[1:3]):
            raise JaxsegError(
                f"training on {x.shape[1]}x{x.shape[2]} pixels; a window has {self.window}: use larger crops"
            )
        alone = x.shape[1:3] == (self.window, self.window)  # one window: strides compute nothing twice
        dilation = 1
        for i, kernel in enumerate(self.kernels, 1):
            conv = Conv(self.features, kernel, dilation=dilation, dtype=self.dtype, name=f"conv{i}")
            x = nn.relu(conv(x))
            x = ops.max_pool(x, 2) if alone else pool_everywhere(x, dilation)
            dilation *= 1 if alone else 2
        x = nn.relu(Conv(self.fc_features, self.top, dilation=dilation, dtype=self.dtype, name="fc")(x))
        logits = Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x).astype(jnp.float32)
        if self.priors is not None and not train:
            logits = logits + jnp.log(jnp.maximum(jnp.asarray(self.priors, jnp.float32), 1e-6))[None, None, None]
        return {"logits": logits}

    def operations(self, size: tuple[int, int], *, dense: bool = True) -> int:
        """Multiplications for an image of (H, W) = ``size``: all windows at once (``dense``), or one after another."""
        (h, w), channels, dilation, total = size, 3, 1, 0
        rows, columns = (h + self.window - 1, w + self.window - 1) if dense else (self.window, self.window)
        for kernel in self.kernels:
            rows, columns = (n - dilation * (kernel - 1) for n in (rows, columns))
            total += rows * columns * kernel * kernel * channels * self.features
            channels = self.features
            rows, columns = (rows - dilation, columns - dilation) if dense else (rows // 2, columns // 2)
            dilation *= 2 if dense else 1
        head = self.top * self.top * channels * self.fc_features + self.fc_features * self.num_classes
        return total + head * h * w if dense else (total + head) * h * w


def pool_everywhere(x: Array, dilation: int) -> Array:
    """2x2 max-pooling without stride, its taps ``dilation`` apart: ``[B, H, W, C]`` -> ``[B, H - d, W - d, C]``."""
    x = jnp.maximum(x[:, :-dilation], x[:, dilation:])
    return jnp.maximum(x[:, :, :-dilation], x[:, :, dilation:])
