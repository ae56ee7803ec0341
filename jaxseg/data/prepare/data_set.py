"""What is known of a published data set before anything of it is fetched."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxseg.data.prepare.archives import Archive, Find


class DataSet(NamedTuple):
    """One data set that ``jaxseg data prepare`` knows.

    Args:
        name: of the TFDS data set that is written, and on the command line.
        about: what it is, in a line.
        source: folder below ``downloads`` that its archives share with others.
        page: who publishes it.
        licence: under which terms.
        archives: those that each split is made of.
        contents: what is written of a split, given where its files are:
            ``(find, split) -> jaxseg.data.prepare.writing.Contents``.
        reader: the function of ``jaxseg.data`` that reads it.
    """

    name: str
    about: str
    source: str
    page: str
    licence: str
    archives: Mapping[str, tuple[Archive, ...]]
    contents: Callable[[Find, str], Any]
    reader: str
    version: str = "1.0.0"
