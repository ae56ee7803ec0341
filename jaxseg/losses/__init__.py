"""Losses: pure functions from logits ``[..., K]`` and labels ``[...]`` to a float32 number.

The rule of void, one for all losses and metrics: a pixel counts when its label lies in 0..K-1 and is not
``ignore_index`` (255 unless told). Any other label is clamped to 0, its logits are set to 0 before anything
is computed, it weighs nothing, and the mean divides by the weight that is left (by 1 if none is). So void
changes neither value nor gradient, and a map that is all void gives exactly 0 with a gradient of exactly 0.

Means over pixels (cross-entropy, focal, OHEM) take any leading axes and are normalised over all devices
(:func:`jaxseg.types.mean_over_devices`). Losses of overlap (Dice, Jaccard, Tversky, Lovász) are of one
region: vmap them over a batch, and average with :func:`weighted_mean`.
"""

from jaxseg.losses.binary import binary_cross_entropy
from jaxseg.losses.border import unet_weight_map
from jaxseg.losses.box import l1, l2, smooth_l1
from jaxseg.losses.caption import caption_loss
from jaxseg.losses.class_weights import frequency_weights
from jaxseg.losses.corner import corner_focal_loss, pull_push_loss
from jaxseg.losses.detection import mask_loss, roi_losses, rpn_losses
from jaxseg.losses.keypoint import keypoint_loss
from jaxseg.losses.mesh import chamfer_loss, edge_loss, mesh_losses
from jaxseg.losses.mixed import cross_entropy_and_dice
from jaxseg.losses.overlap import dice, jaccard, lovasz_softmax, tversky
from jaxseg.losses.pixel import cross_entropy, focal, ohem_cross_entropy
from jaxseg.losses.reduce import weighted_mean
from jaxseg.metrics.labels import check_labels, split_void

__all__ = [
    "binary_cross_entropy",
    "caption_loss",
    "chamfer_loss",
    "check_labels",
    "corner_focal_loss",
    "cross_entropy",
    "cross_entropy_and_dice",
    "dice",
    "edge_loss",
    "focal",
    "frequency_weights",
    "jaccard",
    "keypoint_loss",
    "l1",
    "l2",
    "lovasz_softmax",
    "mask_loss",
    "mesh_losses",
    "ohem_cross_entropy",
    "pull_push_loss",
    "roi_losses",
    "rpn_losses",
    "smooth_l1",
    "split_void",
    "tversky",
    "unet_weight_map",
    "weighted_mean",
]
