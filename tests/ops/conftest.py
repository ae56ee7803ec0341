import numpy as np
import pytest


@pytest.fixture(scope="session")
def torch():
    """PyTorch, for the tests that compare with it; they are skipped without it."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def to_torch(torch):
    """[B, H, W, C] numpy -> [B, C, H, W] tensor that collects its gradient."""
    return lambda a: torch.tensor(np.asarray(a).transpose(0, 3, 1, 2).copy(), requires_grad=True)


@pytest.fixture(scope="session")
def from_torch():
    """[B, C, H, W] tensor -> [B, H, W, C] numpy."""
    return lambda t: t.detach().numpy().transpose(0, 2, 3, 1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
