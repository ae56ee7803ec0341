"""FRRN-A on CamVid (11 classes), from scratch; FRRN-B by ``--deep``.

Data: ``--root`` as for unet_camvid.

    jaxseg train frrn_camvid --workdir runs/frrn_camvid --root DIR            # 360x480, GPU or TPU
    jaxseg train frrn_camvid --workdir runs/frrn_camvid --root DIR --fast   # 180x240, two CPU cores

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.296 (pixel accuracy 0.671, boundary F 0.303) after 1000 steps of 2
windows in 8 min 18 s, 4.6 images/s, and still rising: DeepLab v3 had 0.307 after 2400 windows, which it sees 8 times
as fast. Not yet at 360x480.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxseg.config import Experiment
from jaxseg.losses import ohem_cross_entropy
from jaxseg.models import FRRN, FRRNA, FRRNB
from jaxseg.recipes import camvid
from jaxseg.types import Array


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, deep: bool = False
) -> Experiment:
    if tiny:
        model = partial(FRRN, down=((1, 2), (1, 4)), up=((1, 2),), base=4, residual_features=4)
    else:
        base, residual_features = (16, 16) if fast else (48, 32)
        model = partial(FRRNB if deep else FRRNA, base=base, residual_features=residual_features)
    return camvid(
        model,
        root=root,
        tiny=tiny,
        fast=fast,
        loss=bootstrapped,
        steps=1000 if fast else None,
        batch_size=2 if fast else None,
    )


def bootstrapped(logits: Array, labels: Array) -> Array:
    """The cross-entropy of the worst quarter of each image's pixels (section 3.3: 512 * 64 of 512 * 256)."""
    return jnp.mean(jax.vmap(partial(ohem_cross_entropy, fraction=0.25))(logits, labels))
