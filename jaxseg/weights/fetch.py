"""Published files from where they are published: checked, resumed, and never half there."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from jaxseg.types import JaxsegError
from jaxseg.weights.published import PUBLISHED, Weights

TRIES = 4
PAUSE = 1.0  # seconds before the second try, twice that before the third
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20


def fetch(weights: str | Weights, folder: str | Path | None = None) -> Path:
    """The file of published weights on this machine, downloaded if it is not there yet; its SHA-256 checked each time.

    It is kept in ``folder``, by default $JAXSEG_CACHE or ~/.cache/jaxseg/weights. A download that was cut off goes on
    where it ended. Several processes may ask for the same file: one fetches, the others wait.

    Raises:
      JaxsegError: no such name, no connection, a full disk, or a file whose SHA-256 is not the published one.
    """
    if isinstance(weights, str):
        if weights not in PUBLISHED:
            raise JaxsegError(f"no published weights {weights!r}; there are {', '.join(PUBLISHED)}")
        weights = PUBLISHED[weights]
    folder = Path(folder or os.environ.get("JAXSEG_CACHE") or Path.home() / ".cache" / "jaxseg" / "weights")
    path = folder / weights.url.rsplit("/", 1)[-1]
    partial = folder / f"{path.name}.part"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with partial.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not path.exists():  # else another process was first
                    _download(weights, file)
                    _check(partial, weights)
                    partial.replace(path)
        _check(path, weights)
    except HTTPError as error:
        raise JaxsegError(f"{weights.url} answers {error.code} ({error.reason}); it may have moved") from error
    except (HTTPException, OSError) as error:
        raise JaxsegError(
            f"{weights.url} can't be fetched to {folder} ({getattr(error, 'reason', error)}); run it again to go on "
            f"where it ended, put the file at {path} yourself, or name another folder by JAXSEG_CACHE"
        ) from error
    return path


def _download(weights: Weights, file: IO[bytes]) -> None:
    """Append to ``file`` what it lacks, beginning again up to ``TRIES`` times where the connection ends early."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"fetching {weights.url}", highlight=False, soft_wrap=True)
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(TextColumn(weights.name), *columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(weights.name, total=None)

        def show(done: int, total: int | None) -> None:
            progress.update(bar, completed=done, total=total)

        for attempt in range(1, TRIES + 1):
            try:
                if _append(weights.url, file, show):
                    return
            except (HTTPException, ConnectionError, TimeoutError):
                if attempt == TRIES:
                    raise
            time.sleep(PAUSE * attempt)
    raise HTTPException("the connection ends early each time")


def _append(url: str, file: IO[bytes], show: Callable[[int, int | None], None]) -> bool:
    """One request for the rest of ``file``; True where it then is as long as the server says."""
    start = file.seek(0, os.SEEK_END)
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: Any = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416 or not start:  # 416: nothing lies beyond what we have
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return True
        file.truncate(0)
        return False
    with response:
        if response.status != 206:  # the whole file, from a server that can't give a part
            file.truncate(0)
            start = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        done = start
        while block := response.read(BLOCK):
            file.write(block)
            done += len(block)
            show(done, total)
    file.flush()
    return total is None or done == total


def _check(path: Path, weights: Weights) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(weights.sha256):
        path.unlink()
        raise JaxsegError(
            f"{weights.url}: its SHA-256 begins with {digest[: len(weights.sha256)]}, expected {weights.sha256}; the "
            "file was deleted: run it again, and if it is so again, do not trust what is at that address"
        )
