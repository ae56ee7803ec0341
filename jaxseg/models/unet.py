"""U-Net (Ronneberger, Fischer & Brox, MICCAI 2015), with valid convolutions as in the paper, or padded.

Followed: two 3x3 convolutions and ReLU a level, 2x2 max-pooling with stride 2 and twice the channels on the
way down, 2x2 up-convolution with half the channels, concatenation with the centre-cropped skip and two 3x3
convolutions on the way up, a 1x1 convolution to the scores (figure 1: 572 -> 388); dropout at the end of
the contracting path (section 3.1); Gaussian initialisation of standard deviation sqrt(2 / N) (section 3).

Departs: ``padding="same"`` (default) pads each convolution by 1, so the scores have the image's size; any
size works, since the image is padded to the next multiple of ``2 ** depth`` inside and the scores are
cropped back. ``padding="mirror"`` keeps the valid convolutions and gives them the context they need by
mirroring the image at its border, as the paper does for the missing context of its tiles (section 2, figure
2). The normalisation after each convolution is a choice; the paper has ``"none"``.
"""

from functools import partial
from typing import Any, Literal

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import Conv, ConvTranspose, Dropout, Norm, Normalization
from jaxseg.nn.layers import NormKind, pad_to_multiple
from jaxseg.types import Array, JaxsegError, Outputs


class DoubleConv(nn.Module):
    """Two times 3x3 convolution, normalisation, ReLU."""

    features: int
    padding: int
    norm: NormKind
    dtype: Any

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...] | list[Array], train: bool) -> Array:
        for i in (1, 2):
            conv = partial(Conv, use_bias=self.norm in ("none", "group"), dtype=self.dtype)
            x = conv(self.features, 3, padding=self.padding, name=f"conv{i}")(x)
            x = nn.relu(Norm(self.norm, dtype=self.dtype, name=f"norm{i}")(x, train=train))
        return x


class UNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H', W', K] float32, "features": [level 0, ..., bottom]}``.

    ``padding="same"`` and ``"mirror"``: H' = H for any H, W >= 1. ``padding="valid"``: H' as
    :func:`valid_output_size` says, and only sizes that it admits. ``base`` is the number of channels at
    full resolution, doubled ``depth`` times. ``remat`` recomputes each level's activations in the backward
    pass: less memory, about a third more work (XLA on a CPU merges the recomputation away again).
    """

    num_classes: int
    base: int = 64
    depth: int = 4
    padding: Literal["same", "valid", "mirror"] = "same"
    norm: NormKind = "none"
    dropout: float = 0.5
    remat: bool = False
    normalization: Normalization = Normalization()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        _, h, w, _ = images.shape
        x = self.normalization(images).astype(self.dtype)
        if self.padding == "same":
            x = pad_to_multiple(x, 2**self.depth)
        elif self.padding == "mirror":
            x = _mirror_border(x, self.depth)
        else:
            for side in (h, w):
                valid_output_size(side, self.depth)  # refuses what does not fit
        block_type = nn.remat(DoubleConv, static_argnums=(2,)) if self.remat else DoubleConv
        block = partial(block_type, padding=int(self.padding == "same"), norm=self.norm, dtype=self.dtype)

        skips = []
        for level in range(self.depth):
            x = block(self.base * 2**level, name=f"down{level}")(x, train)
            skips.append(x)
            x = ops.max_pool(x, 2)
        x = block(self.base * 2**self.depth, name="bottom")(x, train)
        x = Dropout(self.dropout)(x, train=train)
        features = [*skips, x]
        for level in reversed(range(self.depth)):
            x = ConvTranspose(self.base * 2**level, 2, 2, dtype=self.dtype, name=f"up_conv{level}")(x)
            both = (_centre_crop(skips[level], x.shape[1:3]), x)  # concatenated, to the convolution
            x = block(self.base * 2**level, name=f"up{level}")(both, train)
        logits = Conv(self.num_classes, 1, dtype=self.dtype, name="score")(x).astype(jnp.float32)
        return {"logits": logits[:, :h, :w], "features": features}


def valid_output_size(size: int, depth: int = 4) -> int:
    """Side of the scores of a valid U-Net for an image of side ``size``: 572 -> 388.

    Raises for a side that some pooling would not halve evenly, naming the nearest that fit (section 2).
    """
    out = _valid_chain(size, depth)
    if out is None:
        smaller = next((s for s in range(size, 0, -1) if _valid_chain(s, depth) is not None), None)
        larger = next(s for s in range(size, size + 10 * 2**depth) if _valid_chain(s, depth) is not None)
        raise JaxsegError(
            f"a U-Net with valid convolutions and {depth} poolings can't take a side of {size}: a pooling "
            "would see "
            f"an odd side; pad to {larger}" + (f" or crop to {smaller}" if smaller else "")
        )
    return out


def _valid_chain(size: int, depth: int) -> int | None:
    for _ in range(depth):
        size -= 4
        if size < 2 or size % 2:
            return None
        size //= 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return size if size >= 1 else None


def _mirror_border(x: Array, depth: int) -> Array:
    """Mirror the image so far out that the valid scores begin at its first pixel and reach at least its
    last."""

    def border(size: int) -> tuple[int, int]:
        fits = ((s, _valid_chain(s, depth)) for s in range(size, size + 20 * 2**depth))
        padded, out = next((s, out) for s, out in fits if out is not None and out >= size)
        margin = (padded - out) // 2  # the same on both sides: all kernels are 3x3
        return margin, padded - size - margin

    return jnp.pad(x, ((0, 0), border(x.shape[1]), border(x.shape[2]), (0, 0)), mode="reflect")


def _centre_crop(x: Array, size: tuple[int, ...]) -> Array:
    top, left = (x.shape[1] - size[0]) // 2, (x.shape[2] - size[1]) // 2
    return x[:, top : top + size[0], left : left + size[1]]
