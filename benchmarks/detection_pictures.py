"""The picture of docs/benchmarks/detection.md: what a trained detector finds in validation images, beside the truth.

``python -m benchmarks.detection_pictures --workdir RUN [--out docs/pictures/nuclei.jpg] [--images 10]``

RUN is a run of a detection config whose data are still there.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg import viz
from jaxseg.infer import InstancePredictor

WIDTH = 260


def row(predictor: InstancePredictor, sample: dict) -> dict[str, np.ndarray]:
    """Image, what was found in it, and the truth."""
    image, truth = sample["image"], sample["instances"]
    found = predictor(image)
    draw = {
        "image": image,
        "found": viz.draw_instances(image, found.boxes, found.masks, width=WIDTH),
        "truth": viz.draw_instances(image, truth["boxes"], truth["masks"], width=WIDTH),
    }
    print(f"{Path(sample['name']).name}: {len(found.boxes)} found, {len(truth['boxes'])} there", flush=True)
    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/nuclei.jpg"))
    parser.add_argument("--images", type=int, default=10)
    args = parser.parse_args()
    predictor = InstancePredictor.load(args.workdir)
    source = predictor.experiment.data.val
    chosen = np.linspace(0, len(source) - 1, args.images).round().astype(int)
    rows = [row(predictor, source[int(i)]) for i in chosen]
    half = -(-len(rows) // 2)  # two columns of rows
    sheets = [viz.contact_sheet(part, (), panel_width=WIDTH) for part in (rows[:half], rows[half:])]
    height = max(len(sheet) for sheet in sheets)
    sheets = [np.pad(s, ((0, height - len(s)), (0, 0), (0, 0)), mode="edge") for s in sheets]
    Image.fromarray(np.concatenate(sheets, axis=1)).save(args.out, quality=88)
    print(args.out)


if __name__ == "__main__":
    main()
