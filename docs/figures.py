"""The figures of these pages, each computed by the library: ``python docs/figures.py [NAME...]``.

Written to docs/figures/NAME.webp; without a name all of them are, in some five minutes on 2 CPU cores, of which three
are the training of the classifier behind ``cam``.
"""

import argparse

import figures_pixels as pixels
import figures_regions as regions
from figures_style import write

FIGURES = {
    draw.__name__: draw
    for draw in (
        pixels.receptive_field,
        pixels.switches,
        pixels.upsampling,
        pixels.checkerboard,
        pixels.conv_matrix,
        pixels.strides,
        pixels.atrous,
        pixels.crf,
        pixels.unpooling,
        pixels.pyramid_pooling,
        pixels.border_weights,
        pixels.localization_losses,
        regions.questions,
        regions.cam,
        regions.proposals,
        regions.anchors,
        regions.suppression,
        regions.roi,
        regions.corner_pooling,
        regions.keypoints,
        regions.cubify,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)} (default: all)")
    names = parser.parse_args().names or list(FIGURES)
    for name in names:
        if name not in FIGURES:
            parser.error(f"there is no figure {name!r}; there are {', '.join(FIGURES)}")
    for name in names:
        path = write(name, FIGURES[name]())
        print(f"{path} {path.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main()
