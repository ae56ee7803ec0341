"""DeconvNet (Noh, Hong & Han, ICCV 2015): VGG-16 down to one vector, its mirror image up again, proposal by proposal.

Followed: VGG-16's convolutions, fc6 (7x7 to 1x1) and fc7 as convolutions, a 7x7 deconvolution back, then unpooling by
the encoder's switches and 3x3 deconvolutions, the mirror of the encoder; batch normalisation and ReLU after every layer
but the scores; new layers drawn from Gaussians of standard deviation 0.01 (sections 3.1, 3.2, 4.1 and the authors'
published net definition). An image is predicted on by cutting out object proposals, each predicted on by itself, and
combining their score maps: :func:`aggregate_proposals` (section 5.1 of the paper), :class:`ProposalWise`; with the
probabilities of an FCN: :func:`ensemble` (section 5.2). Its two stages of training: :class:`jaxseg.data.ObjectCrop`.

Departs: convolutions have no bias, which the normalisation after them would undo. Normalisation begins with a shift of
0 (theirs 0.001), and predicts with running averages (theirs: averages over 500 batches after training). ``crop`` may be
any multiple of 32, with fc6's kernel as large as the whole last map; ``fc_features`` may be narrowed where the VGG
classifier's weights are not at hand.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import ops
from jaxseg.nn import CAFFE, VGG16, Conv, ConvTranspose, Norm, Normalization
from jaxseg.nn.layers import NormKind, he_normal, round_up
from jaxseg.types import Array, JaxsegError, Outputs

DECODER = {5: (8, 8, 8), 4: (8, 8, 4), 3: (4, 4, 2), 2: (2, 1), 1: (1, 1)}
"""Channels of the deconvolutions after each unpooling, in those of VGG-16's first stage (the published net; the next
switches want as many channels)."""
gaussian = nn.initializers.normal(0.01)


class DeconvNet(nn.Module):
    """``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32, "features": {"pool5", "fc7", "unpool5", ...}}``.

    ``crop`` is the side of the crops it is made for, which fc6 sees whole. Any H, W >= 1: the image is padded below and
    to the right with the mean colour to multiples of 32, at least ``crop``; on a larger one fc6 slides. In training fc6
    has one value a channel and crop: normalisation then needs several crops in a batch.
    """

    num_classes: int
    base: int = 64
    fc_features: int = 4096
    crop: int = 224
    norm: NormKind = "batch"
    normalization: Normalization = CAFFE
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        chex.assert_shape(images, (None, None, None, 3))
        if self.crop < 32 or self.crop % 32:
            raise JaxsegError(
                f"DeconvNet's crop is {self.crop}; it must be a multiple of 32, as VGG halves it five times"
            )
        h, w = images.shape[1:3]
        below, right = (max(self.crop, round_up(n, 32)) - n for n in (h, w))
        x = jnp.pad(self.normalization(images).astype(self.dtype), ((0, 0), (0, below), (0, right), (0, 0)))
        vgg = VGG16(norm=self.norm, base=self.base, switches=True, **self._shared("vgg"))
        found = vgg(x, train=train)
        features = {"pool5": found["pool5"]}
        act, side = partial(self._act, train=train), self.crop // 32
        x = act("fc6", Conv(self.fc_features, side, kernel_init=he_normal, **self._shared("fc6")), found["pool5"])
        x = features["fc7"] = act("fc7", Conv(self.fc_features, 1, **self._shared("fc7")), x)
        up = partial(ConvTranspose, stride=1, kernel_init=gaussian)
        x = act("fc6_deconv", up(8 * self.base, side, **self._shared("fc6_deconv")), x)
        for stage, widths in DECODER.items():
            size = (2 * x.shape[1], 2 * x.shape[2])
            x = features[f"unpool{stage}"] = ops.max_unpool(x, found[f"switches{stage}"], 2, None, size)
            for i, width in enumerate(widths, 1):
                name = f"deconv{stage}_{i}"
                x = act(name, up(width * self.base, 3, padding=1, **self._shared(name)), x)
        logits = Conv(self.num_classes, 1, kernel_init=gaussian, dtype=self.dtype, name="score")(x)
        return {"logits": logits.astype(jnp.float32)[:, :h, :w], "features": features}

    def _shared(self, name: str) -> dict[str, Any]:
        return {"use_bias": self.norm == "none", "dtype": self.dtype, "name": name}

    def _act(self, name: str, layer: nn.Module, x: Array, train: bool) -> Array:
        return nn.relu(Norm(self.norm, dtype=self.dtype, name=f"{name}_bn")(layer(x), train=train))


class ProposalWise(nn.Module):
    """A network that trains on crops and predicts on images as :func:`aggregate_proposals` does.

    ``images [B, H, W, 3]`` -> ``{"logits": [B, H, W, K] float32}``, in training those of ``network``, whose parameters
    are its own. The proposals are :func:`jaxseg.ops.grid_boxes` of ``sides``, each seen as ``crop`` x ``crop`` pixels;
    give better ones to :func:`aggregate_proposals` itself.
    """

    network: DeconvNet
    sides: tuple[float, ...] = (1.0, 0.5)
    how: Literal["max", "mean"] = "max"
    batch: int = 1

    def setup(self) -> None:
        nn.share_scope(self, self.network)

    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        if train or self.is_initializing():
            return self.network(images, train=train)
        network, variables = self.network.unbind()
        boxes = jnp.asarray(ops.grid_boxes((images.shape[1], images.shape[2]), self.sides))

        def predict(crops: Array) -> Array:
            outputs: Any = network.apply(variables, crops, train=False)
            return outputs["logits"]

        aggregate = partial(
            aggregate_proposals, predict, side=network.crop, fill=network.normalization.mean, how=self.how
        )
        return {"logits": jax.lax.map(lambda image: aggregate(image, boxes, batch=self.batch), images)}


def aggregate_proposals(
    predict: Callable[[Array], Array],
    image: Array,
    boxes: Array,
    valid: Array | None = None,
    *,
    side: int = 224,
    fill: Any = 0.0,
    how: Literal["max", "mean"] = "max",
    batch: int = 1,
) -> Array:
    """Scores of an image from those of its proposals: ``P = max_i G_i``, or their mean, ``G_i`` zero outside box i.

    Each box is cut out and resized to ``side`` x ``side``, predicted on, and its scores are resized back to the box.
    As in the authors' code the maximum begins at zero, so no score is negative. Softmax gives the probabilities.

    Args:
      predict: ``[batch, side, side, 3] -> [batch, side, side, K]`` scores, before softmax.
      image: ``[H, W, 3]``.
      boxes: ``[N, 4]`` float32, (x1, y1, x2, y2) in pixels; they may reach beyond the image (``fill``). The authors
        take the 50 of the highest objectness among 2000 by EdgeBoxes, 1.2 times enlarged, passing over those with a
        side below 112 pixels (:func:`jaxseg.data.best_proposals`).
      valid: ``[N]`` bool; False for rows that only fill up. None: all are.
      how: ``"max"`` or ``"mean"`` (over the valid boxes).
      batch: how many crops go through the network at once.

    Returns:
      ``[H, W, K]`` float32; zero where no box is.

    Source: Noh et al. 2015, section 5.1 and the authors' inference code.
    """
    count, (h, w) = boxes.shape[0], image.shape[:2]
    chex.assert_shape([image, boxes], [(h, w, 3), (count, 4)])
    valid = jnp.ones(count, bool) if valid is None else valid
    if how not in ("max", "mean"):
        raise JaxsegError(f"how is {how!r}; proposals are combined by 'max' or 'mean'")
    short = -count % batch  # the last batch is filled up with boxes that count for nothing
    boxes = jnp.pad(boxes, ((0, short), (0, 0))).reshape(-1, batch, 4)
    rows = jnp.pad(valid, (0, short)).reshape(-1, batch)

    def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        some, real = chunk
        crops = jax.vmap(lambda box: ops.crop_resize(image, box, side, fill))(some)
        scores = predict(crops).astype(jnp.float32)
        maps = jax.vmap(lambda s, box: ops.paste_resize(s, box, (h, w)))(scores, some)
        maps = jnp.where(real[:, None, None, None], maps, 0.0)
        return (jnp.maximum(total, maps.max(0)) if how == "max" else total + maps.sum(0)), None

    classes = jax.eval_shape(predict, jax.ShapeDtypeStruct((batch, side, side, 3), image.dtype)).shape[-1]
    total, _ = jax.lax.scan(add, jnp.zeros((h, w, classes), jnp.float32), (boxes, rows))
    return total if how == "max" else total / jnp.maximum(valid.sum(dtype=jnp.float32), 1.0)


def ensemble(*scores: Array) -> Array:
    """Probabilities ``[..., K]`` of several models' scores: the mean of their softmax.

    EDeconvNet is DeconvNet and FCN-8s (section 5.2 of the paper; the authors' published code multiplies the positive
    parts of the scores instead).
    """
    return jnp.stack([jax.nn.softmax(s.astype(jnp.float32), axis=-1) for s in scores]).mean(0)
