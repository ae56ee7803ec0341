"""Operations on images as pure functions.

The ways to get resolution back, in the order in which a course meets them: :func:`unpool_nearest` (repeat
each value; :func:`resize_nearest` for any size), :func:`bed_of_nails` (each value and zeros),
:func:`max_unpool` (each value where its window's maximum was, as :func:`max_pool_with_switches` noted),
:func:`resize_bilinear`, :func:`resize_bicubic` (weighted means of neighbours), and :func:`transposed_conv`
(the same with learnt weights; :func:`bilinear_kernel` to begin from, :func:`conv_matrix_1d` to see why it
is called so). The ways that give it up: :func:`conv` with a stride, :func:`max_pool`, :func:`avg_pool`,
:func:`adaptive_avg_pool`.

Of neighbourhoods in any space (position and colour): :func:`dense_crf`, with :func:`unary_from_logits` and its kin;
:func:`build_lattice` with :func:`lattice_filter`, :func:`exact_filter`; :func:`mean_shift`.

Of boxes: :func:`box_iou` and its kin, :func:`encode_boxes` and :func:`decode_boxes`, :func:`anchor_cells` with
:func:`grid_anchors`, :func:`multibox_anchors`; :func:`match` and :func:`sample`; :func:`nms`, :func:`batched_nms`,
:func:`soft_nms`; :func:`roi_align`, :func:`roi_pool` and, on a pyramid, :func:`multilevel_roi_align` with
:func:`feature_levels`. A detector's two steps made of them: :func:`propose` and :func:`detect`.
What R-CNN fits to features: :func:`linear_svm` and :func:`ridge_regression`. Of words: :func:`greedy_decode`,
:func:`beam_decode`. Of shapes in space: :func:`cubify`, :func:`sample_surface`, :func:`nearest_points`,
:func:`mesh_neighbors` with :func:`neighbor_sum`, :func:`vertex_align`.

Where a network sees boxes and not the image: :func:`crop_resize`, :func:`paste_resize`, :func:`grid_boxes`,
:func:`context_boxes`. Of corners: :func:`corner_pool`, :func:`corner_targets`, :func:`pair_corners`. Of keypoints:
:func:`keypoint_targets`, :func:`keypoints_from_heat_maps`. Of masks: :func:`crop_masks`, :func:`paste_masks`,
:func:`merge_segments`, :func:`largest_component`, :func:`mask_box`.
"""

from jaxseg.ops.anchors import anchor_cells, feature_levels, grid_anchors, multibox_anchors
from jaxseg.ops.batch_norm import batch_norm
from jaxseg.ops.boxes import (
    box_area,
    box_ioa,
    box_iou,
    clip_boxes,
    complete_box_iou,
    convert_boxes,
    decode_boxes,
    distance_box_iou,
    encode_boxes,
    generalized_box_iou,
)
from jaxseg.ops.components import largest_component, mask_box
from jaxseg.ops.conv import conv
from jaxseg.ops.corner import Corners, CornerTargets, corner_pool, corner_radius, corner_targets, pair_corners
from jaxseg.ops.crf import (
    Bilateral,
    CRFOutput,
    Gaussian,
    Lattice,
    Pairwise,
    build_lattice,
    dense_crf,
    exact_filter,
    lattice_filter,
    unary_from_labels,
    unary_from_logits,
    unary_from_probabilities,
)
from jaxseg.ops.crop import context_boxes, crop_resize, grid_boxes, paste_resize
from jaxseg.ops.decode import Sequences, beam_decode, greedy_decode
from jaxseg.ops.detections import Detections, Proposals, detect, propose
from jaxseg.ops.keypoints import keypoint_targets, keypoints_from_heat_maps
from jaxseg.ops.linear import Linear, linear_svm, ridge_regression
from jaxseg.ops.masks import crop_masks, paste_masks
from jaxseg.ops.matching import NEGATIVE, NEUTRAL, POSITIVE, Matches, Sample, match, sample
from jaxseg.ops.mean_shift import MeanShift, mean_shift
from jaxseg.ops.mesh import (
    Mesh,
    cubify,
    mesh_neighbors,
    nearest_points,
    neighbor_sum,
    sample_surface,
    surface_squares,
    unit,
    vertex_align,
)
from jaxseg.ops.nms import Kept, SoftlyKept, batched_nms, nms, soft_nms
from jaxseg.ops.panoptic import Segments, merge_segments
from jaxseg.ops.pooling import (
    adaptive_avg_pool,
    avg_pool,
    bed_of_nails,
    max_pool,
    max_pool_with_switches,
    max_unpool,
    switches_to_flat_indices,
    unpool_nearest,
)
from jaxseg.ops.resize import resize_bicubic, resize_bilinear, resize_nearest
from jaxseg.ops.roi import multilevel_roi_align, roi_align, roi_pool
from jaxseg.ops.transposed_conv import bilinear_kernel, conv_matrix_1d, transposed_conv

__all__ = [
    "NEGATIVE",
    "NEUTRAL",
    "POSITIVE",
    "Bilateral",
    "CRFOutput",
    "CornerTargets",
    "Corners",
    "Detections",
    "Gaussian",
    "Kept",
    "Lattice",
    "Linear",
    "Matches",
    "MeanShift",
    "Mesh",
    "Pairwise",
    "Proposals",
    "Sample",
    "Segments",
    "Sequences",
    "SoftlyKept",
    "adaptive_avg_pool",
    "anchor_cells",
    "avg_pool",
    "batch_norm",
    "batched_nms",
    "beam_decode",
    "bed_of_nails",
    "bilinear_kernel",
    "box_area",
    "box_ioa",
    "box_iou",
    "build_lattice",
    "clip_boxes",
    "complete_box_iou",
    "context_boxes",
    "conv",
    "conv_matrix_1d",
    "convert_boxes",
    "corner_pool",
    "corner_radius",
    "corner_targets",
    "crop_masks",
    "crop_resize",
    "cubify",
    "decode_boxes",
    "dense_crf",
    "detect",
    "distance_box_iou",
    "encode_boxes",
    "exact_filter",
    "feature_levels",
    "generalized_box_iou",
    "greedy_decode",
    "grid_anchors",
    "grid_boxes",
    "keypoint_targets",
    "keypoints_from_heat_maps",
    "largest_component",
    "lattice_filter",
    "linear_svm",
    "mask_box",
    "match",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "mean_shift",
    "merge_segments",
    "mesh_neighbors",
    "multibox_anchors",
    "multilevel_roi_align",
    "nearest_points",
    "neighbor_sum",
    "nms",
    "pair_corners",
    "paste_masks",
    "paste_resize",
    "propose",
    "resize_bicubic",
    "resize_bilinear",
    "resize_nearest",
    "ridge_regression",
    "roi_align",
    "roi_pool",
    "sample",
    "sample_surface",
    "soft_nms",
    "surface_squares",
    "switches_to_flat_indices",
    "transposed_conv",
    "unary_from_labels",
    "unary_from_logits",
    "unary_from_probabilities",
    "unit",
    "unpool_nearest",
    "vertex_align",
]
