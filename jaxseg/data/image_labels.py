"""Sources whose samples bear a label of the whole picture, made from sources with label maps or instances.

A picture's label is ``category``: int32, a scalar or [K] (:mod:`jaxseg.types`). It is that of the picture as read: a
random crop that cuts the object away leaves it, as it would where people labelled the pictures.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxseg.data.cutouts import Cutouts
from jaxseg.types import UNKNOWN, JaxsegError


@dataclasses.dataclass(frozen=True)
class Present:
    """Which of ``classes`` a picture shows: ``category`` int32 [K], 1 present, 0 absent. Nothing says where.

    One class is a target to be told from its background: pictures with it against pictures without. A class may be one
    of the source's ``classes`` (seen in the label map) or of its ``things`` (among the instances).

    With ``keep_instances`` the instances of these classes stay, numbered from 1 in the order of ``classes``: the truth
    by which weak localization is judged, not for training.

    Raises:
        JaxsegError: a class that the source does not have.
    """

    source: Any
    classes: tuple[str, ...]
    keep_instances: bool = False

    def __post_init__(self) -> None:
        known = (*self.source.classes, *getattr(self.source, "things", ()))
        unknown = [name for name in self.classes if name not in known]
        if isinstance(self.classes, str) or not self.classes or unknown:
            raise JaxsegError(
                f"Present.classes is {self.classes!r}; expected a tuple of {', '.join(dict.fromkeys(known))}"
            )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index]
        seen: set[str] = set()
        if "label" in sample:
            seen |= {self.source.classes[k] for k in np.unique(sample["label"]) if k < len(self.source.classes)}
        things = np.array(getattr(self.source, "things", ()))
        of_instance = things[sample["instances"]["classes"] - 1] if "instances" in sample else np.array([], "U1")
        category = np.array([name in seen | set(of_instance.tolist()) for name in self.classes], np.int32)
        out = {key: sample[key] for key in ("image", "name") if key in sample} | {"category": category}
        if self.keep_instances:
            rows = np.flatnonzero(np.isin(of_instance, self.classes))
            number = np.array([self.classes.index(name) + 1 for name in of_instance[rows]], np.int32)
            out["instances"] = select_instances(sample["instances"], rows) | {"classes": number}
        return out


@dataclasses.dataclass(frozen=True)
class MainObject:
    """The largest object of each picture (by its box): its class as ``category``, and it alone as ``instances``.

    ``classes`` are the source's ``things``; a picture without instances is of ``UNKNOWN`` class.
    """

    source: Any

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories."""
        return self.source.things

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index]
        boxes, classes = sample["instances"]["boxes"], sample["instances"]["classes"]
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        rows = np.argsort(-area, kind="stable")[:1]
        category = np.int32(classes[rows[0]] - 1 if len(rows) else UNKNOWN)
        out = {key: sample[key] for key in ("image", "name") if key in sample} | {"category": category}
        return out | {"instances": select_instances(sample["instances"], rows)}


def select_instances(instances: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """The instances at ``rows``; what is no array [N, ...] (``flip_pairs``) stays."""
    return {key: value[rows] if isinstance(value, np.ndarray | Cutouts) else value for key, value in instances.items()}
