"""Records what pydensecrf 1.0rc3 computes, in pydensecrf.npz: ``python tests/ops/crf/record_pydensecrf.py``.

pydensecrf builds from its source distribution with Cython < 3, after removing the two generated .cpp files.
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("pydensecrf.npz")
LABELS = 4
VECTOR = np.float32([-9, -11, -7, -10])
MATRIX = np.float32([[-9, 1, 0, 2], [1, -12, 3, 0], [0, 3, -8, 1], [2, 0, 1, -10]])

# name -> iterations, normalization, Gaussian (sxy, compatibility), bilateral (sxy, srgb, compatibility)
CASES = {
    "usual": (5, "symmetric", (3, 3), (80, 13, 10)),
    "sharp": (10, "symmetric", (3, 3), (30, 3, 4)),
    "before": (5, "before", (2, 3), (20, 10, 5)),
    "after": (5, "after", (2, 3), (20, 10, 5)),
    "none": (3, "none", (2, 0.02), (20, 10, 0.01)),
    "vector": (4, "symmetric", (3, 3), (20, 10, VECTOR)),
    "matrix": (4, "symmetric", (3, 3), (20, 10, MATRIX)),
    "unequal widths": (5, "symmetric", ((2, 4), 3), ((30, 10), (5, 10, 20), 10)),
}


def scene(h: int = 30, w: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A photograph-like image of smooth regions with noise, uint8, and noisy energies of its regions, float32."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:h, :w]
    region = (x > 12 + 5 * np.sin(y / 5)).astype(int) + 2 * (y > h // 2 + 4 * np.cos(x / 7))
    colours = rng.uniform(40, 210, (LABELS, 3))[region] + 0.5 * x[..., None] + rng.normal(0, 6, (h, w, 3))
    logits = 1.5 * np.eye(LABELS)[region] + rng.normal(0, 1, (h, w, LABELS))
    energies = np.log(np.exp(logits).sum(-1, keepdims=True)) - logits
    return np.clip(colours, 0, 255).astype(np.uint8), energies.astype(np.float32)


def run(image: np.ndarray, unary: np.ndarray, iterations, normalization, gaussian, bilateral) -> np.ndarray:
    import pydensecrf.densecrf as pydensecrf

    h, w, labels = unary.shape
    kind = {
        "symmetric": pydensecrf.NORMALIZE_SYMMETRIC,
        "before": pydensecrf.NORMALIZE_BEFORE,
        "after": pydensecrf.NORMALIZE_AFTER,
        "none": pydensecrf.NO_NORMALIZATION,
    }[normalization]
    crf = pydensecrf.DenseCRF2D(w, h, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(-1, labels).T))
    crf.addPairwiseGaussian(sxy=gaussian[0], compat=gaussian[1], normalization=kind)
    crf.addPairwiseBilateral(sxy=bilateral[0], srgb=bilateral[1], rgbim=image, compat=bilateral[2], normalization=kind)
    return np.array(crf.inference(iterations)).T.reshape(h, w, labels)


if __name__ == "__main__":
    image, unary = scene()
    recorded = {name: run(image, unary, *case) for name, case in CASES.items()}
    np.savez_compressed(FILE, image=image, unary=unary, **recorded)
