"""A trained model as one file that runs without jaxseg: ``jax.export``'s (StableHLO), the weights inside.

    jaxseg.infer.export_model("unet.jax", model, variables)

and then, wherever there are jax, numpy and flatbuffers (by which jax reads such files)::

    run = jax.jit(jax.export.deserialize(open("unet.jax", "rb").read()).call)
    run(images)["label"]

Beside it lies ``unet.json``, which says what goes in and what comes out (:mod:`jaxseg.infer.card`). Sizes that are not
settled are letters in the program: b pictures of h x w pixels. Whether a model can be written so is found by trying;
operations whose forms depend on numbers ask :func:`jaxseg.ops.arguments.known`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import export

from jaxseg.infer import card, onnx
from jaxseg.infer.compare import compare, examples
from jaxseg.train.checkpoint import write_json
from jaxseg.types import Array, JaxsegError, Outputs, Task

PLATFORMS = ("cpu", "cuda", "tpu")
LEAST = 32  # pixels, the least side of pictures of any size: less than that some poolings leave nothing of

_HINT = "; ONNX has no form of all that JAX has: use the other format"

Format = Literal["jax", "onnx"]
Sizes = tuple[Any, Any, Any]
"""Pictures, height and width: numbers, or letters of what the file leaves open."""


class Program(NamedTuple):
    """What is written: ``call(variables, *inputs) -> {name: array}``, and of each input its dtype and shape, in which
    ``b``, ``h`` and ``w`` are not settled yet."""

    call: Callable[..., dict[str, Array]]
    inputs: dict[str, tuple[Any, tuple[Any, ...]]]

    def shapes(self, sizes: Sizes) -> dict[str, jax.ShapeDtypeStruct]:
        """The inputs with what ``sizes`` says in place of the letters."""
        scope = export.SymbolicScope([f"{letter} >= {LEAST}" for letter in ("h", "w") if letter in sizes])
        settled = dict(zip("bhw", sizes))
        text = {name: ", ".join(str(settled.get(n, n)) for n in shape) for name, (_, shape) in self.inputs.items()}
        dims = {name: export.symbolic_shape(t, scope=scope) for name, t in text.items()}
        return {name: jax.ShapeDtypeStruct(dims[name], dtype) for name, (dtype, _) in self.inputs.items()}


def export_model(
    file: str | Path,
    model: nn.Module,
    variables: Any,
    *,
    task: Task | None = None,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    uint8: bool = False,
    proposals: int | None = None,
    format: Format = "jax",
    platforms: Sequence[str] = PLATFORMS,
    usual_size: tuple[int, int] | None = None,
    about: Mapping[str, Any] | None = None,
    watch: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Write what ``model`` predicts as a file that needs no jaxseg, and its card beside it; gives the card.

    The file is read again and compared with the model before it takes its name (:mod:`jaxseg.infer.compare`): one that
    disagrees is not left behind, and what was there before stays.

    Args:
      file: where to. The card has the same name and ends in ``.json``.
      variables: the model's, as ``model.init`` gave or training made them.
      task: what is predicted is its ``predict``, of labels of pixels with their ``probabilities``. None: of logits
        ``[B, H, W, K]`` ``label`` and ``probabilities``; else every array that the model gives.
      size: (H, W) that the file is for. None: any from 32 x 32 on if the model allows, else ``usual_size``.
      batch: how many pictures at once. None: any number if the model allows, else one.
      uint8: pictures are uint8 in 0..255; else float32 in [0, 1].
      proposals: how many boxes come with a picture, for models that take proposals.
      format: "jax", or "onnx" (``pip install 'jaxseg[onnx]'``), which is of a fixed size.
      platforms: the kinds of device that a "jax" file is to run on.
      about: what else the card is to say.
      watch: is told what is being done.

    Raises:
      JaxsegError: a model that can't be exported so, a file that disagrees with it, or an absent package.
    """
    file = Path(file)
    _check(file, platforms, format, size or usual_size, batch)
    program = make_program(model, task, uint8, proposals)
    attempts = _attempts(size, batch, usual_size, format)
    sizes, blob, outputs, refused = _first_written(program, variables, attempts, format, tuple(platforms), watch)
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(blob)
        found = {}
        here = {"gpu": {"cuda", "rocm"}}.get(jax.default_backend(), {jax.default_backend()})
        if format == "onnx" or here & set(platforms):
            watch("comparing it with the model")
            settled = dict(zip("bhw", (2, *(usual_size or (96, 128)))))
            b, h, w = (settled.get(n, n) for n in sizes)
            given = examples(program.shapes((b, h, w)))
            found = compare(part, format, program.call, variables, given)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    text = card.make(file, format, platforms, model, variables, program.shapes(sizes), outputs)
    text |= {"not_for": refused, "compared_with_the_model": found, **(about or {})}
    write_json(file.with_suffix(".json"), text)
    return text


def make_program(
    model: nn.Module, task: Task | None = None, uint8: bool = False, proposals: int | None = None
) -> Program:
    """What ``model`` predicts as a function of variables and arrays; arguments as in :func:`export_model`."""
    inputs: dict[str, Any] = {"image": (jnp.uint8 if uint8 else jnp.float32, ("b", "h", "w", 3))}
    if "sizes" in signature(type(model).__call__).parameters:
        inputs["size"] = (jnp.int32, ("b", 2))
    if proposals:
        inputs |= {"proposals": (jnp.float32, ("b", proposals, 4)), "proposals_valid": (jnp.bool_, ("b", proposals))}

    def call(variables: Any, *arrays: Array) -> dict[str, Array]:
        batch: Any = dict(zip(inputs, arrays, strict=True))
        if uint8:
            batch["image"] = batch["image"].astype(jnp.float32) / 255
        if proposals:
            batch["proposals"] = {"boxes": batch["proposals"], "valid": batch.pop("proposals_valid")}
        arguments = task.inputs(batch) if task else [batch.get(key) for key in ("image", "size") if key in batch]
        outputs: Any = model.apply(variables, *arguments, train=False)
        return _predicted(task, outputs, batch)

    return Program(call, inputs)


def _predicted(task: Task | None, outputs: Outputs, batch: Any) -> dict[str, Array]:
    of_pixels = task.about == "pixels" if task else getattr(outputs.get("logits"), "ndim", 0) == 4
    probabilities = {"probabilities": jax.nn.softmax(outputs["logits"])} if of_pixels else {}
    if task:
        return task.predict(outputs, batch) | probabilities
    if of_pixels:
        return {"label": jnp.argmax(outputs["logits"], axis=-1).astype(jnp.int32)} | probabilities
    return {key: value for key, value in outputs.items() if isinstance(value, Array)}


def _attempts(size: Any, batch: int | None, usual_size: Any, format: Format) -> list[Sizes]:
    """What to try, the most general first."""
    any_size: list[Any] = [("h", "w")] if size is None and format == "jax" else []
    sizes = any_size + [tuple(s) for s in (size or usual_size,) if s]
    one_by_one: list[Sizes] = [(1, *sizes[-1])] if batch is None else []
    return [(batch or "b", *s) for s in sizes] + one_by_one


def _first_written(
    program: Program, variables: Any, attempts: list[Sizes], format: Format, platforms: tuple[str, ...], watch: Any
) -> tuple[Sizes, bytes, Any, dict[str, str]]:
    """The first of ``attempts`` that can be written, its bytes, its outputs, and why those before it can't."""
    refused: dict[str, str] = {}
    call = partial(program.call, variables)
    for sizes in attempts:
        watch(f"writing it for {card.in_words(sizes)}")
        try:
            shapes = program.shapes(sizes)
            if format == "onnx":
                return sizes, *onnx.write(call, shapes), refused
            written = export.export(jax.jit(call), platforms=platforms)(*shapes.values())
            outputs = jax.tree.unflatten(written.out_tree, written.out_avals)
            return sizes, bytes(written.serialize()), outputs, refused
        except Exception as error:  # of any kind: what is traced met a letter where it needs a number
            refused[card.in_words(sizes)] = _first_sentence(error)
    why = "; ".join(f"for {words}: {reason}" for words, reason in refused.items())
    raise JaxsegError(f"this model can't be exported as {format}, {why}{_HINT if format == 'onnx' else ''}")


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, JaxsegError) else text.split(". ")[0].rstrip(".")[:200] or type(error).__name__


def _check(file: Path, platforms: Sequence[str], format: str, size: Any, batch: int | None) -> None:
    if file.suffix == ".json":
        raise JaxsegError(f"{file}: the card is to be called so; give the file another ending, as .{format}")
    unknown = [p for p in platforms if p not in (*PLATFORMS, "rocm")]
    if unknown or not platforms:
        raise JaxsegError(f"platforms are {', '.join(platforms) or 'none'}; they can be cpu, cuda, rocm and tpu")
    if format not in ("jax", "onnx"):
        raise JaxsegError(f"format is {format!r}; it can be jax or onnx")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise JaxsegError(f"size is {size}; give (height, width) in pixels")
    if batch is not None and batch < 1:
        raise JaxsegError(f"batch is {batch}; give at least 1, or None for any number")
    if format == "onnx" and size is None:
        raise JaxsegError("an ONNX file is of a fixed size: give size=(H, W)")
    if format == "onnx":
        onnx.library()
