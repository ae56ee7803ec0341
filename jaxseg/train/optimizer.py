"""The optimiser as a value: what to descend with, how the rate goes, which parts learn faster, slower or not at all."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import jax
import optax

from jaxseg.types import JaxsegError


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum, or AdamW, over a schedule.

    ``learning_rate`` is the peak. From 0 it rises linearly over ``warmup_steps``; then, over the steps that are left:
    ``constant``; ``poly``: ``(1 - t)^power`` (DeepLab, section 4.1); ``cosine``; ``step``: times ``step_factor`` at
    each fraction of the run in ``step_at``.

    ``rates`` multiplies the rate of the parameters whose path (``down0/conv1/kernel``) a pattern finds; the first
    that fits counts; 0 freezes: no gradient is computed (running statistics: see ``norm="frozen"``).
    ``weight_decay`` is added to the gradient in SGD (as PyTorch's) and decoupled in AdamW (Loshchilov & Hutter 2019);
    biases and norms are spared unless ``decay_all``. ``clip_norm`` bounds the global norm of the gradient.
    """

    kind: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_all: bool = False
    schedule: Literal["constant", "poly", "cosine", "step"] = "poly"
    power: float = 0.9
    step_at: tuple[float, ...] = (0.6, 0.85)
    step_factor: float = 0.1
    warmup_steps: int = 0
    clip_norm: float | None = None
    rates: tuple[tuple[str, float], ...] = ()

    def rate(self, steps: int) -> optax.Schedule:
        """``step -> learning rate`` for a run of ``steps``."""
        rest = max(1, steps - self.warmup_steps)
        peak = self.learning_rate
        if self.schedule == "constant":
            after = optax.constant_schedule(peak)
        elif self.schedule == "poly":
            after = optax.polynomial_schedule(peak, 0.0, self.power, rest)
        elif self.schedule == "cosine":
            after = optax.cosine_decay_schedule(peak, rest)
        elif self.schedule == "step":
            at = {max(1, round(fraction * steps) - self.warmup_steps): self.step_factor for fraction in self.step_at}
            after = optax.piecewise_constant_schedule(peak, at)
        else:
            raise JaxsegError(f"schedule is {self.schedule!r}; it can be constant, poly, cosine or step")
        if not self.warmup_steps:
            return after
        return optax.join_schedules([optax.linear_schedule(0.0, peak, self.warmup_steps), after], [self.warmup_steps])

    def transformation(self, params: Any, steps: int) -> optax.GradientTransformation:
        """The optax transformation for these ``params``. Frozen parameters keep no optimiser state."""
        decayed = jax.tree.map(lambda p: self.decay_all or p.ndim > 1, params)
        if self.kind == "sgd":
            chain = [
                optax.add_decayed_weights(self.weight_decay, decayed),
                optax.trace(self.momentum, nesterov=self.nesterov),
            ]
        elif self.kind == "adamw":
            chain = [optax.scale_by_adam(), optax.add_decayed_weights(self.weight_decay, decayed)]
        else:
            raise JaxsegError(f"optimizer kind is {self.kind!r}; it can be sgd or adamw")
        if self.clip_norm is not None:
            chain.insert(0, optax.clip_by_global_norm(self.clip_norm))
        factors = self.factors(params)
        chain += [_scale_each(factors), optax.scale_by_learning_rate(self.rate(steps))]
        trained = jax.tree.map(lambda f: f != 0.0, factors)
        if all(jax.tree.leaves(trained)):
            return optax.chain(*chain)
        frozen = jax.tree.map(lambda t: not t, trained)
        return optax.chain(optax.masked(optax.chain(*chain), trained), optax.masked(optax.set_to_zero(), frozen))

    def factors(self, params: Any) -> Any:
        """For each parameter the factor on its learning rate, as a tree of floats; 0 is frozen."""
        unused = dict(self.rates)

        def factor(path: tuple[Any, ...], _: Any) -> float:
            name = "/".join(str(key.key) for key in path)
            for pattern, value in self.rates:
                if re.search(pattern, name):
                    unused.pop(pattern, None)
                    return float(value)
            return 1.0

        tree = jax.tree_util.tree_map_with_path(factor, params)
        if unused:
            names = sorted({str(path[0].key) for path, _ in jax.tree_util.tree_leaves_with_path(params)})
            raise JaxsegError(f"rates: {', '.join(unused)} fits no parameter; the model's parts are {', '.join(names)}")
        return tree


def _scale_each(factors: Any) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        # Inside optax.masked frozen leaves are MaskedNode, which have no leaves: walk by path, not by position.
        by_path = dict(jax.tree_util.tree_leaves_with_path(factors))
        scaled = jax.tree_util.tree_map_with_path(lambda path, u: u * by_path[path], updates)
        return scaled, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
