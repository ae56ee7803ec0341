"""Mean shift against scikit-learn's, and against the equation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import MeanShift
from sklearn.datasets import make_blobs

from jaxseg.ops import mean_shift
from jaxseg.types import JaxsegError
from tests.helpers import slowly


def shifted(points, **how):
    """``mean_shift`` as one program, its results on the host."""
    return jax.tree.map(np.asarray, jax.jit(partial(mean_shift, **how))(points))


def blobs(seed, n=300, d=2):
    points, _ = make_blobs(n, n_features=d, centers=4, cluster_std=0.8, random_state=seed)
    return points.astype(np.float32)


@pytest.mark.parametrize(("seed", "d", "bandwidth"), [(0, 2, 2.0), (3, 1, 0.7), *slowly((1, 2, 1.2), (2, 5, 3.0))])
def test_flat_is_scikit_learn(seed, d, bandwidth):
    points = blobs(seed, d=d)
    theirs = MeanShift(bandwidth=bandwidth).fit(points)
    ours = shifted(points, bandwidth=bandwidth, iterations=300)
    assert 1 < ours.valid.sum() == len(theirs.cluster_centers_)
    modes = ours.modes[ours.valid]
    order, their_order = np.lexsort(modes.T), np.lexsort(theirs.cluster_centers_.T)
    np.testing.assert_allclose(modes[order], theirs.cluster_centers_[their_order], atol=0.05 * bandwidth)
    assert (
        np.mean(np.linalg.norm(ours.modes[ours.labels] - theirs.cluster_centers_[theirs.labels_], axis=1) < 0.1) > 0.99
    )


def test_gaussian_modes_are_fixed_points_of_the_equation():
    points = blobs(0)
    ours = shifted(points, bandwidth=0.9, kernel="gaussian", iterations=200)
    modes = np.asarray(ours.modes[ours.valid], np.float64)
    assert len(modes) > 1
    for mode, density in zip(modes, ours.density[ours.valid]):
        weights = np.exp(-0.5 * np.square(points - mode).sum(1) / 0.9**2)
        np.testing.assert_allclose(mode, weights @ points / weights.sum(), atol=1e-3)
        np.testing.assert_allclose(density, weights.sum(), rtol=1e-3)
    apart = np.linalg.norm(modes[:, None] - modes[None], axis=-1) + 10 * np.eye(len(modes))
    assert apart.min() > 0.9
    nearest = np.linalg.norm(points[:, None] - np.asarray(ours.modes)[np.asarray(ours.valid)][None], axis=-1).argmin(1)
    np.testing.assert_array_equal(ours.labels, np.flatnonzero(ours.valid)[nearest])


def test_seeds_far_from_every_point_find_nothing():
    points = blobs(0)
    ours = shifted(points, bandwidth=2.0, seeds=np.stack([np.float32([500, 500]), points[0]]))
    np.testing.assert_array_equal(ours.valid, [True, False])
    assert (ours.labels == 0).all()


def test_jit_vmap_and_gradient():
    points = np.stack([blobs(s, n=60) for s in range(2)])
    run = lambda p, w: mean_shift(p, bandwidth=w, kernel="gaussian", iterations=60)
    together = jax.tree.map(np.asarray, jax.jit(jax.vmap(run, (0, None)))(points, np.float32(1.5)))
    for i in range(2):
        alone = shifted(points[i], bandwidth=1.5, kernel="gaussian", iterations=60)
        np.testing.assert_array_equal(together.valid[i], alone.valid)
        np.testing.assert_allclose(together.modes[i][alone.valid], alone.modes[alone.valid], atol=1e-3)
    gradient = np.asarray(jax.jit(jax.grad(lambda p: jnp.sum(run(p, 1.5).modes[0])))(points[0]))
    np.testing.assert_allclose(gradient.sum(axis=0), 1.0, rtol=1e-2)  # moving all points moves the mode with them


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": np.zeros(3, np.float32)}, r"\[N, d\]"),
        ({"points": np.zeros((3, 2), np.float32), "seeds": np.zeros((3, 1), np.float32)}, r"\[S, 2\]"),
        ({"points": np.zeros((3, 2), np.float32), "kernel": "cosine"}, "'cosine'"),
        ({"points": np.zeros((3, 2), np.float32), "bandwidth": 0.0}, "positive"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(JaxsegError, match=message):
        mean_shift(**{"bandwidth": 1.0, **arguments})
