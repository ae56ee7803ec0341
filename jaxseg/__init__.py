"""jaxseg: segmentation and detection in JAX and Flax.

Subpackages are imported on first use, so ``import jaxseg`` is quick and touches no device::

    import jaxseg
    y = jaxseg.ops.resize_bilinear(x, (64, 64))
"""

import importlib

__version__ = "0.1.0"
__all__ = [
    "config",
    "data",
    "infer",
    "losses",
    "metrics",
    "models",
    "nn",
    "ops",
    "recipes",
    "tasks",
    "train",
    "types",
    "viz",
    "weights",
]


def __getattr__(name: str):
    if name in __all__:
        return importlib.import_module(f"jaxseg.{name}")
    raise AttributeError(f"module 'jaxseg' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted([*__all__, "__version__"])
