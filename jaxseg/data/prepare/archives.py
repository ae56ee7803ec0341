"""Archives of published data sets: fetched or taken from a folder, checked, and unpacked."""

import gzip
import lzma
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from jaxseg.download import check, download
from jaxseg.progress import progress
from jaxseg.types import JaxsegError

Find = Callable[[str], Path]
"""``find("train2017")``: where that file or folder of a data set is, in whichever folder it lies; ``train2017.zip`` is
unpacked for it where there is only that."""


class Archive(NamedTuple):
    """One published file.

    Args:
        url: where it is.
        size: of the file in bytes, about; of what is unpacked, not much more: they hold pictures.
        holds: a path in it, which shows that it is unpacked already.
        checksum: ``"sha256:..."`` or ``"md5:..."``; "" where none has been published.
        only: what of it is needed, as beginnings of its paths; () is all.
        inside: a folder around everything, which is left away.
    """

    url: str
    size: int
    holds: str
    checksum: str = ""
    only: tuple[str, ...] = ()
    inside: str = ""

    @property
    def file(self) -> str:
        """Its name."""
        return self.url.rsplit("/", 1)[-1]


def gather(archives: Iterable[Archive], downloads: Path, given: Path | None) -> Find:
    """All of the archives, unpacked: from the folder ``given`` (the archives, or what is in them) as far as it has
    them, else fetched to ``downloads`` and unpacked beside.

    Raises JaxsegError: what :func:`jaxseg.download.download` raises, a damaged archive.
    """
    archives = list(archives)
    roots = [given] if given else []
    for archive in archives:
        if not _is_unpacked(archive, downloads, given):
            unpack(_fetched(archive, downloads, given), _unpacked(archive, downloads), archive)
    return _finder([*roots, *(_unpacked(a, downloads) for a in archives)], downloads)


def check_room(archives: Iterable[Archive], downloads: Path, given: Path | None) -> None:
    """Refuse, before hours of fetching, what would fill the disk: archives packed, unpacked, and written again.

    Raises JaxsegError: too little room.
    """
    there = next(folder for folder in (downloads, *downloads.parents) if folder.exists())
    of_file = {a.file: a for a in archives}
    needed = 0
    for a in of_file.values():
        part = downloads / f"{a.file}.part"
        at_hand = (downloads / a.file).exists() or (given is not None and (given / a.file).exists())
        if _is_unpacked(a, downloads, given):
            needed += a.size
        else:
            done = a.size if at_hand else part.stat().st_size if part.exists() else 0
            needed += max(a.size - done, 0) + 2 * a.size
    free = shutil.disk_usage(there).free
    if needed > free:
        raise JaxsegError(
            f"{downloads}: to fetch, unpack and write again {', '.join(of_file)} takes about {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free; free some space, prepare fewer splits at once (--splits), or choose "
            "another folder by --data-dir"
        )


def clear(downloads: Path) -> None:
    """Remove what was unpacked; the archives stay."""
    for folder in downloads.glob("*.unpacked*"):
        shutil.rmtree(folder, ignore_errors=True)


def unpack(path: Path, folder: Path, archive: Archive) -> None:
    """Write the files of ``path``, a zip or a tar, to ``folder``, which appears when it is whole."""
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with progress(f"unpacking {path.name}", path.stat().st_size, "B") as show:
            for full, content, done in _members(path):
                show(done)
                name = full.removeprefix(archive.inside)
                if archive.only and not name.startswith(archive.only):
                    continue
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise JaxsegError(f"{path}: its member {full!r} leads out of the folder; do not trust this archive")
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise JaxsegError(
            f"{path} is damaged ({reason}); remove it and run this again: all else that was fetched is kept"
        ) from error
    if not (partial / archive.holds).exists():
        raise JaxsegError(f"{path} has no {archive.inside}{archive.holds}; is it another archive of the same name?")
    partial.rename(folder)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name and content of each file in an archive, and how many of its bytes have been read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as content:
                        yield info.filename, content, info.header_offset
        return
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content, file.tell()


def _fetched(archive: Archive, downloads: Path, given: Path | None) -> Path:
    """The archive's file, checked."""
    if given and (given / archive.file).is_file():
        check(given / archive.file, archive.checksum, archive.url, delete=False)
        return given / archive.file
    if given and not (downloads / archive.file).exists():
        print(f"{given} has neither {archive.file} nor {archive.holds}: fetching it", file=sys.stderr)
    path = downloads / archive.file
    if path.exists():  # of an earlier call, or put there by hand
        check(path, archive.checksum, archive.url, delete=False)
    return download(archive.url, path, checksum=archive.checksum, mend="name the folder where it is by --from DIR")


def _unpacked(archive: Archive, downloads: Path) -> Path:
    return downloads / f"{archive.file}.unpacked"


def _is_unpacked(archive: Archive, downloads: Path, given: Path | None) -> bool:
    roots = (_unpacked(archive, downloads), *([given] if given else []))
    return any((root / archive.holds).exists() for root in roots)


def _finder(roots: list[Path], downloads: Path) -> Find:
    def find(path: str) -> Path:
        for root in roots:
            if (root / path).exists():
                return root / path
        for packed in (root / f"{path}.zip" for root in roots):
            if packed.is_file():  # a zip that was in an archive
                folder = downloads / f"{packed.name}.unpacked"
                if not folder.exists():
                    unpack(packed, folder, Archive("", 0, "", inside=f"{packed.stem}/"))
                return folder
        raise JaxsegError(f"no {path} in {' or '.join(map(str, roots))}; it belongs to this data set: is it all there?")

    return find
