from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.models import UNet
from jaxseg.models.unet import valid_output_size
from jaxseg.types import JaxsegError
from tests.helpers import variables_of


def logits_of(model, variables, x):
    return np.asarray(jax.jit(partial(model.apply, train=False))(variables, x)["logits"])


@pytest.mark.parametrize(("padding", "side"), [("valid", 92), ("same", 64)])
def test_equals_pytorch(padding, side):
    torch = pytest.importorskip("torch")
    from tests.models import torch_twins

    model = UNet(4, base=4, depth=3 if padding == "same" else 2, padding=padding)
    x = np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)
    variables = variables_of(model, x)
    ours = logits_of(model, variables, x)
    normalised = torch.tensor(((x - 0.5) / 0.25).transpose(0, 3, 1, 2))
    theirs = torch_twins.unet(variables["params"], normalised, model.depth, int(padding == "same"))
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-4)


def test_the_papers_sizes():
    assert valid_output_size(572) == 388  # figure 1
    out = jax.eval_shape(
        lambda x: UNet(2, padding="valid").init_with_output(jax.random.key(0), x, train=False)[0]["logits"],
        jax.ShapeDtypeStruct((1, 572, 572, 3), np.float32),
    )
    assert out.shape == (1, 388, 388, 2)


def test_a_side_that_does_not_halve_is_refused_with_the_nearest():
    with pytest.raises(JaxsegError, match="570: .* pad to 572 or crop to 556"):
        valid_output_size(570)


def test_mirror_is_the_valid_form_of_a_mirrored_image():
    mirror, valid = (UNet(3, base=4, depth=2, padding=p) for p in ("mirror", "valid"))
    x = np.random.default_rng(1).random((1, 52, 52, 3)).astype(np.float32)
    variables = variables_of(mirror, x)
    margin = 20  # (92 - 52) / 2
    assert valid_output_size(92, 2) == 52
    wide = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    a = logits_of(mirror, variables, x)
    b = logits_of(valid, variables, wide)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_finest_skip_is_used():
    """With the path from below silenced, the scores still see the image through the finest skip."""
    model = UNet(2, base=4, depth=1, dropout=0.0)
    x = np.random.default_rng(1).random((1, 16, 16, 3)).astype(np.float32)
    variables = variables_of(model, x)
    params = {
        **variables["params"],
        "up_conv0": jax.tree.map(np.zeros_like, variables["params"]["up_conv0"]),
    }
    logits = logits_of(model, {"params": params}, x)
    assert np.std(logits) > 1e-3
