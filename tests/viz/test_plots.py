from matplotlib.axes import Axes

from jaxseg import viz


def test_only_summary_scores_are_drawn(tmp_path, monkeypatch):
    drawn = []
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *a, **k: drawn.append(k["label"]) or plot(self, *a, **k))
    records = [
        {"step": 1, "train/loss": 2.0, "train/learning_rate": 0.1},
        {"step": 1, "val/miou": 0.5, "val/iou/sky": 0.7, "val/pixels": 819200, "val/absent": ["car"]},
    ]
    viz.plot_curves(records, tmp_path / "curves.png")
    assert drawn == ["loss", "learning_rate", "miou"]
