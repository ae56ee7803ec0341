"""What a run leaves and shows: ``metrics.jsonl``, TensorBoard events, a progress bar with speed and time left."""

import io
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jaxseg.data.images import PNG_LEVEL


class Log:
    """Writes records by step and moves the progress bar. ``quiet`` (other processes of a run) writes nothing."""

    def __init__(self, workdir: Path, *, steps: int, start: int, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(file=sys.stderr, quiet=quiet, soft_wrap=True)
        if quiet:
            self.progress = None
            return
        from tensorboardX import SummaryWriter  # slow to import

        workdir.mkdir(parents=True, exist_ok=True)
        self.path = workdir / "metrics.jsonl"
        _drop_after(self.path, start)
        self.file = self.path.open("a", buffering=1)
        # Its thread dies on a full disk; with the usual queue of 10 the next record would then wait for ever.
        options = {"max_queue": 100_000, "purge_step": start + 1 if start else None}
        self.events = SummaryWriter(str(workdir / "events"), **options)
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

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line ``{"step": ..., "time": ..., **values}`` and the numbers among it as TensorBoard scalars."""
        if self.quiet:
            return
        self.file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")
        for name, value in values.items():
            if isinstance(value, int | float):
                self.events.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """uint8 [H, W, 3] for TensorBoard, packed like our files: tensorboardX would take three times as long."""
        if self.quiet:
            return
        from tensorboardX.proto import summary_pb2

        proto: Any = summary_pb2  # its names are made when it is imported
        packed = io.BytesIO()
        Image.fromarray(picture).save(packed, format="PNG", compress_level=PNG_LEVEL)
        height, width, channels = picture.shape
        image = proto.Summary.Image(height=height, width=width, colorspace=channels)
        image.encoded_image_string = packed.getvalue()
        writer: Any = self.events.file_writer
        writer.add_summary(proto.Summary(value=[proto.Summary.Value(tag=name, image=image)]), step)

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.file.close()
            self.events.close()


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
