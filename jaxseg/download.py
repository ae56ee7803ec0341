"""A file from the network: resumed where it was cut off, checked, shared between processes, and never half there."""

import fcntl
import hashlib
import os
import time
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.console import Console

from jaxseg.progress import Show, progress
from jaxseg.types import JaxsegError

TRIES = 4
PAUSE = 1.0  # seconds before the second try, twice that before the third
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20
_LARGE = 1 << 28  # a file whose check takes more than two seconds


def download(url: str, path: Path, *, checksum: str = "", mend: str = "") -> Path:
    """The file at ``url`` as ``path``, unless it is there already; gives ``path`` back.

    A download that was cut off goes on where it ended (in ``NAME.part``). Several processes may ask for the same file:
    one fetches, the others wait.

    Args:
        checksum: ``"sha256:..."`` or ``"md5:..."`` of the whole file, or how it begins; "" where nobody published any.
        mend: what else one can do where it can't be fetched.

    Raises:
        JaxsegError: no connection, a busy server, a full disk, or a file of another checksum, which is deleted.
    """
    partial = path.with_name(path.name + ".part")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not path.exists():  # else another process was first
                    _download(url, path.name, file)
                    check(partial, checksum, url)
                    partial.replace(path)
    except HTTPError as error:
        if _busy(error):
            text = f"{url} is busy (it answers {error.code}, {error.reason}): try again later"
            raise JaxsegError(f"{text}{f', or {mend}' if mend else ''}") from error
        raise JaxsegError(f"{url} answers {error.code} ({error.reason}); it may have moved. {mend}".strip()) from error
    except (HTTPException, OSError) as error:
        raise JaxsegError(
            f"{url} can't be fetched to {path.parent} ({getattr(error, 'reason', error)}); run it again to go on where "
            f"it ended, put the file at {path} yourself{f', or {mend}' if mend else ''}"
        ) from error
    return path


def check(path: Path, checksum: str, where: str, *, delete: bool = True) -> None:
    """Refuse, and ``delete``, a file that has not this ``checksum`` (as in :func:`download`). ``where``: its source."""
    if not checksum:
        return
    kind, _, wanted = checksum.partition(":")
    found = _digest(path, kind)
    if found.startswith(wanted):
        return
    name = {"sha256": "SHA-256", "md5": "MD5"}[kind]
    text = f"{where}: its {name} begins with {found[: len(wanted)]}, expected {wanted}; "
    if not delete:
        raise JaxsegError(f"{text}{path} is damaged or another file: remove it, or download it again")
    path.unlink()
    raise JaxsegError(
        f"{text}the file was deleted: run it again, and if it is so again, do not trust what is at that address"
    )


def _digest(path: Path, kind: str) -> str:
    size = path.stat().st_size
    digest = hashlib.new(kind)
    with path.open("rb") as file:
        if size < _LARGE:
            return hashlib.file_digest(file, lambda: digest).hexdigest()
        with progress(f"checking {path.name}", size, "B") as show:
            while block := file.read(BLOCK):
                digest.update(block)
                show(file.tell())
    return digest.hexdigest()


def _download(url: str, name: str, file: IO[bytes]) -> None:
    """Append to ``file`` what it lacks; raises where ``TRIES`` requests, one after another, brought nothing more."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"fetching {url}", highlight=False, soft_wrap=True)
    attempt, most = 1, file.seek(0, os.SEEK_END)
    with progress(name, unit="B", done=most) as show:
        while True:
            failure: Exception = HTTPException("the connection ends early each time")
            try:
                if _append(url, file, show):
                    return
            except HTTPError as error:
                if not _busy(error):
                    raise
                error.close()
                failure = error
            except (HTTPException, ConnectionError, TimeoutError, URLError) as error:
                failure = error
            length = file.seek(0, os.SEEK_END)
            attempt, most = (attempt + 1, most) if length <= most else (1, length)
            if attempt > TRIES:
                raise failure
            time.sleep(PAUSE * attempt)


def _busy(error: HTTPError) -> bool:
    return error.code == 429 or error.code >= 500


def _append(url: str, file: IO[bytes], show: Show) -> bool:
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
        show(done, total)
        while block := response.read(BLOCK):
            file.write(block)
            done += len(block)
            show(done, total)
    file.flush()
    return total is None or done == total
