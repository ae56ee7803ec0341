"""From a name, or a file, to the variables of a model."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxseg.types import JaxsegError
from jaxseg.weights import packed
from jaxseg.weights.fetch import fetch
from jaxseg.weights.match import Patterns, to_jaxseg
from jaxseg.weights.published import PUBLISHED, Weights
from jaxseg.weights.read import read_arrays
from jaxseg.weights.sources import from_any


def load(
    weights: str | Path | Weights,
    variables: Mapping[str, Any],
    *,
    file: str | Path | None = None,
    part: str = "",
    fresh: str = "",
    exempt: Sequence[str] = (),
    patterns: Patterns | None = None,
) -> dict[str, Any]:
    """``variables`` of a model with published weights, every array accounted for.

    ::

        load("resnet50_imagenet1k_v2", variables)                     # of models.resnet.ResNet50(1000)
        load("resnet50_imagenet1k_v2", variables, part="backbone")    # of any model with such a backbone
        load("deeplabv3_resnet50_coco_with_voc_labels_v1", variables, fresh="score")  # of other classes
        load("vgg16_imagenet1k_v1", variables, fresh="score")         # of models.FCN8s(K): fc6 and fc7 too
        load("unet.pth", variables)                                   # a file of one's own, from any known library
        load("nuclei", variables, part="detector/backbone")           # a file of weights of ours, or a shipped one
        load("hf:me/cells", variables)                                # or one on the Hugging Face Hub

    Args:
      weights: a name in ``PUBLISHED`` (fetched if need be), a file (.safetensors, .npz, .pth, .pt, .bin, .ckpt), or the
        name of weights that are part of the package (``jaxseg weights list``), or ``hf:USER/NAME``.
      variables: what ``model.init`` gave, or, where every array is to be taken, their shapes (``jax.eval_shape``).
      file: where published weights are, if they are not to be fetched.
      part: the path of the only part that takes weights; everything else stays as it is.
      fresh: pattern of our layers (``re.search`` in their paths) that stay as they are.
      exempt: patterns of the file's names that need not fit.
      patterns: the file's names for our layers, from the module named after its source; by default whichever fits.

    Raises:
      JaxsegError: nothing of that name, a file that can't be had or read, or names and shapes that do not fit; all of
        them are listed.
    """
    known = PUBLISHED.get(weights, weights) if isinstance(weights, str) else weights
    if not isinstance(known, Weights) and patterns is None and packed.is_packed(known):
        path = packed.packed_file(known)
        if part:
            _check_part(variables, part)
        return packed.from_packed(path, variables, part=part, fresh=fresh, exempt=exempt)
    convert, transposed = dict, ""
    if isinstance(known, Weights):
        convert, transposed = known.convert, known.transposed
        path, patterns = _path(file) if file else fetch(known), known.patterns if patterns is None else patterns
        exempt = (*exempt, known.head) if part or fresh else exempt
    else:
        path = _path(known)
    if part:
        _check_part(variables, part)
    arrays = convert(read_arrays(path))
    if patterns is None:
        return from_any(variables, arrays, part=part, fresh=fresh, exempt=exempt)
    return to_jaxseg(variables, arrays, patterns, transposed=transposed, part=part, fresh=fresh, exempt=exempt)


def _path(weights: str | Path) -> Path:
    path = Path(weights)
    if path.suffix or path.exists():
        return path
    names = [*packed.shipped(), *PUBLISHED]
    close = difflib.get_close_matches(str(weights), names, 3)
    hint = f"did you mean {', '.join(close)}?" if close else "jaxseg weights list names those there are"
    raise JaxsegError(f"no published weights and no file {str(weights)!r}; {hint}")


def _check_part(variables: Mapping[str, Any], part: str) -> None:
    paths = jax.tree_util.tree_leaves_with_path(variables["params"])
    layers = {"/".join(entry.key for entry in path[:-1]) for path, _ in paths}
    if not any(layer.startswith(f"{part}/") for layer in layers):
        top = sorted({layer.split("/")[0] for layer in layers})
        raise JaxsegError(f"the model has no part named {part!r}; its parts are {', '.join(top)}")
