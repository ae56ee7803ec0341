"""From a model of the next token to a sequence: greedily, or with a beam. Static shapes, under jit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxseg.ops.arguments import vary_alike
from jaxseg.types import Array, JaxsegError

Step = Callable[[Any, Array], tuple[Any, Array]]
"""``(state, token int32 []) -> (state, logits [V])``: what comes after ``token``."""


class Sequences(NamedTuple):
    """``tokens [..., T]`` int32, the end included, 0 after it; ``scores [...]``, the sum of their log-probabilities."""

    tokens: Array
    scores: Array


def greedy_decode(step: Step, state: Any, *, start: int, end: int, length: int) -> Sequences:
    """One sequence: of each place the likeliest token, until ``end`` or ``length`` tokens.

    Args:
      step: the model of one sequence; ``state``: before it, any tree of arrays.
      start: the token that all begin with, and that is not given back.
    """
    _check(length, 1)

    def place(carry: Any, _: None) -> tuple[Any, Array]:
        state, token, score, done = carry
        state, logits = step(state, token)
        likely = jax.nn.log_softmax(logits.astype(jnp.float32))
        token = jnp.where(done, 0, jnp.argmax(likely)).astype(jnp.int32)
        score = score + jnp.where(done, 0.0, likely[token])
        return (state, token, score, done | (token == end)), token

    begun = vary_alike(jnp.int32(start), jnp.float32(0), jnp.bool_(False), *jax.tree.leaves(state))
    first = (state, *begun[:3])
    (_, _, score, _), tokens = lax.scan(place, first, None, length=length)
    return Sequences(tokens, score)


def beam_decode(step: Step, state: Any, *, start: int, end: int, length: int, width: int) -> Sequences:
    """The ``width`` likeliest sequences that a beam of that width finds, best first: ``tokens [W, T]``, ``scores [W]``.

    At every place each of W unfinished sequences is continued by every token, and the W likeliest of all remain; one
    that has ended remains as it is. The score is not divided by the length. Width 1 is :func:`greedy_decode`. Fewer
    sequences than W, of a small vocabulary: the rest have a score of -inf.
    """
    _check(length, width)

    def place(carry: Any, t: Array) -> tuple[Any, None]:
        states, tokens, last, scores, done = carry
        states, logits = jax.vmap(step)(states, last)
        likely = jax.nn.log_softmax(logits.astype(jnp.float32))
        count = likely.shape[-1]
        idle = jnp.where(jnp.arange(count) == 0, 0.0, -jnp.inf)
        total = scores[:, None] + jnp.where(done[:, None], idle[None], likely)
        scores, best = lax.top_k(total.ravel(), width)
        parent, last = best // count, (best % count).astype(jnp.int32)

        def of_parent(x: Array) -> Array:
            return x[parent]

        states, tokens, done = jax.tree.map(of_parent, (states, tokens, done))
        return (states, tokens.at[:, t].set(last), last, scores, done | (last == end)), None

    def copies(x: ArrayLike) -> Array:
        return jnp.broadcast_to(x, (width, *jnp.shape(x)))

    states = jax.tree.map(copies, state)
    scores = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf)  # of beams alike the first alone is continued
    tokens, last = jnp.zeros((width, length), jnp.int32), jnp.full(width, start, jnp.int32)
    begun = vary_alike(tokens, last, scores, jnp.zeros(width, bool), *jax.tree.leaves(states))
    first = (states, *begun[:4])
    (_, tokens, _, scores, _), _ = lax.scan(place, first, jnp.arange(length))
    return Sequences(tokens, scores)


def _check(length: int, width: int) -> None:
    if length < 1 or width < 1:
        raise JaxsegError(f"decoding: length {length} and width {width}; both must be at least 1")
