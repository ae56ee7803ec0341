"""Conditional random fields as recurrent neural networks (Zheng et al., ICCV 2015): a network and a dense CRF, trained
as one.

Followed: the network's scores are the CRF's unary energies; the Gaussian and the bilateral kernel (theta_gamma 3;
theta_alpha 160, theta_beta 3) with symmetric normalisation; what each kernel weighs, by label, and the compatibility of
labels are learnt, from the weights given here and Potts' model; 5 iterations in training, 10 at test (section 4.3);
gradients through all of them. Widths are not learnt, as in the paper.

Departs: the paper begins from a trained FCN-8s and trains both at a rate of 1e-13 on one image at a time; how is left
to the config. Where the network's scores are smaller than the image (U-Net's valid form) this is refused.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxseg.ops import Bilateral, Gaussian, dense_crf
from jaxseg.types import Array, JaxsegError, Outputs


class CRFasRNN(nn.Module):
    """``images [B, H, W, 3]`` in [0, 1] -> the outputs of ``network``, with ``logits`` after the CRF, float32, and the
    network's own as ``aux_unary``, which a task trains as well.

    ``max_vertices``: room in the lattice of each image (see :func:`jaxseg.ops.dense_crf`). None: for all that there can
    be, six a pixel; photographs need a quarter of that at these widths, which saves time and memory.
    """

    network: nn.Module
    gaussian: Gaussian = Gaussian(3.0, 3.0)
    bilateral: Bilateral = Bilateral(160.0, 3.0, 5.0)
    iterations: int = 5
    test_iterations: int = 10
    max_vertices: int | None = None

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Outputs:
        outputs: Any = self.network(images, train=train)
        logits = outputs["logits"]
        if logits.shape[:-1] != images.shape[:-1]:
            raise JaxsegError(
                f"the network scores {logits.shape[1:3]} of {images.shape[1:3]} pixels; it must score all"
            )
        labels = logits.shape[-1]

        def by_label(name: str, weight: Any) -> Array:
            return self.param(name, lambda _: jnp.full(labels, weight, jnp.float32))

        compatibility = self.param("compatibility", lambda _: -jnp.eye(labels))
        terms = {
            "gaussian": (self.gaussian, by_label("gaussian_weight", self.gaussian.weight)),
            "bilateral": (self.bilateral, by_label("bilateral_weight", self.bilateral.weight)),
        }
        terms = {
            # The paper weighs a kernel's output by label, then mixes labels: one matrix for both.
            name: term._replace(weight=1.0, compatibility=compatibility * weight[None])
            for name, (term, weight) in terms.items()
        }

        def refine(one: tuple[Array, Array]) -> Array:
            scores, image = one
            room = self.max_vertices or 6 * image.shape[0] * image.shape[1]
            rounds = self.iterations if train else self.test_iterations
            options = {"iterations": rounds, "max_vertices": room, "method": "lattice"}
            options["on_overflow"] = "nan" if self.max_vertices else "quiet nan"  # there is room for all by default
            return dense_crf(-nn.log_softmax(scores), 255 * image, **terms, **options).logits

        # One image after the other: each already keeps a device busy, and together they would need B times the memory.
        refined = lax.map(refine, (logits.astype(jnp.float32), images.astype(jnp.float32)))
        return {**outputs, "logits": refined, "aux_unary": logits}
