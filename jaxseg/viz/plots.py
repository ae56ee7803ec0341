"""Training curves from the JSON lines that a run leaves."""

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
            axes.legend(fontsize=7)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
