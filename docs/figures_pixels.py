"""Figures of the pages on semantic segmentation: each computed by the library's own functions."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from figures_style import BLUE, GREEN, HEAT, ORANGE, RED, numbers, rectangle, scene, sheet, show
from matplotlib.ticker import MaxNLocator

from jaxseg import losses, ops, viz
from jaxseg.data import Shapes
from jaxseg.models import FullResolution, UNet


def receptive_field() -> Any:
    """Where the score of the middle pixel looks: the gradient's size, over 12 random networks and pictures."""
    networks = {
        "9 layers of 3x3": FullResolution(1, features=16, depth=9),
        "20 layers of 3x3": FullResolution(1, features=16, depth=20),
        "U-Net, down to 1/8": UNet(1, base=8, depth=3, norm="none", dropout=0.0),
    }
    size = 96
    figure, axes = sheet(3, height=2.7)
    for ax, (name, network) in zip(axes, networks.items()):

        def one(key: Any, network: Any = network) -> Any:
            first, second = jax.random.split(key)
            image = jax.random.uniform(second, (1, size, size, 3))
            middle = lambda image, v: network.apply(v, image)["logits"][0, size // 2, size // 2, 0]
            return jnp.abs(jax.grad(middle)(image, network.init(first, image))[0]).sum(-1)

        seen = np.asarray(jax.lax.map(one, jax.random.split(jax.random.key(0), 12)))
        seen = (seen / np.maximum(seen.max((1, 2), keepdims=True), 1e-30)).mean(0)
        rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
        box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        show(ax, np.sqrt(seen), f"{name}\nreaches {box[2] - box[0]} pixels", cmap=HEAT)
        rectangle(ax, box, "white", ls="--", lw=1)
    return figure


def switches() -> Any:
    """A 4x4 map pooled to 2x2, and the three ways back that need no weights."""
    x = jnp.asarray([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], jnp.float32)[..., None]
    pooled, where = ops.max_pool_with_switches(x, 2)
    steps = {
        "before": x,
        "max-pooled": pooled,
        "switches": where,
        "max unpooling": ops.max_unpool(pooled, where, 2, None, (4, 4)),
        "bed of nails": ops.bed_of_nails(pooled, 2),
        "nearest neighbour": ops.unpool_nearest(pooled, 2),
    }
    figure, axes = sheet(6, height=1.6, width=8)
    for ax, (name, value) in zip(axes, steps.items()):
        numbers(ax, np.asarray(value)[..., 0], name, blank=name != "switches", vmin=0, vmax=14)
        if len(value) == 4:
            ax.hlines([2], 0, 4, color="black", lw=1)
            ax.vlines([2], 0, 4, color="black", lw=1)
    return figure


def upsampling() -> Any:
    """One picture shrunk to a quarter and brought back in every way there is."""
    image = jnp.asarray(scene(5, (64, 64))["image"], jnp.float32) / 255
    small = ops.avg_pool(image, 4)
    largest, where = ops.max_pool_with_switches(image, 4)
    kernel = ops.bilinear_kernel(8, 3, depthwise=True)
    ways = {
        "before": image,
        "averaged by 4": small,
        "nearest": ops.unpool_nearest(small, 4),
        "bed of nails": ops.bed_of_nails(small, 4),
        "max-pooled by 4": largest,
        "its unpooling": ops.max_unpool(largest, where, 4, None, (64, 64)),
        "bilinear": ops.resize_bilinear(small, (64, 64)),
        "bicubic": ops.resize_bicubic(small, (64, 64)),
        "transposed conv.": ops.transposed_conv(small[None], kernel, 4, 2, groups=3)[0],
    }
    order = ("before", "averaged by 4", "nearest", "bilinear", "bicubic", "transposed conv.", "bed of nails",
             "max-pooled by 4", "its unpooling")  # fmt: skip
    figure, axes = sheet(5, 2, height=1.7)
    for ax, name in zip(axes, order):
        show(ax, np.clip(ways[name], 0, 1), name)
    axes[-1].set_axis_off()
    return figure


def checkerboard() -> Any:
    """How many stamps fall on each output pixel, and what that does to a picture."""
    picture = jnp.asarray(scene(5, (48, 48))["image"], jnp.float32).mean(-1)[None, :, :, None] / 255
    kernels = {
        "3x3 of ones": (jnp.ones((3, 3, 1, 1)), 1),
        "4x4 of ones": (jnp.ones((4, 4, 1, 1)), 1),
        "3x3, bilinear": (ops.bilinear_kernel(3, 1), 1),
    }
    figure, axes = sheet(6, height=1.75, width=9)
    for i, (name, (kernel, padding)) in enumerate(kernels.items()):
        total = ops.transposed_conv(jnp.ones((1, 6, 6, 1)), kernel, 2, padding)[0, 2:9, 2:9, 0]
        numbers(axes[2 * i], total, f"{name}:\nwhat falls on a pixel", vmin=0, vmax=8)
        made = ops.transposed_conv(picture, kernel, 2, padding)[0, 2:90, 2:90, 0]
        show(axes[2 * i + 1], made, "a picture\nenlarged by it", cmap="gray")
    return figure


def conv_matrix() -> Any:
    """A 1-D convolution of stride 2 as a matrix, and its transpose."""
    matrix = ops.conv_matrix_1d(jnp.asarray([1.0, 2.0, 3.0]), 9, 2, 1)
    figure, axes = sheet(2, height=2.4, width=5.6, width_ratios=(9, 5))
    numbers(axes[0], matrix, "M: convolution, 9 values to 5", cmap="Oranges")
    numbers(axes[1], matrix.T, "its transpose, 5 to 9", cmap="Oranges")
    return figure


def strides() -> Any:
    """The best that a map of stride 32, 16 and 8 can say: the truth, averaged over each place and enlarged again."""
    sample = Shapes("val", size=(192, 192), count=(4, 6))[3]
    truth, palette = sample["label"], Shapes().palette
    shares = jax.nn.one_hot(jnp.asarray(truth, jnp.int32), len(palette))
    figure, axes = sheet(5, height=1.8, width=8)
    show(axes[0], sample["image"], "picture")
    for ax, stride in zip(axes[1:], (32, 16, 8)):
        best = ops.resize_bilinear(ops.avg_pool(shares, stride), truth.shape).argmax(-1)
        right = float(np.mean(np.asarray(best) == truth))
        show(ax, viz.colorize(np.asarray(best), palette), f"at best, stride {stride}:\n{right:.1%} of pixels right")
    show(axes[4], viz.colorize(truth, palette), "truth")
    return figure


def _reads(dilation: int, size: int) -> np.ndarray:
    """The pixels that the middle output of a 3x3 convolution reads: its gradient, for a kernel of ones."""
    middle = lambda x: ops.conv(x, jnp.ones((3, 3, 1, 1)), padding=dilation, dilation=dilation)[0, size // 2, size // 2]
    return np.asarray(jax.grad(lambda x: middle(x)[0])(jnp.zeros((1, size, size, 1))))[0, ..., 0] > 0


def atrous() -> Any:
    """What 3x3 kernels of several rates read; what a stack of them reads; the four of DeepLab v2's pyramid."""
    figure, axes = sheet(5, height=2.0, width=8.4)
    for ax, rate in zip(axes, (1, 2, 4)):
        show(ax, _reads(rate, 15), f"3x3, rate {rate}", cmap="Blues", vmax=1.4)
    x = jnp.zeros((1, 15, 15, 1))

    def stack(x: Any) -> Any:
        for rate in (1, 2, 4):
            x = ops.conv(x, jnp.ones((3, 3, 1, 1)), padding=rate, dilation=rate)
        return x[0, 7, 7, 0]

    show(axes[3], jax.grad(stack)(x)[0, ..., 0], "all three in turn:\nways to each pixel", cmap=HEAT, vmin=-1)
    show(axes[4], np.zeros((65, 65)), "ASPP: rates 6, 12, 18, 24\non a map of 65x65", cmap="Greys")
    for rate, colour in zip((6, 12, 18, 24), (BLUE, GREEN, ORANGE, RED)):
        rows, columns = np.nonzero(_reads(rate, 65))
        axes[4].plot(columns + 0.5, rows + 0.5, "s", color=colour, ms=3.2)
    for ax in axes[:4]:
        ax.hlines(range(16), 0, 15, color="white", lw=0.4)
        ax.vlines(range(16), 0, 15, color="white", lw=0.4)
    return figure


def crf() -> Any:
    """Rough labels, a third of them wrong, after a few iterations of a dense CRF."""
    sample = scene(11, (96, 128))
    truth, palette = sample["label"], Shapes().palette
    rng = np.random.default_rng(0)
    coarse = truth[4::8, 4::8]
    wrong = rng.random(coarse.shape) < 0.15
    coarse = np.where(wrong, rng.integers(0, len(palette), coarse.shape), coarse)
    rough = np.kron(coarse, np.ones((8, 8), int))
    unary = ops.unary_from_labels(jnp.asarray(rough), len(palette), confidence=0.5)
    photo = jnp.asarray(sample["image"], jnp.float32)
    settings = {"gaussian": ops.Gaussian(3.0, 2.0), "bilateral": ops.Bilateral(25.0, 12.0, 6.0)}
    panels = {"picture": sample["image"], "labels by 8x8,\n15 % random": rough}
    for n in (1, 3, 10):
        q = ops.dense_crf(unary, photo, iterations=n, **settings).q
        panels[f"after {n}" + (" iterations" if n > 1 else " iteration")] = np.asarray(q.argmax(-1))
    panels["truth"] = truth
    figure, axes = sheet(3, 2, height=2.1, width=7.2)
    for ax, (name, value) in zip(axes, panels.items()):
        if value.ndim == 2 and name != "truth":
            name += f" ({np.mean(value == truth):.1%} right)"
        show(ax, value if value.ndim == 3 else viz.colorize(value, palette), name)
    return figure


def unpooling() -> Any:
    """A picture max-pooled three times, and unpooled three times with the switches or without."""
    image = jnp.asarray(scene(5, (48, 48))["image"], jnp.float32).mean(-1, keepdims=True) / 255
    x, seen = image, []
    for _ in range(3):
        size = x.shape[:2]
        x, where = ops.max_pool_with_switches(x, 2)
        seen.append((where, size))
    panels = {"before": image, "pooled to 1/8": x}
    with_switches = x
    for i, (where, size) in enumerate(reversed(seen), 1):
        with_switches = ops.max_unpool(with_switches, where, 2, None, size)
        panels[f"unpooled {i}x" if i < 3 else "unpooled 3x:\neach in its place"] = with_switches
    panels["nails 3x:\nall on a grid"] = functools.reduce(lambda y, _: ops.bed_of_nails(y, 2), range(3), x)
    figure, axes = sheet(6, height=1.8, width=8.4)
    for ax, (name, value) in zip(axes, panels.items()):
        show(ax, np.asarray(value)[..., 0], name, cmap="gray", vmin=0, vmax=1)
    return figure


def pyramid_pooling() -> Any:
    """The four poolings of PSPNet's module, each enlarged to the map again."""
    image = jnp.asarray(scene(5)["image"], jnp.float32) / 255
    figure, axes = sheet(5, height=1.7, width=7.6)
    show(axes[0], image, "here a picture")
    for ax, bins in zip(axes[1:], (1, 2, 3, 6)):
        show(ax, ops.resize_bilinear(ops.adaptive_avg_pool(image, bins), image.shape[:2]), f"{bins}x{bins} bins")
    return figure


def border_weights() -> Any:
    """What a pixel weighs in U-Net's loss: most in the gap between two objects."""
    sample = Shapes("val", size=(128, 128), count=(5, 6))[8]
    masks = sample["instances"]["masks"]
    figure, axes = sheet(3, height=2.4)
    show(axes[0], sample["image"], "picture")
    show(axes[1], masks.any(0), "foreground", cmap="gray")
    show(axes[2], losses.unet_weight_map(masks), "weight of each pixel", cmap=HEAT)
    figure.colorbar(axes[2].images[0], ax=axes[2], shrink=0.8)
    return figure


def localization_losses() -> Any:
    """What a regression that is off by d costs, and how hard it is pulled."""
    d = jnp.linspace(-3, 3, 241)
    figure, axes = sheet(2, height=2.4, width=6.4)
    for name, loss in (("l2", losses.l2), ("l1", losses.l1), ("smooth_l1", losses.smooth_l1)):
        cost = lambda x, loss=loss: loss(x[None, None], jnp.zeros((1, 1)))
        axes[0].plot(d, jax.vmap(cost)(d), label=name)
        axes[1].plot(d, jax.vmap(jax.grad(cost))(d), label=name)
    axes[0].set(title="loss", ylim=(0, 4), xlabel="d")
    axes[1].set(title="gradient", ylim=(-4, 4), xlabel="d")
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.xaxis.set_major_locator(MaxNLocator(7))
    axes[0].legend()
    return figure
