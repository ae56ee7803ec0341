"""What is said while a large picture takes its time."""

from jaxseg.infer import PictureProgress, progress


def test_without_a_terminal_a_line_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with PictureProgress(2) as bar:
        for second, done in ((5, 0.1), (20, 0.5), (25, 0.6), (40, 1.0)):
            now[0] = second
            bar.show("photo.jpg", done)
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines == [
        "photo.jpg: 25 % of all, about 60 s left",
        "photo.jpg: 50 % of all, about 40 s left",
    ]
