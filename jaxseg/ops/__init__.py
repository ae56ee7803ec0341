"""Operations on images as pure functions.

The ways to get resolution back, in the order in which a course meets them: :func:`unpool_nearest` (repeat
each value; :func:`resize_nearest` for any size), :func:`bed_of_nails` (each value and zeros),
:func:`max_unpool` (each value where its window's maximum was, as :func:`max_pool_with_switches` noted),
:func:`resize_bilinear`, :func:`resize_bicubic` (weighted means of neighbours), and :func:`transposed_conv`
(the same with learnt weights; :func:`bilinear_kernel` to begin from, :func:`conv_matrix_1d` to see why it
is called so). The ways that give it up: :func:`conv` with a stride, :func:`max_pool`, :func:`avg_pool`,
:func:`adaptive_avg_pool`.

Where a network sees boxes and not the image: :func:`crop_resize`, :func:`paste_resize`, :func:`grid_boxes`. Of masks:
:func:`largest_component`, :func:`mask_box`.
"""

from jaxseg.ops.batch_norm import batch_norm
from jaxseg.ops.components import largest_component, mask_box
from jaxseg.ops.conv import conv
from jaxseg.ops.crop import crop_resize, grid_boxes, paste_resize
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
from jaxseg.ops.transposed_conv import bilinear_kernel, conv_matrix_1d, transposed_conv

__all__ = [
    "adaptive_avg_pool",
    "avg_pool",
    "batch_norm",
    "bed_of_nails",
    "bilinear_kernel",
    "conv",
    "conv_matrix_1d",
    "crop_resize",
    "grid_boxes",
    "largest_component",
    "mask_box",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "paste_resize",
    "resize_bicubic",
    "resize_bilinear",
    "resize_nearest",
    "switches_to_flat_indices",
    "transposed_conv",
    "unpool_nearest",
]
