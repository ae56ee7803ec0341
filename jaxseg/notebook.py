"""What a notebook asks of the machine that it runs on: a folder that outlives it, and what there is to compute with."""

import sys
from pathlib import Path

from jaxseg.types import JaxsegError


def work_folder(name: str, *, drive: bool = True) -> Path:
    """A folder for what training leaves. On Google Colab, with ``drive``, it is ``jaxseg/NAME`` on your Google Drive,
    which is mounted for it (you are asked once): when Colab takes the machine away, the same notebook on another goes
    on. Elsewhere, or without ``drive``, it is beside the notebook.
    """
    folder = Path(name)
    if drive and "google.colab" in sys.modules:
        from google import colab  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]

        try:
            colab.drive.mount("/content/drive")
        except Exception as error:  # refused, or timed out: in words of its own
            raise JaxsegError(f"Google Drive can't be mounted ({error}); try again, or set DRIVE = False") from error
        folder = Path("/content/drive/MyDrive/jaxseg", name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def devices() -> str:
    """A line on what there is to compute with, and how to have more of it on Colab."""
    import jax

    found = jax.devices()
    text = f"{len(found)} x {found[0].device_kind} ({found[0].platform})"
    if found[0].platform == "cpu" and "google.colab" in sys.modules:
        text += ": slow; Runtime > Change runtime type gives a GPU or a TPU"
    return text
