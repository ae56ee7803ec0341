"""DenseCap (Johnson, Karpathy & Fei-Fei 2016): regions of a picture found and described, all by one network.

Followed: VGG-16 without its last pooling (section 3.1); a localization layer that proposes regions of twelve anchors a
place and reads their features by bilinear interpolation, through which the loss of what is said moves where it is
looked (3.2: "differentiable with respect to box coordinates"); two layers of 4096 with dropout, whose code of a
region gives its final score and box (3.3) and is what an LSTM of 512 is first told (3.4); weights of the losses 1 of
the words and 0.1 of all others (3.5, :func:`jaxseg.tasks.dense_captioning`).

Departs: the regions that the last layers learn from are sampled from the proposals after suppression and the true
boxes, as in Faster R-CNN, and the first stage's from the anchors; in the paper one sample of all places' boxes serves
both. A score is a softmax of two numbers, not a logistic function of one. Features are read at the middles of 7x7
bins. When testing, the code that the LSTM is told is of the final box, not of the proposal it came from.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.models.faster_rcnn import FasterRCNN
from jaxseg.models.region_heads import RegionHeads
from jaxseg.nn.fpn import VGGLevel
from jaxseg.nn.language import LanguageModel
from jaxseg.nn.rcnn_config import JOHNSON_2016, RCNNConfig
from jaxseg.nn.roi_heads import TwoFC, flattened
from jaxseg.nn.vgg import VGG16
from jaxseg.types import Array


class CaptionHead(nn.Module):
    """Tells what is in a region, from what the box head makes of it; one of :class:`jaxseg.models.RegionHeads`.

    Predicts ``tokens [B, D, T]`` (:class:`jaxseg.data.Vocabulary`) and ``token_scores [B, D]``, log-probabilities;
    ``width``: beams. In training, what :func:`jaxseg.losses.caption_loss` takes, for which targets hold ``tokens [B, N,
    T]``.

    ``vocabulary``: how many tokens; ``length``: T, the end included; ``merge``:
    see :class:`jaxseg.nn.language.LanguageModel`.
    """

    vocabulary: int
    length: int = 15
    features: int = 512
    width: int = 1
    merge: bool = False
    dtype: Any = jnp.float32

    region_size = None

    def setup(self) -> None:
        self.language = LanguageModel(self.vocabulary, self.features, self.merge, self.dtype)

    def training(
        self, regions: Array, positives: dict[str, Array], targets: Any, config: RCNNConfig
    ) -> dict[str, Array]:
        del config
        tokens = jax.vmap(lambda tokens, match: tokens[match])(targets["tokens"], positives["match"])
        b, r, t = tokens.shape
        logits = self.language(regions.reshape(b * r, -1), tokens.reshape(b * r, t)).reshape(b, r, t, -1)
        return {"logits": logits, "tokens": tokens, "valid": positives["valid"]}

    def predictions(self, regions: Array, found: dict[str, Array], size: tuple[int, ...]) -> dict[str, Array]:
        del size
        said = flattened(lambda codes: self.language.decode(codes, self.length, self.width), regions)
        seen = found["valid"]
        return {"tokens": jnp.where(seen[..., None], said.tokens, 0), "token_scores": jnp.where(seen, said.scores, 0)}


def densecap(
    vocabulary: int, config: RCNNConfig = JOHNSON_2016, *, width: int = 1, dtype: Any = jnp.float32
) -> RegionHeads:
    """The paper's network: regions are of one class."""
    detector = FasterRCNN(
        1,
        VGGLevel(VGG16(poolings=4, dtype=dtype)),
        TwoFC(4096, dtype=dtype, dropout=0.5),
        config,
        rpn_features=256,
        dtype=dtype,
    )
    return RegionHeads(detector, {"caption": CaptionHead(vocabulary, width=width, dtype=dtype)})


DenseCapVGG16 = partial(densecap)
