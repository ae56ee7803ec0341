"""What a run left as numbers, in the order that a reader wants: tables of scores, and curves by panel."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MOST_POINTS = 1500  # of a curve; of a longer one every second, third, ... is left out
MOST_CLASSES = 40  # of a confusion matrix that is shown whole
MOST_MISTAKES = 12
_APART = ("learning_rate", "gradient_norm", "images_per_second")  # not on the scale of losses
_BY_SIZE = re.compile(r"(?P<kind>[a-z]+)_(?P<name>a[pr](\d+|_small|_medium|_large)?)")


class Table(NamedTuple):
    """``head``: names of the columns, the first that of the rows' names; ``rows``: a name and its cells each."""

    title: str
    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Any]]]
    note: str = ""


def score_tables(
    scores: Mapping[str, Any], main: str, classes: Sequence[str], counts: Mapping[str, int], unit: str
) -> list[Table]:
    """Tables of what a metric computed: single numbers, ``main`` first; AP and AR of COCO, a row for boxes, masks and
    keypoints each; by class, with ``counts`` of ``unit``; by whatever else a score is told by (joints)."""
    numbers = {k: v for k, v in scores.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    grid = {name: match for name in numbers if (match := _BY_SIZE.fullmatch(name))}
    single = [main, *(name for name in numbers if name != main)]
    rows = [(name, [numbers[name]]) for name in single if name in numbers and name not in grid]
    tables = [Table("All together", ("score", ""), rows)]
    columns = list(dict.fromkeys(match["name"] for match in grid.values()))
    kinds = list(dict.fromkeys(match["kind"] for match in grid.values()))
    rows = [(kind, [numbers.get(f"{kind}_{name}") for name in columns]) for kind in kinds]
    note = "Means over IoU from 0.50 to 0.95, but ap50 and ap75; ar10: recall with at most 10 detections a picture."
    tables.append(Table("Average precision and recall, by size", ("", *columns), rows, note))
    groups: dict[bool, dict[str, Mapping[str, Any]]] = {True: {}, False: {}}
    for name, value in scores.items():
        if isinstance(value, Mapping) and value:
            groups[set(value) <= set(classes)][name] = value
    if groups[True] or counts:
        tables.append(_by_name("By class", classes, groups[True], counts, unit))
    for name, value in groups[False].items():
        tables.append(_by_name(name, list(value), {name: value}, {}, ""))
    lists = [(name, [", ".join(map(str, v))]) for name, v in scores.items() if isinstance(v, list | tuple) and v]
    tables.append(Table("Also", ("", ""), lists))
    return [table for table in tables if table.rows]


def _by_name(
    title: str, names: Sequence[str], groups: Mapping[str, Mapping[str, Any]], counts: Mapping[str, int], unit: str
) -> Table:
    told = [name for name in names if counts.get(name) or any(name in values for values in groups.values())]
    head = (title.removeprefix("By "), *([f"{unit} in the truth"] if counts else []), *groups)
    rows = []
    for name in told:
        cells = [values.get(name) for values in groups.values()]
        rows.append((name, [counts.get(name, 0), *cells] if counts else cells))
    return Table(title, head, rows)


def confusion_table(confusion: np.ndarray, classes: Sequence[str], unit: str) -> dict[str, Any]:
    """The rows of a confusion matrix ``[K, K]`` in per cent of each true class, for the classes that occur (none if
    there are more than ``MOST_CLASSES``), and the commonest mistakes."""
    matrix = np.asarray(confusion, np.float64)
    seen = np.flatnonzero(matrix.sum(0) + matrix.sum(1)).tolist()
    total = matrix.sum(1, keepdims=True)
    share = np.where(total > 0, 100 * matrix / np.maximum(total, 1), np.nan)
    rows = [(classes[t], [None if math.isnan(share[t, p]) else float(share[t, p]) for p in seen]) for t in seen]
    wrong = matrix * (1 - np.eye(len(matrix)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_MISTAKES]
    pairs = [divmod(int(i), len(matrix)) for i in order if wrong.flat[i] > 0]
    mistakes = [
        (classes[t], [classes[p], int(wrong[t, p]), f"{share[t, p]:.1f} %", f"{100 * wrong[t, p] / wrong.sum():.1f} %"])
        for t, p in pairs
    ]
    head = ("truth", "taken for", unit, "of that class", "of all mistakes")
    return {
        "classes": [classes[k] for k in seen],
        "rows": rows if len(seen) <= MOST_CLASSES else [],
        "mistakes": Table("The commonest mistakes", head, mistakes),
    }


def curve_panels(records: Sequence[Mapping[str, Any]], main: str) -> list[dict[str, Any]]:
    """Panels of curves from the lines of ``metrics.jsonl``: scores (``main`` first and, of many, it alone shown),
    losses, learning rate and its like, and each score by class."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record.items():
            if isinstance(value, float) and math.isfinite(value) and "/" in name:
                curves.setdefault(name, []).append((record["step"], value))
    panels: dict[str, list[str]] = {"scores": [], "losses": []}
    for name in curves:
        kind, score, *of = name.split("/", 2)
        if kind == "val":
            panels.setdefault(f"{score.removesuffix('_of')} by class" if of else "scores", []).append(name)
        else:
            panels.setdefault(score.replace("_", " ") if score in _APART else "losses", []).append(name)
    first = {f"val/{main}", "train/loss"}
    made = []
    for title, names in panels.items():
        names.sort(key=lambda name: name not in first)
        few = len(names) <= 6 or title != "scores"
        series = [_series(name, curves[name], few or name in first) for name in names]
        made += [{"title": title, "series": series}] if series else []
    return made


def _series(name: str, points: Sequence[tuple[int, float]], shown: bool) -> dict[str, Any]:
    points = points[:: 1 + len(points) // MOST_POINTS]
    return {"name": name.split("/", 2)[-1], "x": [x for x, _ in points], "y": [y for _, y in points], "shown": shown}
