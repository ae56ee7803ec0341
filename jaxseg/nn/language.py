"""A recurrent model of language that tells what a code means, word by word."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from jaxseg import ops
from jaxseg.types import END, NO_WORD, START, Array


class LanguageModel(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997) that is first told a code, then START, then word after word.

    ``x_-1 = relu(W code)``, ``x_0`` is the embedding of START, ``x_t`` that of word t; after each but the first a
    linear layer scores what comes next (Johnson et al. 2016, section 3.4). ``vocabulary``: how many tokens.

    ``merge``: another linear layer scores the words by the code alone, and the two scores are added, wherever a word
    stands (Tanti et al. 2018, "Where to put the image in an image caption generator"). For networks from scratch: all
    that a code tells the paper's LSTM goes through its bounded gates once, and what is hardest to see is never learnt
    (measured on true boxes of drawn shapes, in the last 100 of 1000 steps: the ground beneath the shape is right in
    35 % of captions, chance being 33, though the code was batch-normalised; merged in 70 %).
    """

    vocabulary: int
    features: int = 512
    merge: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        count, width = self.vocabulary, self.features
        self.encode = nn.Dense(width, dtype=self.dtype)
        if self.merge:
            self.evidence = nn.Dense(count, dtype=self.dtype)
        self.embedding = self.param("embedding", nn.initializers.normal(0.1), (count, width))
        self.kernel = self.param("kernel", _of_sides, (2 * width, 4 * width))
        self.bias = self.param("bias", _remembering, (4 * width,))
        self.score_kernel = self.param("score_kernel", _of_sides, (width, count))
        self.score_bias = self.param("score_bias", nn.initializers.zeros_init(), (count,))

    def __call__(self, codes: Array, tokens: Array) -> Array:
        """Codes ``[N, F]`` and true captions ``[N, T]`` -> logits ``[N, T, V]`` float32 of each next token."""
        before = jnp.concatenate([jnp.full((tokens.shape[0], 1), START, tokens.dtype), tokens[:, :-1]], axis=1)

        def place(state: Any, x: Array) -> tuple[Any, Array]:
            state = self._cell(state, x)
            return state, state[0]

        words = self.embedding.astype(self.dtype)[before]
        _, hidden = lax.scan(place, self._begun(codes), words.swapaxes(0, 1))
        return self._logits(hidden.swapaxes(0, 1), self._evidence(codes)[:, None])

    def decode(self, codes: Array, length: int, width: int = 1) -> ops.Sequences:
        """Codes ``[N, F]`` -> the likeliest captions ``[N, length]``, greedily or with a beam of ``width``."""
        unsaid = np.isin(np.arange(self.vocabulary), (NO_WORD, START))

        def one(state: Any, evidence: Array) -> ops.Sequences:
            def step(state: Any, token: Array) -> tuple[Any, Array]:
                state = self._cell(state, self.embedding.astype(self.dtype)[token])
                return state, jnp.where(unsaid, -jnp.inf, self._logits(state[0], evidence))

            how = {"start": START, "end": END, "length": length}
            if width == 1:
                return ops.greedy_decode(step, state, **how)
            return jax.tree.map(lambda x: x[0], ops.beam_decode(step, state, width=width, **how))

        return jax.vmap(one)(self._begun(codes), self._evidence(codes))

    def _begun(self, codes: Array) -> tuple[Array, Array]:
        """The state after the code: hidden ``[N, H]``, cell ``[N, H]``."""
        nothing = jnp.zeros((codes.shape[0], self.features), self.dtype)
        return self._cell((nothing, nothing), nn.relu(self.encode(codes.astype(self.dtype))))

    def _evidence(self, codes: Array) -> Array:
        """``[N, V]``: what the code alone says of each word."""
        if self.merge:
            return self.evidence(codes.astype(self.dtype))
        return jnp.zeros((codes.shape[0], self.vocabulary), self.dtype)

    def _cell(self, state: tuple[Array, Array], x: Array) -> tuple[Array, Array]:
        """``i, f, g, o = [x, h] W + b``; ``c = sigmoid(f) c + sigmoid(i) tanh(g)``, ``h = sigmoid(o) tanh(c)``."""
        hidden, cell = state
        gates = jnp.concatenate([x, hidden], axis=-1) @ self.kernel.astype(self.dtype)
        i, f, g, o = jnp.split(gates + _like(gates, self.bias), 4, axis=-1)
        cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
        return nn.sigmoid(o) * jnp.tanh(cell), cell

    def _logits(self, hidden: Array, evidence: Array) -> Array:
        y = hidden @ self.score_kernel.astype(self.dtype)
        y += _like(y, self.score_bias)
        return (y + jnp.broadcast_to(evidence, y.shape)).astype(jnp.float32)


def _of_sides(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Gaussian of variance 1 / inputs."""
    return jax.random.normal(key, shape, dtype) / np.sqrt(shape[0]).astype(dtype)


def _remembering(key: Array, shape: tuple[int, ...]) -> Array:
    """Biases of 0, but 1 of the gate that forgets."""
    del key
    return jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), shape[0] // 4)


def _like(x: Array, bias: Array) -> Array:
    """``bias [C]`` for every place of ``x [..., C]``."""
    return jnp.broadcast_to(bias.astype(x.dtype), x.shape)
