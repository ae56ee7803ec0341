"""Operations on images as pure functions."""

from jaxseg.ops.batch_norm import batch_norm
from jaxseg.ops.conv import conv
from jaxseg.ops.pooling import (
    avg_pool,
    bed_of_nails,
    max_pool,
    max_pool_with_switches,
    max_unpool,
    switches_to_flat_indices,
    unpool_nearest,
)
from jaxseg.ops.transposed_conv import bilinear_kernel, conv_matrix_1d, transposed_conv

__all__ = [
    "avg_pool",
    "batch_norm",
    "bed_of_nails",
    "bilinear_kernel",
    "conv",
    "conv_matrix_1d",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "switches_to_flat_indices",
    "transposed_conv",
    "unpool_nearest",
]
