"""Files of weights on the Hugging Face Hub, by its own library (``pip install 'jaxseg[hub]'``)."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from jaxseg.types import JaxsegError
from jaxseg.weights import packed

PREFIX = "hf:"
FILE = "weights.safetensors"


def pull(repository: str) -> Path:
    """The file of weights of ``repository``, ``USER/NAME`` or ``USER/NAME@REVISION``, fetched if it is not here yet.

    Raises JaxsegError where the library is not installed, and where the Hub has no such file or can't be reached.
    """
    name, _, revision = repository.removeprefix(PREFIX).partition("@")
    hub = _library()
    try:
        return Path(hub.hf_hub_download(name, FILE, revision=revision or None))
    except Exception as error:  # its own, and those of whichever HTTP library it stands on
        raise JaxsegError(
            f"{PREFIX}{name} gives no {FILE} ({_first_line(error)}); is it USER/NAME of a model that jaxseg weights "
            "push made? Of a private one, give HF_TOKEN"
        ) from error


def push(file: Path, repository: str, *, private: bool = False) -> str:
    """Put a file of weights on the Hub, with a card made of what it tells of itself; gives its address.

    The repository ``USER/NAME`` is made if need be. Whose it is says ``HF_TOKEN``, or ``hf auth login``.
    """
    what, hub = packed.about(file), _library()
    name = repository.removeprefix(PREFIX)
    try:
        account = hub.HfApi()
        account.create_repo(name, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, FILE).symlink_to(file.resolve())
            Path(folder, "README.md").write_text(card(what, name))
            if what.own_config:
                Path(folder, "config.py").write_text(what.config)
            sent = account.upload_folder(repo_id=name, folder_path=folder, commit_message="jaxseg weights push")
    except Exception as error:
        raise JaxsegError(
            f"{name} takes no weights ({_first_line(error)}); it must be USER/NAME of your own, with a token that may "
            "write (HF_TOKEN, or hf auth login), and the Hub must be reached from here"
        ) from error
    return str(sent)


def card(what: packed.About, name: str) -> str:
    """A model card: what the Hub reads, then what a person does."""
    told = dict(what.card)
    title = told.pop("title", name.split("/")[-1])
    licence = told.pop("licence", "other")
    known = re.fullmatch(r"[\w.-]+", licence)  # the Hub's own names of licences have no spaces
    named = [f"license: {licence.lower()}"] if known else ["license: other", f"license_name: {json.dumps(licence)}"]
    head = ["---", "library_name: jaxseg", *named, "tags: [jax, flax, image-segmentation]", "---"]
    facts = [*told.items(), ("licence", licence), ("config", "config.py" if what.own_config else what.config)]
    facts += [("arguments", " ".join(what.arguments)), ("steps", str(what.step)), ("jaxseg", what.version)]
    scores = [f"| {score.replace('|', '&#124;')} | {value:.4f} |" for score, value in what.scores.items()]
    weights = f"{PREFIX}{name}"
    use = [f"jaxseg predict photo.jpg --weights {weights}"]
    if what.own_config:  # which is read before it is run
        use = [f"jaxseg weights unpack {weights} --workdir model", "jaxseg predict photo.jpg --workdir model"]
    return "\n".join(
        [
            *head,
            f"\n# {title}\n",
            *(f"- {key}: {value}" for key, value in facts if value),
            "\n".join(["\n```", "pip install 'jaxseg[hub]'", *use, "```\n"]),
            *(["Scores on its validation data:\n", "| score | value |", "|---|---|", *scores] if scores else []),
            "",
        ]
    )


def _library() -> Any:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise JaxsegError("the Hugging Face Hub needs its library: pip install 'jaxseg[hub]'") from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
