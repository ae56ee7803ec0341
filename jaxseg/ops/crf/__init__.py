"""Dense conditional random fields, and filtering in spaces of any dimension."""

from jaxseg.ops.crf.dense_crf import Bilateral, CRFOutput, Gaussian, Pairwise, dense_crf
from jaxseg.ops.crf.exact import exact_filter
from jaxseg.ops.crf.lattice import Lattice, build_lattice
from jaxseg.ops.crf.lattice_filter import lattice_filter
from jaxseg.ops.crf.unary import unary_from_labels, unary_from_logits, unary_from_probabilities

__all__ = [
    "Bilateral",
    "CRFOutput",
    "Gaussian",
    "Lattice",
    "Pairwise",
    "build_lattice",
    "dense_crf",
    "exact_filter",
    "lattice_filter",
    "unary_from_labels",
    "unary_from_logits",
    "unary_from_probabilities",
]
