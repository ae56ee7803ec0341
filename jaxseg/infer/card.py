"""The card beside an exported model: what goes in, what comes out, and the lines that run it."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

import jaxseg
from jaxseg.config import Experiment, settings
from jaxseg.nn import Normalization

INPUTS = {
    "image": "pictures, RGB, {range}; what the network subtracts and divides by is inside",
    "size": "true height and width of each picture, the rest below and to the right of it being padding",
    "proposals": "boxes, (x1, y1, x2, y2) in pixels, best first",
    "proposals_valid": "which of them there are",
}
OUTPUTS = {
    "label": "the class of each pixel, its place in classes; 255 where the model says nothing",
    "probabilities": "of each class at each pixel",
    "boxes": "(x1, y1, x2, y2) in pixels of the input, the first pixel's centre at 0.5",
    "scores": "of boxes 0 to 1, best first; of whole pictures a score a class",
    "classes": "class k is the k-th name of classes, or of things where those are named apart; 1 is the first",
    "valid": "which rows hold something",
    "masks": "probabilities within the box: enlarge to the box, then 0.5 or more",
    "keypoints": "(x, y, 1) in pixels of the input",
    "keypoint_scores": "logits of the places",
    "tokens": "a caption: word t is words[t - 4], 2 ends it",
    "token_scores": "log-probabilities of the captions",
    "vertices": "(x, y) in pixels of the input, and depth in the same unit",
    "vertex_valid": "which vertices there are",
    "faces": "the places of three vertices each",
    "face_valid": "which faces there are",
    "segments": "the id of each pixel's segment; 0 is none",
    "segment_classes": "of segment i + 1 its place in classes",
    "segment_scores": "of segment i + 1",
    "segment_valid": "which segments there are",
    "category": "the class of the picture",
    "present": "which classes the picture shows",
}
_LETTERS = {"b": "any number of pictures", "h": "any height, 32 or more", "w": "any width, 32 or more"}
_RUN_JAX = """import jax, numpy  # and flatbuffers
run = jax.jit(jax.export.deserialize(bytearray(open({file!r}, "rb").read())).call)
found = run({inputs})"""
_RUN_ONNX = """import numpy, onnxruntime
session = onnxruntime.InferenceSession({file!r})
found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {{{inputs}}})))"""


def make(
    file: Path,
    format: str,
    platforms: Sequence[str],
    model: nn.Module,
    variables: Any,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
) -> dict[str, Any]:
    """What any exported model's card says. ``inputs`` and ``outputs``: by name what has shape and dtype."""
    scale = "0 to 255" if inputs["image"].dtype == np.uint8 else "0 to 1"
    letters = {str(n) for x in inputs.values() for n in x.shape}
    if format == "jax":
        run = _RUN_JAX.format(file=file.name, inputs=", ".join(inputs))
    else:
        run = _RUN_ONNX.format(file=file.name, inputs=", ".join(f'"{name}": {name}' for name in inputs))
    normalization = _normalization(model)
    return {
        "file": file.name,
        "format": {"jax": f"jax.export (StableHLO), for {', '.join(platforms)}", "onnx": "ONNX"}[format],
        "run": run.split("\n"),
        "inputs": {name: _array(x, INPUTS[name].format(range=scale)) for name, x in inputs.items()},
        "outputs": {name: _array(x, OUTPUTS.get(name, "")) for name, x in outputs.items()},
        "letters": {letter: words for letter, words in _LETTERS.items() if letter in letters},
        "model": type(model).__name__,
        "parameters": sum(math.prod(x.shape) for x in jax.tree.leaves(variables["params"])),
        **({"normalization_inside": {k: list(v) for k, v in normalization._asdict().items()}} if normalization else {}),
        "made_with": {"jaxseg": jaxseg.__version__, "jax": jax.__version__},
    }


def of_run(experiment: Experiment, workdir: Path, which: str, step: int) -> dict[str, Any]:
    """What the card of a run's model says beside that: names and colours of classes, what pictures went through before
    the network saw them, and every setting."""
    source = experiment.data.val
    stuff, things = (tuple(getattr(source, name, ())) for name in ("stuff", "things"))
    classes = (*stuff, *things) if experiment.task.about == "segments" else source.classes
    if experiment.task.about == "instances":
        classes = things
    about = {"classes": list(classes), "palette": np.asarray(source.palette).tolist()}
    if stuff and things:
        about["things"] = list(things)
    if hasattr(source, "vocabulary"):
        about["words"] = list(source.vocabulary.words)
    run = {"folder": workdir.name, "checkpoint": which, "step": step, "settings": settings(experiment)}
    return about | {"pictures_went_through": repr(experiment.data.prepare), "run_of": run}


def in_words(sizes: Sequence[Any]) -> str:
    """``(b, h, w)`` as a phrase."""
    b, h, w = sizes
    pictures = {"b": "any number of pictures", 1: "one picture"}.get(b, f"{b} pictures")
    return f"{pictures} of {'any size from 32x32 on' if h == 'h' else f'{h}x{w} pixels'}"


def _array(x: Any, text: str) -> dict[str, Any]:
    shape = [n if isinstance(n, int) else str(n) for n in x.shape]
    return {"shape": shape, "dtype": str(x.dtype)} | ({"what": text} if text else {})


def _normalization(model: Any) -> Normalization | None:
    """The model's, or that of a part or of the rules that it is made with."""
    found = getattr(model, "normalization", None)
    if isinstance(found, Normalization):
        return found
    if isinstance(getattr(model, "config", None), tuple):
        return model.config.normalization
    parts = [getattr(model, f.name) for f in dataclasses.fields(model) if f.name != "parent"]
    return next((n for part in parts if isinstance(part, nn.Module) and (n := _normalization(part))), None)
