"""Computations as one program each: called eagerly, every primitive of every shape is compiled by itself."""

import jax


def value_and_gradients(f, arguments, g):
    """``f(*arguments)``, and the gradients of ``sum(g * f(*arguments))`` by each of them."""

    def both(arguments, g):
        y, vjp = jax.vjp(f, *arguments)
        return y, vjp(g)

    return jax.jit(both)(arguments, g)
