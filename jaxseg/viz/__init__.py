"""Pictures for people: overlays with a legend, contact sheets of predictions beside the truth, curves."""

from jaxseg.viz.overlay import (
    colorize,
    contact_sheet,
    default_palette,
    overlay,
    with_legend,
)
from jaxseg.viz.plots import plot_curves

__all__ = [
    "colorize",
    "contact_sheet",
    "default_palette",
    "overlay",
    "plot_curves",
    "with_legend",
]
