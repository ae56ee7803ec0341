"""The pictures of docs/families/crf.md: a network's predictions after 0, 1, 5 and 10 iterations of a dense CRF, and a
photograph segmented by mean shift.

``python benchmarks/crf_pictures.py --workdir RUN [--out docs/pictures] [--frames 4]``

RUN is a run of a semantic config; its ``crf.json`` is used where there is one. The photograph is that of scikit-learn,
which the extra ``test`` installs.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxseg import viz
from jaxseg.infer import Predictor
from jaxseg.infer.refine import CRF, FILE
from jaxseg.ops import mean_shift, resize_bilinear


def refined(workdir: Path, frames: int) -> np.ndarray:
    """One row a validation frame, spread over the clip: image, network, after 1, 5 and 10 iterations, truth."""
    predictor = Predictor.load(workdir)
    file = workdir / FILE
    crf = CRF.read(file) if file.exists() else CRF()
    data = predictor.experiment.data
    rows = []
    for i in np.linspace(0, len(data.val) - 1, frames).round().astype(int):
        sample = data.prepare(data.val[i], None)
        image = (sample["image"] * 255).round().astype(np.uint8)
        probabilities = predictor.probabilities(image)
        after = {f"{n} iteration{'s' * (n > 1)}": replace(crf, iterations=n)(probabilities, image) for n in (1, 5, 10)}
        labels = {name: q.argmax(-1) for name, q in {"network": probabilities, **after}.items()}
        rows.append({"image": image, **labels, "truth": sample["label"]})
    return viz.contact_sheet(rows, predictor.classes, predictor.palette, panel_width=200)


def segment(photo: np.ndarray, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's cluster, and the clusters' peaks in the space of (x, y) over 40 pixels and RGB over 25."""
    h, w, _ = photo.shape
    y, x = np.mgrid[:h, :w]
    points = np.concatenate([np.stack([x, y], -1) / 40, photo / 25], -1).reshape(-1, 5).astype(np.float32)
    found = mean_shift(jnp.asarray(points), bandwidth=bandwidth, iterations=40, seeds=jnp.asarray(points[::11]))
    return np.asarray(found.labels).reshape(h, w), np.asarray(found.modes)


def clusters() -> np.ndarray:
    """scikit-learn's photograph, and each of its clusters in the colour of its peak, for two bandwidths."""
    from sklearn.datasets import load_sample_image

    photo = np.asarray(resize_bilinear(jnp.asarray(load_sample_image("china.jpg"), jnp.float32), (214, 320))).round()
    row = {"image": photo.astype(np.uint8)}
    for bandwidth in (1.0, 2.0):
        label, modes = segment(photo, bandwidth)
        peaks = (modes[label][..., 2:] * 25).round().astype(np.uint8)
        row[f"bandwidth {bandwidth:g}: {len(np.unique(label))} clusters"] = peaks
    return viz.contact_sheet([row], ("",), panel_width=400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--frames", type=int, default=4)
    args = parser.parse_args()
    for name, draw in (("crf", lambda: refined(args.workdir, args.frames)), ("mean_shift", clusters)):
        Image.fromarray(draw()).save(args.out / f"{name}.jpg", quality=90)
        print(args.out / f"{name}.jpg")


if __name__ == "__main__":
    main()
