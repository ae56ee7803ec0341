"""Run lengths beside pycocotools'."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from jaxseg.metrics.rle import decode_rle, encode_rle, to_rle
from jaxseg.types import JaxsegError


def laid_out(bitmap, corner, size):
    whole = np.zeros(size, bool)
    whole[corner[1] : corner[1] + bitmap.shape[0], corner[0] : corner[0] + bitmap.shape[1]] = bitmap
    return whole


@pytest.mark.parametrize("density", [0, 0.03, 0.5, 0.97, 1])
def test_masks_there_and_back_as_pycocotools_has_them(density):
    rng = np.random.default_rng(int(100 * density))
    for _ in range(60):
        size = (int(rng.integers(1, 90)), int(rng.integers(1, 90)))
        y, x = int(rng.integers(0, size[0])), int(rng.integers(0, size[1]))
        bitmap = rng.random((rng.integers(0, size[0] - y + 1), rng.integers(0, size[1] - x + 1))) < density
        whole = laid_out(bitmap, (x, y), size)
        want = coco_mask.encode(np.asfortranarray(whole.astype(np.uint8)))
        ours = encode_rle(bitmap, (x, y), size)
        assert ours == {"size": list(size), "counts": want["counts"].decode()}
        again, corner = decode_rle(want)
        np.testing.assert_array_equal(laid_out(again, corner, size), whole)
        assert again.shape == tuple(int(v) for v in coco_mask.toBbox(want)[[3, 2]]) or again.shape[0] < size[0]
        columns = whole.T.ravel()
        counts = np.diff(np.flatnonzero(np.diff(columns, prepend=False)), prepend=0, append=columns.size).tolist()
        assert to_rle({"size": list(size), "counts": counts}, size)["counts"] == want["counts"]


def test_polygons_are_drawn_by_pycocotools():
    polygons = [[1.5, 1.5, 20, 2, 12, 18.5], [5, 5, 35, 5, 35, 25, 5, 25]]
    want = coco_mask.merge(coco_mask.frPyObjects(polygons, 30, 40))
    assert to_rle(polygons, (30, 40)) == want


@pytest.mark.parametrize("counts", [b"", b"zzz", b"\xff", b"1", b"o0", b"PPPPPPPPPPPPPPPPPPP1"])
def test_damaged_run_lengths_are_refused(counts):
    with pytest.raises(JaxsegError, match="here: damaged run lengths"):
        decode_rle({"size": [5, 5], "counts": counts}, "here")
