"""Pictures for people: overlays with a legend, contact sheets of predictions beside the truth, curves."""

from jaxseg.viz.instances import READABLE, draw_instances, draw_segments, instance_colours
from jaxseg.viz.marks import PREDICTION, TRUTH, annotate, heat_map
from jaxseg.viz.overlay import (
    colorize,
    contact_sheet,
    default_palette,
    overlay,
    panel,
    with_legend,
)
from jaxseg.viz.plots import plot_curves, plot_lesions, plot_rates
from jaxseg.viz.report import Page, Shown, css_colour, data_uri, render, render_report
from jaxseg.viz.shapes import draw_shapes

__all__ = [
    "PREDICTION",
    "READABLE",
    "TRUTH",
    "Page",
    "Shown",
    "annotate",
    "colorize",
    "contact_sheet",
    "css_colour",
    "data_uri",
    "default_palette",
    "draw_instances",
    "draw_segments",
    "draw_shapes",
    "heat_map",
    "instance_colours",
    "overlay",
    "panel",
    "plot_curves",
    "plot_lesions",
    "plot_rates",
    "render",
    "render_report",
    "with_legend",
]
