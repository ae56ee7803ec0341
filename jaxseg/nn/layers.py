"""The few layers every network here is made of: convolution, transposed convolution, normalisation, input scaling.

They hold parameters and call the pure functions of :mod:`jaxseg.ops`. Padding is an explicit integer, as in PyTorch,
so that imported weights mean the same on odd sizes.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxseg import ops
from jaxseg.types import Array, JaxsegError, example_indices

Dtype = Any
Init = Callable[..., Array]
NormKind = Literal["none", "batch", "group", "frozen"]


def he_normal(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
    """Gaussian of standard deviation sqrt(2 / fan_in) (He et al. 2015, section 2.2; U-Net, section 3)."""
    return nn.initializers.variance_scaling(2.0, "fan_in", "normal")(key, shape, dtype)


class Normalization(NamedTuple):
    """What a network expects of its input: ``(image - mean) / std``, image RGB in [0, 1]."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    def __call__(self, images: Array) -> Array:
        mean, std = (_per_channel(jnp.asarray(v, images.dtype)) for v in self)
        return (images - mean) / std


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = Normalization(
    (122.67892 / 255, 116.66877 / 255, 104.00699 / 255), (1 / 255, 1 / 255, 1 / 255)
)  # Caffe's ImageNet mean; weights trained on BGR have their first kernel's input channels reversed on import


class Conv(nn.Module):
    """2-D convolution (cross-correlation) of ``[B, H, W, C]``; kernel ``[kh, kw, C / groups, features]``.

    Several arrays count as their concatenation along the channels (:func:`jaxseg.ops.conv`). ``groups = C = features``
    is a depthwise convolution.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    use_bias: bool = True
    dtype: Dtype = jnp.float32
    kernel_init: Init = he_normal
    bias_init: Init = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...] | list[Array]) -> Array:
        parts = x if isinstance(x, tuple | list) else (x,)
        channels = sum(p.shape[-1] for p in parts) // self.groups
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = ops.conv(
            tuple(p.astype(self.dtype) for p in parts),
            kernel.astype(self.dtype),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        if self.use_bias:
            y = y + _per_channel(self.param("bias", self.bias_init, (self.features,)).astype(self.dtype))
        return y


class ConvTranspose(nn.Module):
    """Transposed convolution of ``[B, H, W, C]``: each input stamps a weighted copy of the kernel, overlaps add."""

    features: int
    kernel_size: int = 2
    stride: int = 2
    padding: int = 0
    output_padding: int = 0
    use_bias: bool = True
    dtype: Dtype = jnp.float32
    kernel_init: Init = he_normal

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        geometry = (self.stride, self.padding, self.output_padding)
        y = ops.transposed_conv(x.astype(self.dtype), kernel.astype(self.dtype), *geometry)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            y = y + _per_channel(bias.astype(self.dtype))
        return y


class Norm(nn.Module):
    """Normalisation of ``[B, H, W, C]`` over what ``kind`` says, with a learnt scale and bias per channel.

    ``batch``   over B, H, W of the whole (global) batch in training, by running averages otherwise
                (Ioffe & Szegedy 2015). ``running = momentum * running + (1 - momentum) * batch``; the running
                variance is the biased one, as in Flax (PyTorch's is unbiased).
    ``frozen``  by stored statistics always; scale and bias get no gradient.
    ``group``   over H, W and groups of channels of one image (Wu & He 2018): 32 groups, or the most that divide C.
    ``none``    the input itself.
    """

    kind: NormKind = "batch"
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        if self.kind == "none":
            return x
        if self.kind == "group":
            groups = next(g for g in range(min(32, x.shape[-1]), 0, -1) if x.shape[-1] % g == 0)
            y = nn.GroupNorm(groups, epsilon=self.epsilon, name="group")(x.astype(jnp.float32))
            return y.astype(self.dtype)
        if self.kind not in ("batch", "frozen"):
            raise JaxsegError(f"norm is {self.kind!r}; it can be none, batch, group or frozen")
        features = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), features)
        bias = self.param("bias", nn.initializers.zeros_init(), features)
        mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        if self.kind == "batch" and train:
            if x.shape[0] * x.shape[1] * x.shape[2] == 1 and not self.is_initializing():
                raise JaxsegError(
                    f"batch normalisation of {list(x.shape)} in training: each channel has a single value, which "
                    'would be replaced by its bias; use two images a device or more, or norm="group" or "frozen"'
                )
            y, batch_mean, batch_var = ops.batch_norm(x, scale, bias, self.epsilon)
            if not self.is_initializing():
                mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
                var.value = self.momentum * var.value + (1 - self.momentum) * batch_var
            return y.astype(self.dtype)
        if self.kind == "frozen":
            scale, bias = lax.stop_gradient(scale), lax.stop_gradient(bias)
        gain = scale / jnp.sqrt(var.value + self.epsilon)
        shift = bias - mean.value * gain
        return x * _per_channel(gain.astype(x.dtype)) + _per_channel(shift.astype(x.dtype))


class Dropout(nn.Module):
    """Zeroes each value with probability ``rate`` in training and divides the rest by ``1 - rate``.

    Each example draws from its own key, by its place in the global batch: jit, pmap and one device give equal masks.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        if not train or self.rate == 0.0:
            return x
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("dropout"), example_indices(x.shape[0]))
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        return jnp.where(keep, x / (1 - self.rate), 0)


def round_up(n: int, multiple: int) -> int:
    """The next multiple. (As a quotient, not a remainder: so jax follows the sizes of a program exported for any.)"""
    return -(-n // multiple) * multiple


def pad_to_multiple(x: Array, multiple: int, value: float = 0.0) -> Array:
    """Zeros, or ``value``, below and to the right of ``[B, H, W, C]``, until H and W are multiples."""
    _, h, w, _ = x.shape
    pad_h, pad_w = (round_up(n, multiple) - n for n in (h, w))
    border = ((0, 0), (0, pad_h), (0, pad_w), (0, 0))
    return jnp.pad(x, border, constant_values=value) if pad_h or pad_w else x


def _per_channel(v: Array) -> Array:
    """``[C]`` -> ``[1, 1, 1, C]``: broadcast on purpose, which jax can be told to insist on."""
    return v[None, None, None, :]
