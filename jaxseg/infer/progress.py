"""How far a prediction is: a bar, or without a terminal a line now and then."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUIET = 10  # seconds between lines where there is no terminal


class PictureProgress:
    """A bar over ``total`` pictures that also moves within each. Used as ``with PictureProgress(3) as progress``;
    ``doing`` is what it says before them."""

    def __init__(self, total: int, doing: str = "predict") -> None:
        self.total = total
        self.console = Console(file=sys.stderr, soft_wrap=True)
        self.progress = Progress(
            TextColumn(f"[bold]{doing}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:.0f}%  {task.fields[name]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere is not for the terminal
        )
        self.bar = self.progress.add_task(doing, total=total, name="compiling")

    def __enter__(self) -> "PictureProgress":
        self.progress.start()
        self.begun = self.told = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def show(self, name: str, done: float) -> None:
        """``done`` of ``total`` pictures are finished, the one called ``name`` in part."""
        self.progress.update(self.bar, completed=done, name=name)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.told > QUIET:
            self.told = now
            left = (now - self.begun) * (self.total - done) / done if done else 0
            text = f"{name}: {100 * done / self.total:.0f} % of all, about {left:.0f} s left"
            self.console.print(text, highlight=False, markup=False)
