"""Dense captioning's average precision: is the region found, and is it told what it is."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxseg.metrics.detections import original_boxes
from jaxseg.metrics.precision import average_precision, box_iou
from jaxseg.types import Batch, JaxsegError, Metric, Predictions

IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
METEORS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
MERGE = 0.7  # true regions that overlap at least so much are one, with several captions

Region = tuple[float, np.ndarray, str]
"""Score, box [4] and caption."""
Truth = tuple[np.ndarray, list[str]]
"""Boxes [N, 4] and captions."""
State = dict[int, tuple[Region, ...]]
"""The regions found in each image, by its place in the source."""


class _NoSynonyms:
    """What nltk's METEOR asks for synonyms."""

    def synsets(self, word: str) -> list[Any]:
        del word
        return []


@functools.lru_cache(maxsize=100_000)
def meteor(candidate: str, references: tuple[str, ...]) -> float:
    """METEOR of ``candidate``, 0 to 1, by the best of ``references`` (Banerjee & Lavie 2005), nltk's.

    Words match that are equal or have one stem. Synonyms, for which WordNet would have to be fetched, do not, nor
    paraphrases: scores are at most those of METEOR 1.5, which Johnson et al. used.
    """
    from nltk.translate.meteor_score import meteor_score

    words = candidate.split()
    wordnet: Any = _NoSynonyms()
    return float(meteor_score([r.split() for r in references], words, wordnet=wordnet)) if words else 0.0


def caption_metric(truth: Callable[[int], Truth], decode: Callable[[np.ndarray], str]) -> Metric:
    """Mean average precision of described regions (Johnson et al. 2016, section 4.3), in the original images' pixels.

    It runs on the host. ``update`` reads of the predictions ``boxes`` [B, D, 4], ``scores``, ``valid`` [B, D] and
    ``tokens`` [B, D, T], of the batch ``index`` and ``matrix``. ``compute`` gives ``caption_map``, the mean of AP over
    IoU of 0.3 to 0.7 and METEOR (:func:`meteor`) of 0 to 0.25; ``region_map``, over IoU alone, whatever was said;
    ``meteor``, a mean over the found regions that lie on a true one by 0.5; and ``exact``, the share of those whose
    caption is a true one to the letter.

    Args:
        truth: of an image's place in the source: ``functools.partial(jaxseg.data.caption_truth, source)``.
        decode: tokens to text, ``Vocabulary.decode``.
    """

    def update(state: State, predictions: Predictions, batch: Batch) -> State:
        found: State = {}
        for row, place in enumerate(np.asarray(batch["index"]).tolist()):
            if place < 0:
                continue
            part = {key: np.asarray(predictions[key][row]) for key in ("boxes", "scores", "valid", "tokens")}
            if not np.isfinite(part["boxes"][part["valid"]]).all():
                raise JaxsegError(f"image {place}: valid detections that are not finite; look at the model")
            boxes = original_boxes(part["boxes"], np.asarray(batch["matrix"][row]))
            chosen = np.flatnonzero(part["valid"])
            found[place] = tuple((float(part["scores"][n]), boxes[n], decode(part["tokens"][n])) for n in chosen)
        return state | found

    def compute(state: State) -> dict[str, Any]:
        return caption_scores([(state[place], truth(place)) for place in sorted(state)])

    return Metric(dict, update, lambda a, b: a | b, compute, on_host=True)


def caption_scores(images: Sequence[tuple[Sequence[Region], Truth]]) -> dict[str, Any]:
    """The numbers of :func:`caption_metric`, of found and true regions of each image."""
    records, count = [], 0
    for found, (boxes, captions) in images:
        merged, references = merged_regions(boxes, captions)
        count += len(merged)
        records += _matched(found, merged, references)
    if not count:
        return dict.fromkeys(("caption_map", "region_map", "meteor", "exact"), float("nan"))
    records.sort(key=lambda record: -record[0])
    iou, said = (np.array([record[i] for record in records]) for i in (1, 2))
    on = [record for record in records if record[1] >= 0.5]
    with_words = [_ap((iou >= i) & (said >= m), count) for i in IOUS for m in METEORS]
    return {
        "caption_map": float(np.mean(with_words)),
        "region_map": float(np.mean([_ap(iou >= i, count) for i in IOUS])),
        "meteor": float(np.mean([record[2] for record in on])) if on else 0.0,
        "exact": float(np.mean([record[3] for record in on])) if on else 0.0,
    }


def merged_regions(boxes: np.ndarray, captions: Sequence[str]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """True regions that overlap by ``MERGE`` or more made one, their boxes' mean, with the captions of all: again and
    again the region with most such neighbours and these."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    near = box_iou(boxes, boxes) >= MERGE
    left = np.ones(len(boxes), bool)
    merged: list[np.ndarray] = []
    references: list[tuple[str, ...]] = []
    while left.any():
        counts = np.where(left, (near & left).sum(1), 0)
        group = np.flatnonzero(near[int(np.argmax(counts))] & left)
        merged.append(boxes[group].mean(0))
        references.append(tuple(captions[int(n)] for n in group))
        left[group] = False
    return np.array(merged).reshape(-1, 4), references


def _ap(right: np.ndarray, count: int) -> float:
    return average_precision(right, ~right, count, 101)


def _matched(
    found: Sequence[Region], boxes: np.ndarray, references: list[tuple[str, ...]]
) -> list[tuple[float, float, float, bool]]:
    """Of each region found its score, its IoU with the true one that it overlaps most, METEOR, and whether its caption
    is one of that region's; nothing if a better one has that region, or none is met."""
    records, used = [], set()
    overlaps = box_iou(np.array([box for _, box, _ in found]), boxes)
    for n in sorted(range(len(found)), key=lambda n: -found[n][0]):
        score, _, caption = found[n]
        best = int(np.argmax(overlaps[n])) if len(boxes) else -1
        if best < 0 or overlaps[n, best] <= 0 or best in used:
            records.append((score, -1.0, -1.0, False))
            continue
        used.add(best)
        said = tuple(" ".join(reference.lower().split()) for reference in references[best])
        records.append((score, float(overlaps[n, best]), meteor(caption, said), caption in said))
    return records
