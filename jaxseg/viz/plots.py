"""Curves: of training, from the JSON lines that a run leaves; of lesion studies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_curves(records: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draw loss, learning rate and validation scores against the step, and write them as one PNG.

    ``records`` are the lines of ``metrics.jsonl``: dicts with ``step`` and any of ``train/...``, ``val/...``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {"loss": "train/loss", "learning rate": "train/learning_rate", "validation": "val/"}
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, prefix) in zip(figure.subplots(1, len(panels)), panels.items()):
        # Scores of single classes (val/iou/sky) and counts (whole numbers) would drown the summary.
        names = sorted({key for r in records for key in r if key.startswith(prefix) and key.count("/") == 1})
        for name in names:
            points = [(r["step"], r[name]) for r in records if isinstance(r.get(name), float)]
            if points:
                marker = "o" if len(points) < 30 else None
                axes.plot(*zip(*points), label=name.split("/", 1)[1], lw=1.4, marker=marker, ms=3)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines and prefix == "val/":
            many = len(axes.lines) > 14
            legend = axes.legend(fontsize=5 if many else 7, ncols=1 + len(axes.lines) // 15)
            legend.set_in_layout(not many)  # else a long one would leave no room for the curves
    return _write(figure, path)


def plot_rates(rates: Sequence[float], losses: Sequence[float], suggested: float, path: str | Path) -> Path:
    """Draw the loss against the learning rate of :func:`jaxseg.train.find_rate`, the suggestion marked, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(rates, losses, lw=1.4)
    axes.axvline(suggested, color="grey", ls="--", label=f"suggested: {suggested:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="smoothed loss")
    axes.grid(alpha=0.3)
    axes.legend()
    return _write(figure, path)


def plot_lesions(
    path: str | Path,
    *,
    whole: Mapping[str, float],
    single: Mapping[str, Mapping[str, float]],
    dropped: Mapping[int, Sequence[float]],
    reordered: Sequence[tuple[float, float]],
) -> Path:
    """Draw a lesion study of networks (Veit et al. 2016, figures 3, 5a and 5b) and write it as one PNG.

    All errors are shares, 0 to 1. ``whole``: the error of each network as trained; ``single``: for each network the
    error without each one of its parts, by name and in order (the longest list has all names); ``dropped``: the errors
    of several tries by how many blocks were taken out at once; ``reordered``: pairs of Kendall's tau and error.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    FigureCanvasAgg(figure)
    first, second, third = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
    names = list(max(single.values(), key=len))
    for i, (network, errors) in enumerate(single.items()):
        places = [names.index(name) for name in errors]
        first.plot(places, list(errors.values()), "o-", color=f"C{i}", ms=4, lw=1, label=f"{network}, one out")
        first.axhline(whole[network], color=f"C{i}", ls=":", lw=1, label=f"{network}, whole")
    first.set_xticks(range(len(names)), names, rotation=60, fontsize=7)
    first.set(title="without one part")
    first.legend(fontsize=7)
    second.boxplot(list(dropped.values()), positions=list(dropped), whis=(0, 100))
    second.set(title="without several blocks", xlabel="blocks taken out")
    third.plot(*zip(*reordered), "o", ms=3, alpha=0.6)
    third.invert_xaxis()
    third.set(title="blocks in another order", xlabel="Kendall's tau (1: as trained)")
    for axes in (first, second, third):
        axes.set(ylabel="test error", ylim=(-0.03, 1.12))
        axes.grid(alpha=0.3)
    return _write(figure, path)


def _write(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
