"""Faster R-CNN with more heads: whatever is to be known of each object, a small network on its region says (He et al.
2017, section 3: "adding a branch for predicting an object mask in parallel").

A head is a linen module with

``region_size``
    how many bins of RoIAlign it sees, down and across; or None: it sees what the box head makes of a region;
``training(regions, positives, targets, config) -> dict``
    what its loss takes as keyword arguments, of ``regions [B, P, h, w, C]``, or ``[B, P, F]``. ``positives`` are the
    regions of objects, ``boxes [B, P, 4]``, ``classes [B, P]`` from 1, ``match [B, P]``, which of the true instances
    each is, and ``valid [B, P]``; ``targets`` the true instances; ``config`` the detector's;
``predictions(regions, found, size) -> dict``
    named arrays ``[B, D, ...]`` of the detections ``found`` (``boxes``, ``scores``, ``classes``, ``valid``), in whose
    boxes the regions lie; ``size``: height and width of the images, padding included.

Heads share nothing but the detector, and learn together: :class:`jaxseg.models.mask_rcnn.MaskHead`,
:class:`jaxseg.models.keypoint_rcnn.KeypointHead`, :class:`jaxseg.models.densecap.CaptionHead`, or one's own.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax.core import FrozenDict

from jaxseg.models.faster_rcnn import FasterRCNN
from jaxseg.types import Array, Outputs


class RegionHeads(nn.Module):
    """:class:`jaxseg.models.FasterRCNN`, whose arguments and outputs it has, and besides what each of ``heads``
    predicts of the detections; in training, under the head's name, what its loss takes.

    With a region stage (C4), all heads share it, and learn from the regions that it was computed of.
    """

    detector: FasterRCNN
    heads: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", FrozenDict(self.heads))  # modules are values, and a dict has no hash
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        images: Array,
        sizes: Array | None = None,
        targets: Any = None,
        proposals: Any = None,
        *,
        train: bool = False,
    ) -> Outputs:
        outputs = self.detector(images, sizes, targets, proposals, train=train)
        if not train:
            found = {key: outputs[key] for key in ("boxes", "scores", "classes", "valid")}
            for head in self.heads.values():
                regions = self._regions(outputs["features"], found["boxes"], head, train)
                outputs |= head.predictions(regions, found, images.shape[1:3])
            return outputs
        config, roi = self.detector.config, outputs["roi"]
        # Regions of objects come first among those sampled.
        most = int(config.roi_samples * config.roi_positive_fraction)
        positives = {key: roi[key][:, :most] for key in ("boxes", "classes", "match", "valid")}
        positives["valid"] &= positives["classes"] > 0
        for name, head in self.heads.items():
            seen = roi["features"][:, :most]
            if head.region_size is None:
                regions = self.detector.codes(seen, train)
            elif self.detector.region_stage is None:
                regions = self.detector.regions(outputs["features"], positives["boxes"], head.region_size, train)
            else:
                regions = seen
            outputs[name] = head.training(regions, positives, targets, config)
        return outputs

    def _regions(self, levels: tuple[Array, ...], boxes: Array, head: Any, train: bool) -> Array:
        """What ``head`` sees of ``boxes [B, R, 4]``."""
        detector = self.detector
        if head.region_size is None:
            return detector.codes(detector.regions(levels, boxes, detector.box_size, train), train)
        return detector.regions(levels, boxes, head.region_size, train)
