"""A window slid over an image pyramid: detection the classical way, as OverFeat shares it (Sermanet et al. 2014).

A small network says of a window of fixed size what it shows, and where its box is. Every window of every scaled copy of
the image is asked, and overlapping answers are thinned. One by one that is hopeless
(:meth:`PyramidDetector.operations`): proposals were invented for it.

Followed: the network has no padding, so that run over a whole picture it gives at each place what it gives for the
window cut out there, all windows at once (section 3.5); the picture at several scales (3.3); a regression of the box
beside the classes, on the same features, of windows that overlap an object by half (4.2, a box a class); background a
class, its windows drawn while training (5). Departs: one training of all windows that the pyramid has, 64 of an image,
in place of a classifier first; boxes of one object are thinned by suppression and not merged (4.3); strides are not
made finer by shifted poolings (3.3). Windows that reach beyond the image see zeros there.

Shapes are static: an image size and the scales give N windows.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import ops
from jaxseg.models.fast_rcnn import detections, normalized, roi_targets, true_instances, true_sizes
from jaxseg.nn import GIRSHICK_2015, Conv, Norm, RCNNConfig
from jaxseg.nn.layers import NormKind
from jaxseg.types import Array, JaxsegError, Outputs, example_indices

WINDOWS = GIRSHICK_2015._replace(roi_negative=0.4, roi_lowest=0.0)
"""A window that overlaps an object by 0.4 to 0.5 is neither it nor background."""


class WindowNetwork(nn.Module):
    """``[B, H, W, 3]`` normalised -> scores ``[B, h, w, K + 1]``, background first, and transforms ``[B, h, w, K, 4]``,
    float32: of each window, ``stride`` pixels apart. Convolutions, each but the last before a 2x2 pooling, then a
    hidden layer as large as what is left of a window.
    """

    num_classes: int
    kernels: tuple[int, ...] = (5, 3, 3)
    features: tuple[int, ...] = (16, 32, 64)
    hidden: int = 128
    top: int = 4
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @property
    def stride(self) -> int:
        return 2 ** (len(self.kernels) - 1)

    @property
    def window(self) -> int:
        """Side of the window in pixels."""
        side = self.top
        for i, kernel in enumerate(reversed(self.kernels)):
            side = side * (2 if i else 1) + kernel - 1
        return side

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, Array]:
        norm = partial(Norm, self.norm, dtype=self.dtype)
        for i, (kernel, width) in enumerate(zip(self.kernels, self.features, strict=True), 1):
            x = Conv(width, kernel, dtype=self.dtype, name=f"conv{i}")(x)
            x = nn.relu(norm(name=f"bn{i}")(x, train=train))
            x = ops.max_pool(x, 2) if i < len(self.kernels) else x
        x = Conv(self.hidden, self.top, dtype=self.dtype, name="fc")(x)
        x = nn.relu(norm(name="bn_fc")(x, train=train))
        last = partial(Conv, kernel_size=1, dtype=self.dtype)
        scores = last(self.num_classes + 1, kernel_init=nn.initializers.normal(0.01), name="score")(x)
        deltas = last(4 * self.num_classes, kernel_init=nn.initializers.normal(0.001), name="box")(x)
        deltas = deltas.reshape(*deltas.shape[:3], self.num_classes, 4)
        return scores.astype(jnp.float32), deltas.astype(jnp.float32)


class PyramidDetector(nn.Module):
    """``images [B, H, W, 3]``, of which ``sizes [B, 2]`` are image and the rest padding -> ``boxes [B, D, 4]``,
    ``scores [B, D]``, ``classes [B, D]`` from 1 and ``valid [B, D]``, detections in pixels, best first; in training
    instead ``roi``, what :func:`jaxseg.losses.roi_losses` takes, made with ``targets`` (see
    :class:`jaxseg.models.FastRCNN`), drawing from the generator ``sampling``.

    In either case ``windows [N, 4]``, ``logits_of`` and ``deltas_of`` them, ``[B, N, K + 1]`` and ``[B, N, K, 4]``, are
    among the outputs. ``scales``: of the copies, each at least so large that a window fits. ``margin``: zeros around
    each copy, in pixels of its own, so that windows reach objects at the edge. Any H, W.
    """

    network: WindowNetwork
    scales: tuple[float, ...] = (1.0,)
    margin: int = 0
    config: RCNNConfig = WINDOWS

    @nn.compact
    def __call__(
        self, images: Array, sizes: Array | None = None, targets: Any = None, *, train: bool = False
    ) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        sizes = true_sizes(images, sizes)
        x = normalized(self.config, images, sizes)
        windows = self.windows((images.shape[1], images.shape[2]))
        scores, deltas = [], []
        for h, w in self.copies((images.shape[1], images.shape[2])):
            m = self.margin
            resized = jax.vmap(partial(ops.resize_bilinear, size=(h, w)))(x)
            copy = jnp.pad(resized, ((0, 0), (m, m), (m, m), (0, 0)))
            s, d = self.network(copy, train=train)
            scores.append(s.reshape(x.shape[0], -1, s.shape[-1]))
            deltas.append(d.reshape(x.shape[0], -1, *d.shape[3:]))
        logits, moves = jnp.concatenate(scores, axis=1), jnp.concatenate(deltas, axis=1)
        outputs: Outputs = {"windows": windows, "logits_of": logits, "deltas_of": moves}
        boxes = jnp.asarray(windows)
        valid = jax.vmap(partial(_centre_inside, boxes))(sizes)
        if not train:
            detect = jax.vmap(partial(detections, self.config), (0, 0, None, 0, 0))
            return outputs | detect(nn.softmax(logits)[..., 1:], moves, boxes, valid, sizes)._asdict()
        if targets is None:
            raise JaxsegError("a detector is trained with targets: model.apply(variables, images, sizes, instances)")
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("sampling"), example_indices(len(images)))
        draw = partial(roi_targets, self.config, with_truth=False)
        roi = jax.vmap(lambda key, valid, truth: draw(key, (boxes, valid), truth))(keys, valid, true_instances(targets))
        roi["logits"] = jnp.take_along_axis(logits, roi["index"][..., None], axis=1)
        roi["deltas"] = jnp.take_along_axis(moves, roi["index"][..., None, None], axis=1)
        return outputs | {"roi": roi}

    def copies(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width of each scaled copy."""
        found = [(max(1, round(size[0] * s)), max(1, round(size[1] * s))) for s in self.scales]
        smallest = min(min(copy) for copy in found) + 2 * self.margin
        if smallest < self.network.window:
            raise JaxsegError(
                f"scales {self.scales} make a copy of {smallest} pixels, margin included, of a {size[0]}x{size[1]} "
                f"image; a window has {self.network.window}: leave the smallest scale out, or widen margin"
            )
        return found

    def windows(self, size: tuple[int, int]) -> np.ndarray:
        """Every window's box ``[N, 4]`` float32 in pixels of the image: scale by scale, row by row."""
        side, stride, boxes = self.network.window, self.network.stride, []
        for copy in self.copies(size):
            y, x = (stride * np.arange((n + 2 * self.margin - side) // stride + 1) - self.margin for n in copy)
            y, x = (a.ravel() for a in np.meshgrid(y, x, indexing="ij"))
            corners = np.stack([x, y, x + side, y + side], axis=1)
            boxes.append(corners * np.tile([size[1] / copy[1], size[0] / copy[0]], 2))
        return np.concatenate(boxes).astype(np.float32)

    def operations(self, size: tuple[int, int], *, shared: bool = True) -> int:
        """Multiplications for an image of (H, W) = ``size``: each copy as a whole (``shared``), or window by window."""
        if not shared:
            side = self.network.window
            return len(self.windows(size)) * _multiplications(self.network, (side, side))
        padded = [(h + 2 * self.margin, w + 2 * self.margin) for h, w in self.copies(size)]
        return sum(_multiplications(self.network, copy) for copy in padded)


def _multiplications(network: WindowNetwork, size: tuple[int, int]) -> int:
    (h, w), channels, total = size, 3, 0
    for i, (kernel, width) in enumerate(zip(network.kernels, network.features, strict=True), 1):
        h, w = h - kernel + 1, w - kernel + 1
        total += h * w * kernel * kernel * channels * width
        channels = width
        h, w = (h // 2, w // 2) if i < len(network.kernels) else (h, w)
    h, w = h - network.top + 1, w - network.top + 1
    head = network.top**2 * channels * network.hidden + network.hidden * (5 * network.num_classes + 1)
    return total + h * w * head


def _centre_inside(boxes: Array, size: Array) -> Array:
    """``[N]``: whether a window's centre lies in the image of ``size [2]``."""
    size = size.astype(jnp.float32)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
