"""Captions as numbers: a vocabulary, and instances that bear their captions' tokens."""

import dataclasses
import functools
import os
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from jaxseg.types import END, UNKNOWN_WORD, JaxsegError

_SPECIAL = UNKNOWN_WORD + 1  # tokens that are no words


def words_of(caption: str) -> list[str]:
    """In small letters; letters, digits, hyphens and apostrophes make words, all else parts them."""
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", caption.lower())


class Vocabulary:
    """``words``, of which word i is the token i + 4; before them come nothing, START, END and an unknown word
    (:mod:`jaxseg.types`). Immutable; equal ones have equal words.

    Args:
        words: or a function that gives them when they are first needed, as sources read nothing before their first
            sample; it must then be said beforehand how many they are.
        count: of words that are not known yet.
    """

    def __init__(self, words: Sequence[str] | Callable[[], Sequence[str]], *, count: int | None = None) -> None:
        self._given = words
        if not callable(words):
            self._count = len(self.words)
        elif count is None:
            raise JaxsegError("a vocabulary that is read when first needed must know how many words it has: give count")
        else:
            self._count = count

    @functools.cached_property
    def words(self) -> tuple[str, ...]:
        """All words, in the order of their tokens."""
        words = tuple(self._given() if callable(self._given) else self._given)
        if len(set(words)) != len(words):
            raise JaxsegError(f"a vocabulary of {len(words)} words, {len(set(words))} of them different")
        if callable(self._given) and len(words) != self._count:
            raise JaxsegError(f"a vocabulary of {len(words)} words where {self._count} were to be; say {len(words)}")
        return words

    @functools.cached_property
    def _token_of(self) -> dict[str, int]:
        return {word: i + _SPECIAL for i, word in enumerate(self.words)}

    @classmethod
    def of(cls, captions: Iterable[str], least: int = 1) -> "Vocabulary":
        """The words that come ``least`` times or more in ``captions``, most frequent first (Johnson et al. 2016: 15
        times)."""
        counts = Counter(word for caption in captions for word in words_of(caption))
        return cls([w for w, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= least])

    @classmethod
    def read(cls, file: str | os.PathLike) -> "Vocabulary":
        """Of a text file, one word a line."""
        return cls(pathlib.Path(file).read_text().split())

    def write(self, file: str | os.PathLike) -> None:
        """The file that :meth:`read` reads."""
        pathlib.Path(file).write_text("\n".join(self.words) + "\n")

    def __len__(self) -> int:
        """How many tokens there are."""
        return _SPECIAL + self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def encode(self, caption: str, length: int) -> np.ndarray:
        """``[length]`` int32: the tokens of its words, END, and 0; of a longer one as many words as there is room."""
        tokens = [self._token_of.get(word, UNKNOWN_WORD) for word in words_of(caption)]
        tokens = [*tokens[: length - 1], END]
        return np.array(tokens + [0] * (length - len(tokens)), np.int32)

    def decode(self, tokens: np.ndarray) -> str:
        """The words before END; an unknown one is ``<unknown>``."""
        words = []
        for token in np.asarray(tokens).tolist():
            if token == END or token == 0:
                break
            words.append(self.words[token - _SPECIAL] if token >= _SPECIAL else "<unknown>")
        return " ".join(words)


@dataclasses.dataclass(frozen=True)
class WithTokens:
    """A source whose instances have ``captions``, strings, with ``tokens`` [N, ``length``] int32 beside them.

    ``one_class``: all instances are of class 1, "region", as dense captioning has it.
    """

    source: Any
    vocabulary: Vocabulary
    length: int = 15
    one_class: bool = False

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the instance classes."""
        return ("region",) if self.one_class else tuple(self.source.things)

    classes = things

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """The source's, if it has any."""
        return tuple(getattr(self.source, "keypoint_names", ()))

    @property
    def palette(self) -> np.ndarray:
        """The source's."""
        return self.source.palette

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index]
        instances = sample["instances"]
        tokens = [self.vocabulary.encode(str(caption), self.length) for caption in instances["captions"]]
        changed: dict[str, Any] = {"tokens": np.array(tokens, np.int32).reshape(-1, self.length)}
        if self.one_class:
            changed["classes"] = np.ones(len(tokens), np.int32)
        return {**sample, "instances": {**instances, **changed}}


@dataclasses.dataclass(frozen=True)
class PictureCaptions:
    """A source of captioned pictures (``captions``: COCO's) as one of regions: of each picture ``count`` samples, each
    with one region, all of the picture, and one of its captions."""

    source: Any
    count: int = 5

    things = ("region",)
    classes = ("region",)
    palette = np.array([[230, 57, 70]], np.uint8)

    def __len__(self) -> int:
        return self.count * len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index // self.count]
        height, width = sample["image"].shape[:2]
        captions = sample["captions"][index % self.count % max(len(sample["captions"]), 1) :][:1]
        instances = {
            "boxes": np.array([[0, 0, width, height]] * len(captions), np.float32).reshape(-1, 4),
            "classes": np.ones(len(captions), np.int32),
            "captions": np.array(captions, dtype=object),
        }
        return {**{k: v for k, v in sample.items() if k != "captions"}, "instances": instances}


def caption_truth(source: Any, index: int) -> tuple[np.ndarray, list[str]]:
    """Boxes [N, 4] and captions of one image of a source: its own ``regions(index)`` where it has that, which reads no
    image, else its sample's."""
    inner = source.source if isinstance(source, WithTokens) else source
    if hasattr(inner, "regions"):
        return inner.regions(index)
    instances = inner[index]["instances"]
    return instances["boxes"], [str(caption) for caption in instances["captions"]]
