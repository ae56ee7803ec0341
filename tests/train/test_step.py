import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.train import Optimizer, create_state, make_train_step
from jaxseg.types import JaxsegError, Metric, Task


class Linear:
    """A model of one matrix, whose steps can be written down in numpy."""

    @staticmethod
    def apply(variables, x, *, train, mutable=None, rngs=None):
        del train, rngs
        outputs = {"y": x @ variables["params"]["layer"]["kernel"] + variables["params"]["head"]["bias"][None]}
        return (outputs, {}) if mutable else outputs


def squared(outputs, batch):
    loss = jnp.mean((outputs["y"] - batch["target"]) ** 2)
    return loss, {"squared": loss}


TASK = Task(lambda b: (b["x"],), squared, lambda o, b: o, Metric(dict, max, max, dict), lambda b, p: None, "loss")


def batch(n=4, seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(n, 3)).astype(np.float32), "target": rng.normal(size=(n, 2)).astype(np.float32)}


def params():
    return {"layer": {"kernel": jnp.ones((3, 2)) * 0.5}, "head": {"bias": jnp.zeros(2)}}


def run(optimizer, steps=3, **options):
    p = params()
    tx = optimizer.transformation(p, 10)
    step = jax.jit(make_train_step(Linear(), TASK, tx, factors=optimizer.factors(p), **options))
    state = create_state({"params": p}, tx, 0, options.get("ema_decay", 0) > 0)
    for s in range(steps):
        state, metrics = step(state, batch(seed=s))
    return state, metrics


def test_sgd_with_momentum_and_decay_is_pytorchs():
    torch = pytest.importorskip("torch")
    o = Optimizer("sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01, schedule="constant", decay_all=True)
    state, _ = run(o)
    w, b = torch.full((3, 2), 0.5, requires_grad=True), torch.zeros(2, requires_grad=True)
    theirs = torch.optim.SGD([w, b], 0.1, momentum=0.9, weight_decay=0.01)
    for s in range(3):
        data = batch(seed=s)
        theirs.zero_grad()
        torch.mean((torch.tensor(data["x"]) @ w + b - torch.tensor(data["target"])) ** 2).backward()
        theirs.step()
    np.testing.assert_allclose(state.params["layer"]["kernel"], w.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(state.params["head"]["bias"], b.detach().numpy(), rtol=1e-5)


def test_adamw_is_pytorchs():
    torch = pytest.importorskip("torch")
    o = Optimizer("adamw", learning_rate=0.1, weight_decay=0.01, schedule="constant", decay_all=True)
    state, _ = run(o)
    w, b = torch.full((3, 2), 0.5, requires_grad=True), torch.zeros(2, requires_grad=True)
    theirs = torch.optim.AdamW([w, b], 0.1, weight_decay=0.01)
    for s in range(3):
        data = batch(seed=s)
        theirs.zero_grad()
        torch.mean((torch.tensor(data["x"]) @ w + b - torch.tensor(data["target"])) ** 2).backward()
        theirs.step()
    np.testing.assert_allclose(state.params["layer"]["kernel"], w.detach().numpy(), rtol=1e-4)


def test_frozen_parts_stay_and_keep_no_state():
    o = Optimizer("adamw", learning_rate=0.1, rates=(("^layer/", 0.0),))
    state, metrics = run(o)
    np.testing.assert_array_equal(state.params["layer"]["kernel"], params()["layer"]["kernel"])
    assert np.any(state.params["head"]["bias"])
    assert all(x.shape in ((), (2,)) for x in jax.tree.leaves(state.opt_state))
    assert np.isfinite(metrics["gradient_norm"])


def test_rates_scale_the_step():
    plain, scaled = (
        run(Optimizer("sgd", learning_rate=0.1, weight_decay=0.0, schedule="constant", rates=r), steps=1)[0]
        for r in ((), (("bias", 10.0),))
    )
    np.testing.assert_allclose(scaled.params["head"]["bias"], 10 * plain.params["head"]["bias"], rtol=1e-6)
    np.testing.assert_allclose(scaled.params["layer"]["kernel"], plain.params["layer"]["kernel"], rtol=1e-6)


def test_a_rate_that_fits_nothing_is_refused():
    with pytest.raises(JaxsegError, match="encoder fits no parameter; the model's parts are head, layer"):
        Optimizer(rates=(("encoder", 0.1),)).factors(params())


def test_accumulated_parts_are_one_batch():
    o = Optimizer("sgd", learning_rate=0.1, schedule="constant")
    whole, parts = run(o)[0], run(o, accumulate=2)[0]
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params)):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_ema_is_the_running_mean():
    o = Optimizer("sgd", learning_rate=0.1, schedule="constant")
    expected = params()
    for s in range(1, 4):
        now = run(o, steps=s)[0].params
        expected = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, expected, now)
    for a, b in zip(jax.tree.leaves(run(o, ema_decay=0.9)[0].ema), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_clipping_bounds_the_step():
    o = Optimizer("sgd", learning_rate=1.0, momentum=0.0, weight_decay=0.0, schedule="constant", clip_norm=0.01)
    state, metrics = run(o, steps=1)
    moved = jax.tree.map(jnp.subtract, state.params, params())
    np.testing.assert_allclose(optax.tree.norm(moved), 0.01, rtol=1e-5)
    assert metrics["gradient_norm"] > 0.01  # the norm before clipping is told


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("poly", [0.0, 0.5] + [(1 - t / 10) ** 0.9 for t in range(5)]),
        ("cosine", [0.0, 0.5] + [0.5 * (1 + np.cos(np.pi * t / 10)) for t in range(5)]),
        ("step", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.1]),
    ],
)
def test_schedules(schedule, expected):
    rate = Optimizer(learning_rate=1.0, schedule=schedule, warmup_steps=2, step_at=(0.5,)).rate(12)
    np.testing.assert_allclose([rate(s) for s in range(7)], expected, rtol=1e-5)
