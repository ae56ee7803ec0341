"""How far something is: a bar with speed and time left, or without a terminal a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

QUIET = 10.0  # seconds between lines where there is no terminal
Show = Callable[..., None]
"""``show(done)``, or ``show(done, total)`` where the total was not known before or has changed."""


@contextmanager
def progress(title: str, total: float | None = None, unit: str = "", done: float = 0) -> Iterator[Show]:
    """``with progress("val2017.zip", size, "B") as show: ... show(done)``.

    Args:
        title: what is being done.
        total: of how many, None where nobody knows yet.
        unit: of what; "B" are bytes, written as kB, MB and GB.
        done: what an earlier run had done already, which says nothing of our speed.
    """
    console = Console(file=sys.stderr, soft_wrap=True)
    columns = TextColumn("[bold]{task.description}"), BarColumn(), _Count(unit), TimeRemainingColumn(compact=True)
    bar = Progress(*columns, console=console, disable=not console.is_terminal, redirect_stdout=sys.stdout.isatty())
    task = bar.add_task(title, total=total, completed=int(done))
    begun, before = time.monotonic(), done
    told = begun

    def show(done: float, of: float | None = None) -> None:
        nonlocal told, begun, before
        bar.update(task, completed=done, total=of)  # a total of None leaves it as it is
        now = time.monotonic()
        if done < before:  # what an earlier run had done is done again
            begun, before = now, done
        if not console.is_terminal and now - told > QUIET:
            told = now
            speed = (done - before) / max(now - begun, 1e-9)
            console.print(f"{title}: {_line(done, bar.tasks[0].total, speed, unit)}", highlight=False, markup=False)

    with bar:
        yield show


class _Count(ProgressColumn):
    """``12/40 pictures 3.1/s``"""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        whole = "" if task.total is None else f"/{_written(task.total, self.unit)}"
        name = "" if self.unit == "B" else f" {self.unit}"
        speed = "" if not task.speed else f"  {_written(task.speed, self.unit, 1)}/s"
        return Text(f"{_written(task.completed, self.unit)}{whole}{name}{speed}", no_wrap=True)


def stages() -> Callable[[str], None]:
    """``tell = stages(); tell("compiling")``: a line at each stage of what nobody knows the length of beforehand."""
    begun = time.monotonic()

    def tell(stage: str) -> None:
        print(f"{time.monotonic() - begun:5.0f} s  {stage}", file=sys.stderr, flush=True)

    return tell


def _line(done: float, total: float | None, speed: float, unit: str) -> str:
    name = "" if unit == "B" else f" {unit}"
    if not total:
        return f"{_written(done, unit)}{name}"
    left = f", about {(total - done) / speed:.0f} s left" if speed > 0 else ""
    return f"{_written(done, unit)} of {_written(total, unit)}{name}, {_written(speed, unit, 1)}/s{left}"


def _written(value: float, unit: str, digits: int = 0) -> str:
    return decimal(int(value)) if unit == "B" else f"{value:.{digits}f}"
