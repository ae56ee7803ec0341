"""Greedy and beam search against looking at every sequence there is."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxseg import ops
from jaxseg.types import JaxsegError

V, T, START, END = 5, 4, 0, 1


def model(seed):
    """What comes next depends on the two tokens before: logits ``[V, V, V]``."""
    return np.random.default_rng(seed).normal(size=(V, V, V)).astype(np.float32) * 2


def step(state, token):
    table, before = state
    return (table, token), table[before, token]


def likelihood(table, tokens):
    """Log-probability of a sequence, by the definition."""
    total, before, last = 0.0, 0, START
    for token in tokens:
        logits = table[before, last].astype(np.float64)
        total += logits[token] - np.log(np.exp(logits).sum())
        before, last = last, token
    return total


def every_sequence():
    for length in range(1, T + 1):
        for tokens in itertools.product(range(V), repeat=length):
            ended = END in tokens
            if (ended and tokens.index(END) == length - 1) or (not ended and length == T):
                yield tokens


HOW = {"start": START, "end": END, "length": T}


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_as_wide_as_need_be_finds_the_best_of_all(seed):
    table = model(seed)
    best = sorted(every_sequence(), key=lambda tokens: -likelihood(table, tokens))[:10]
    found = jax.jit(lambda t: ops.beam_decode(step, (t, jnp.int32(0)), width=V**T, **HOW))(table)
    for n, tokens in enumerate(best):
        np.testing.assert_array_equal(found.tokens[n], [*tokens, *[0] * (T - len(tokens))])
        assert found.scores[n] == pytest.approx(likelihood(table, tokens), abs=1e-5)
    assert np.isfinite(np.asarray(found.scores)).sum() == len(list(every_sequence()))


@pytest.mark.parametrize("seed", range(8))
def test_greedy_takes_the_likeliest_each_time_as_does_a_beam_of_one(seed):
    table = model(seed)
    tokens, before, last = [], 0, START
    while len(tokens) < T and last != END:
        before, last = last, int(np.argmax(table[before, last]))
        tokens.append(last)
    greedy = jax.jit(lambda t: ops.greedy_decode(step, (t, jnp.int32(0)), **HOW))(table)
    np.testing.assert_array_equal(greedy.tokens, [*tokens, *[0] * (T - len(tokens))])
    assert greedy.scores == pytest.approx(likelihood(table, tokens), abs=1e-5)
    beam = jax.jit(lambda t, width: ops.beam_decode(step, (t, jnp.int32(0)), width=width, **HOW), static_argnums=1)
    np.testing.assert_array_equal(beam(table, 1).tokens[0], greedy.tokens)
    wider = beam(table, 3)
    assert np.all(np.diff(wider.scores) <= 0)


def test_many_at_once():
    tables = np.stack([model(seed) for seed in range(3)])
    decode = lambda t: ops.beam_decode(step, (t, jnp.int32(0)), width=3, **HOW)
    many, one = jax.jit(jax.vmap(decode))(tables), jax.jit(decode)
    for i in range(3):
        np.testing.assert_array_equal(many.tokens[i], one(tables[i]).tokens)


@pytest.mark.parametrize("width", [1, 3])
def test_under_shard_map(width):
    tables = np.stack([model(seed) for seed in range(4)])
    decode = partial(ops.greedy_decode if width == 1 else partial(ops.beam_decode, width=width), step, **HOW)
    many = jax.vmap(lambda t: decode((t, t[0, 0, 0].astype(jnp.int32) * 0)))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.shard_map(many, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    jax.tree.map(np.testing.assert_array_equal, jax.jit(spread)(tables), jax.jit(many)(tables))


def test_lengths_and_widths_are_at_least_one():
    with pytest.raises(JaxsegError, match="length 0 and width 1; both must be at least 1"):
        ops.greedy_decode(step, (), start=0, end=1, length=0)
