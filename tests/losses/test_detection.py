"""Losses of detectors against PyTorch's, and that what is not valid counts for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import losses
from jaxseg.types import JaxsegError

B, S, K, M = 2, 9, 3, 5


def example(seed=0):
    rng = np.random.default_rng(seed)
    valid = rng.random((B, S)) > 0.25
    positive = valid & (rng.random((B, S)) > 0.5)
    return {
        "logits": rng.normal(size=(B, S)).astype(np.float32) * 3,
        "deltas": rng.normal(size=(B, S, 4)).astype(np.float32) * 0.3,
        "targets": rng.normal(size=(B, S, 4)).astype(np.float32) * 0.3,
        "valid": valid,
        "positive": positive,
        "scores": rng.normal(size=(B, S, K + 1)).astype(np.float32),
        "transforms": rng.normal(size=(B, S, K, 4)).astype(np.float32) * 0.3,
        "classes": np.where(positive, rng.integers(1, K + 1, (B, S)), 0).astype(np.int32),
        "masks": rng.normal(size=(B, S, M, M)).astype(np.float32),
        "cells": rng.uniform(size=(B, S, M, M)).astype(np.float32),
    }


def rpn(e, **settings):
    return losses.rpn_losses(e["logits"], e["deltas"], e["targets"], e["valid"], e["positive"], **settings)


def roi(e, **settings):
    return losses.roi_losses(e["scores"], e["transforms"], e["classes"], e["targets"], e["valid"], **settings)


def box_loss(torch, deltas, targets, beta):
    f = torch.nn.functional
    deltas, targets = torch.tensor(deltas), torch.tensor(targets)
    if beta == 0:
        return f.l1_loss(deltas, targets, reduction="sum")
    return f.smooth_l1_loss(deltas, targets, beta=beta, reduction="sum")


@pytest.mark.parametrize("beta", [1 / 9, 0.0])
@pytest.mark.parametrize("divisor", ["sampled", "all"])
def test_rpn_losses_are_pytorchs(beta, divisor):
    torch = pytest.importorskip("torch")
    e = example()
    objectness, box = rpn(e, beta=beta, divisor=divisor)
    number = e["valid"].sum() if divisor == "sampled" else B * S
    logits, truth = torch.tensor(e["logits"][e["valid"]]), torch.tensor(e["positive"][e["valid"]].astype(np.float32))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / number
    np.testing.assert_allclose(objectness, expected, rtol=1e-5)
    expected = box_loss(torch, e["deltas"][e["positive"]], e["targets"][e["positive"]], beta) / number
    np.testing.assert_allclose(box, expected, rtol=1e-5)


@pytest.mark.parametrize("beta", [1 / 9, 0.0])
@pytest.mark.parametrize("per_class", [True, False])
def test_roi_losses_are_pytorchs(beta, per_class):
    torch = pytest.importorskip("torch")
    e = example()
    e["transforms"] = e["transforms"] if per_class else e["transforms"][:, :, :1]
    kind, box = roi(e, beta=beta)
    scores, classes = torch.tensor(e["scores"][e["valid"]]), torch.tensor(e["classes"][e["valid"]], dtype=torch.int64)
    np.testing.assert_allclose(kind, torch.nn.functional.cross_entropy(scores, classes), rtol=1e-5)
    rows = e["positive"]
    own = e["classes"][rows] - 1 if per_class else 0 * e["classes"][rows]
    chosen = e["transforms"][rows][np.arange(rows.sum()), own]
    expected = box_loss(torch, chosen, e["targets"][rows], beta) / e["valid"].sum()
    np.testing.assert_allclose(box, expected, rtol=1e-5)


def test_mask_loss_is_pytorchs():
    torch = pytest.importorskip("torch")
    e = example()
    rows = e["positive"]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(e["masks"][rows]), torch.tensor(e["cells"][rows])
    )
    np.testing.assert_allclose(losses.mask_loss(e["masks"], e["cells"], rows), expected, rtol=1e-5)


@jax.jit
@jax.value_and_grad
def total(floats, rest):
    e = {**floats, **rest}
    return sum(rpn(e)) + sum(roi(e)) + losses.mask_loss(e["masks"], e["cells"], e["positive"])


def split(e):
    floats = {k: v for k, v in e.items() if v.dtype == np.float32}
    return floats, {k: v for k, v in e.items() if k not in floats}


def test_what_is_not_valid_may_hold_anything():
    e = example()
    value, slope = total(*split(e))
    for key in ("logits", "deltas", "targets", "scores", "transforms"):
        e[key][~e["valid"]] = np.nan
    e["masks"][~e["positive"]], e["cells"][~e["positive"]] = np.inf, np.nan
    again, slope_again = total(*split(e))
    assert value == again
    jax.tree.map(np.testing.assert_array_equal, slope, slope_again)


def test_nothing_gives_exactly_nothing():
    e = example()
    e["valid"], e["positive"] = (np.zeros((B, S), bool),) * 2
    value, slope = total(*split(e))
    assert value == 0
    assert all(not np.any(g) for g in jax.tree.leaves(slope))


def test_what_does_not_fit_is_told():
    e = example()
    with pytest.raises(JaxsegError, match="rpn_losses"):
        losses.rpn_losses(e["logits"], e["deltas"][:, :4], e["targets"], e["valid"], e["positive"])
    with pytest.raises(JaxsegError, match="roi_losses"):
        losses.roi_losses(e["scores"], e["transforms"][:1], e["classes"], e["targets"], e["valid"])
    with pytest.raises(JaxsegError, match="mask_loss"):
        losses.mask_loss(e["masks"], jnp.ones((B, S, 3, 3)), e["valid"])
