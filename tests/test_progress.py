"""How far something is: the lines of a pipe, and the bar of a terminal."""

import re

import pytest

from jaxseg import progress as told
from jaxseg.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """The time, in seconds, which passes when a test says so; without a pause between lines."""
    now = [100.0]
    monkeypatch.setattr(told, "QUIET", 0.0)
    monkeypatch.setattr(told.time, "monotonic", lambda: now[0])
    return now


def test_the_line_of_a_pipe(clock, capsys):
    with progress("val.zip", 4_000_000, "B") as show:
        clock[0] += 2
        show(1_000_000)
    with progress("counting", unit="masks") as show:
        clock[0] += 1
        show(3)
        clock[0] += 1
        show(5, 10)
    assert capsys.readouterr().err.splitlines() == [
        "val.zip: 1.0 MB of 4.0 MB, 500.0 kB/s, about 6 s left",
        "counting: 3 masks",
        "counting: 5 of 10 masks, 2.5/s, about 2 s left",
    ]


def test_what_an_earlier_run_did_is_none_of_our_speed(clock, capsys):
    with progress("val.zip", 4_000_000, "B", done=3_000_000) as show:
        clock[0] += 2
        show(3_500_000)
    with progress("val.zip", 4_000_000, "B", done=3_000_000) as show:
        clock[0] += 2
        show(0)  # of a server that can't resume
        clock[0] += 2
        show(2_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "val.zip: 3.5 MB of 4.0 MB, 250.0 kB/s, about 2 s left",
        "val.zip: 0 bytes of 4.0 MB, 0 bytes/s",
        "val.zip: 2.0 MB of 4.0 MB, 1.0 MB/s, about 2 s left",
    ]


def test_the_bar_of_a_terminal(monkeypatch, capsys):
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "100")):
        monkeypatch.setenv(name, value)
    with progress("predict", 40, "pictures") as show:
        for done in range(1, 21):
            show(done)
            told.time.sleep(0.02)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"predict .* 20/40 pictures +\d+\.\d/s +00:\d\d", drawn.splitlines()[-1])
