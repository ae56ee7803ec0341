"""Lesion studies of residual networks (Veit, Wilber & Belongie, NIPS 2016, sections 4.1 to 4.3).

A residual network is a sum over many paths: each block adds ``F(x)`` to what passes by. So a block, or several, can be
taken out of a trained network or exchanged with one another, and the rest still works, the error growing smoothly with
the number; not so where the resolution changes, and not in networks without shortcuts. Both are done to the variables
here, not to the network, so that one compiled program serves every lesion.

A block taken out leaves its shortcut: the identity, exactly (what passes has gone through a ReLU, so the block's last
one changes nothing), or, where the shape changes, the projection, which cannot be taken out. benchmarks/lesions.py
draws the paper's figures 3 and 5.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.types import JaxsegError

Variables = Mapping[str, Any]
_BLOCK = re.compile(r"layer(\d+)_(\d+)")


def block_names(variables: Variables) -> list[str]:
    """The residual blocks of a :class:`jaxseg.nn.ResNet`, by itself or in a model: ``layer1_0``, ``layer1_1``, ..."""
    return sorted(_blocks(variables["params"]), key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def drop_blocks(variables: Variables, names: Collection[str]) -> dict[str, Any]:
    """``variables`` with the residual branch of each named block silenced: only its shortcut passes.

    A branch ends in a normalisation (in a network without, in a convolution), whose scale and bias become zero.
    Raises JaxsegError for a block that is not there.
    """
    _check_known(variables, names)

    def silenced(name: str, block: Variables) -> Variables:
        if name not in names:
            return block
        end = max([key for key in block if key.startswith("bn")] or [key for key in block if key.startswith("conv")])
        return {**block, end: jax.tree.map(jnp.zeros_like, block[end])}

    return {**variables, "params": _with_blocks(variables["params"], silenced)}


def exchange_blocks(variables: Variables, order: Mapping[str, str]) -> dict[str, Any]:
    """``variables`` with block ``a`` replaced by block ``b`` for each ``{a: b}``, parameters and statistics.

    Raises JaxsegError for a block that is not there, or whose shapes differ from those of the one it replaces.
    """
    _check_known(variables, [*order, *order.values()])
    shapes = {name: _shapes(block) for name, block in _blocks(variables["params"]).items()}
    unlike = [f"{a} and {b}" for a, b in order.items() if shapes[a] != shapes[b]]
    if unlike:
        raise JaxsegError(
            f"these blocks differ in shape: {', '.join(unlike)}; exchange blocks within a stage, not first"
        )

    def exchanged(tree: Variables) -> dict[str, Any]:
        theirs = _blocks(tree)
        return _with_blocks(tree, lambda name, block: theirs[order[name]] if name in order else block)

    return {collection: exchanged(tree) for collection, tree in variables.items()}


def blocks_alike(variables: Variables) -> list[list[str]]:
    """The blocks in groups of equal shape, which may change places: a stage, without a first block that projects."""
    blocks, groups = _blocks(variables["params"]), []
    for name in block_names(variables):
        same = groups and _shapes(blocks[groups[-1][0]]) == _shapes(blocks[name])
        groups = [*groups[:-1], [*groups[-1], name]] if same else [*groups, [name]]
    return groups


def shuffled(variables: Variables, swaps: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
    """A random order for :func:`exchange_blocks`, by ``swaps`` exchanges of two blocks alike, and how much it keeps.

    That is Kendall's tau between the old order and the new: the share of pairs of blocks in their old order less the
    share of those reversed, 1 for no change (section 4.3). Raises JaxsegError where no two blocks are alike.
    """
    names = block_names(variables)
    pairs = [(a, b) for group in blocks_alike(variables) for i, a in enumerate(group) for b in group[i + 1 :]]
    if swaps and not pairs:
        raise JaxsegError(f"no two blocks are alike among {', '.join(names)}; take a deeper network")
    order = {name: name for name in names}
    for _ in range(swaps):
        a, b = pairs[rng.integers(len(pairs))]
        order[a], order[b] = order[b], order[a]
    place = [names.index(order[name]) for name in names]
    kept = [np.sign(q - p) for i, p in enumerate(place) for q in place[i + 1 :]]
    return {a: b for a, b in order.items() if a != b}, float(np.mean(kept)) if kept else 1.0


def _blocks(tree: Variables) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= {key: value} if _BLOCK.fullmatch(key) else _blocks(value)
    return found


def _with_blocks(tree: Variables, change: Callable[[str, Variables], Variables]) -> dict[str, Any]:
    return {
        key: value
        if not isinstance(value, Mapping)
        else change(key, value)
        if _BLOCK.fullmatch(key)
        else _with_blocks(value, change)
        for key, value in tree.items()
    }


def _shapes(block: Variables) -> Any:
    return jax.tree.map(jnp.shape, block)


def _check_known(variables: Variables, names: Collection[str]) -> None:
    known = block_names(variables)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise JaxsegError(f"no residual block {', '.join(unknown)}; there are {', '.join(known)}")
