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


def test_a_lesion_study_is_drawn_part_by_part(tmp_path, monkeypatch):
    """Each error above its part's name, also for a network that lacks some parts; tries by their number; taus."""
    drawn = {}
    plot, boxplot = Axes.plot, Axes.boxplot
    note = lambda self, x, y, *a, **k: drawn.update({k.get("label"): (list(x), list(y))}) or plot(self, x, y, *a, **k)
    monkeypatch.setattr(Axes, "plot", note)
    boxes = lambda self, x, **k: drawn.update(tries=(k["positions"], x)) or boxplot(self, x, **k)
    monkeypatch.setattr(Axes, "boxplot", boxes)
    path = viz.plot_lesions(
        tmp_path / "lesions.png",
        whole={"ResNet": 0.1, "plain": 0.2},
        single={"ResNet": {"a": 0.3, "b": 0.2, "c": 0.1}, "plain": {"b": 0.9, "c": 0.8}},
        dropped={1: [0.2, 0.3], 3: [0.5, 0.6]},
        reordered=[(1.0, 0.1), (0.8, 0.4)],
    )
    assert path.stat().st_size > 1000
    assert drawn["ResNet, one out"] == ([0, 1, 2], [0.3, 0.2, 0.1])
    assert drawn["plain, one out"] == ([1, 2], [0.9, 0.8])
    assert drawn["tries"] == ([1, 3], [[0.2, 0.3], [0.5, 0.6]])
    assert drawn[None] == ([1.0, 0.8], [0.1, 0.4])
