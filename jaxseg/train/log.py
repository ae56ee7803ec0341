"""What a run leaves and shows: ``metrics.jsonl``, what its writers write, a progress bar with speed and time left."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jaxseg.train.writers import Writer


class Log:
    """Writes records by step and moves the progress bar. ``quiet`` (other processes of a run) writes nothing.

    ``writers``: each called once, when the log is opened, for a :class:`jaxseg.train.writers.Writer`.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        steps: int,
        start: int,
        quiet: bool = False,
        writers: Sequence[Callable[[], Writer]] = (),
    ) -> None:
        self.quiet = quiet
        self.console = Console(file=sys.stderr, quiet=quiet, soft_wrap=True)
        if quiet:
            self.progress = None
            return
        workdir.mkdir(parents=True, exist_ok=True)
        self.path = workdir / "metrics.jsonl"
        _drop_after(self.path, start)
        self.file = self.path.open("a", buffering=1)
        self.writers = [open_writer() for open_writer in writers]
        self.progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bar = self.progress.add_task("train", total=steps, completed=start, status="compiling")
        self.progress.start()
        self.last_line = time.monotonic()

    def say(self, text: str) -> None:
        """One line for the person who watches."""
        self.console.print(text, highlight=False, markup=False)

    def advance(self, step: int, loss: float, images_per_second: float) -> None:
        """Move the bar; without a terminal, print a line every 10 s instead."""
        if self.progress is None:
            return
        status = f"loss {loss:.4f}  {images_per_second:.1f} images/s"
        self.progress.update(self.bar, completed=step, status=status)
        if not self.console.is_terminal and time.monotonic() - self.last_line > 10:
            self.last_line = time.monotonic()
            remaining = self.progress.tasks[self.bar].time_remaining
            left = "" if remaining is None else f"  {remaining:.0f} s left"
            self.say(f"step {step}/{self.progress.tasks[self.bar].total:.0f}  {status}{left}")

    def evaluating(self, done: int) -> None:
        """Say on the bar how many pictures of an evaluation are done."""
        if self.progress is not None:
            self.progress.update(self.bar, status=f"evaluating: {done} pictures")

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line ``{"step": ..., "time": ..., **values}``, and give the numbers among it to the writers."""
        if self.quiet:
            return
        self.file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")
        # TensorBoard warns of NaN, which a score may well be (AP of small objects where there are none).
        finite = {k: v for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
        for writer in self.writers:
            writer.numbers(step, finite)

    def picture(self, step: int, name: str, picture: Any) -> None:
        for writer in () if self.quiet else self.writers:
            writer.picture(step, name, picture)

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.file.close()
            for writer in self.writers:
                writer.close()


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line cut off by a crash is left out."""
    records = []
    path = Path(path)
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def _drop_after(path: Path, step: int) -> None:
    """A resumed run writes the steps after its checkpoint again."""
    if path.exists():
        kept = [json.dumps(r) + "\n" for r in read_records(path) if r["step"] <= step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(kept))
        temporary.replace(path)
