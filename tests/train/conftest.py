import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def optax_promotes():
    """optax relies on jax's usual promotion; our own functions are held to the strict rules in their tests."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
