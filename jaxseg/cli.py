"""The command line: what is run, and how it ends. Its arguments are in :mod:`jaxseg.parsers`."""

import errno
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jaxseg import parsers
from jaxseg.types import JaxsegError

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_MISPLACED = {
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0, 2 where the user can mend something, and as shells have them 130
    where it was interrupted and 141 where nobody reads its output any more."""
    parser = parsers.parser()
    known, rest = parser.parse_known_args(arguments)
    if rest and not known.more:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    _set_up_jax()
    try:
        with _threads_silent_on_full_disks():
            from jaxseg import commands

            run = getattr(commands, known.run)
            code = run(known, rest) if known.more else run(known)
            sys.stdout.flush()
            return code
    except JaxsegError as error:
        print(f"jaxseg: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough: jaxseg models | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would be tried again at the end
        return 141
    except OSError as error:
        if (told := _told(error)) is None:
            raise
        print(f"jaxseg: {error.filename2 or error.filename or 'a file'}: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxseg: interrupted", file=sys.stderr)
        return 130


def _told(error: OSError) -> str | None:
    """What the user can mend of an error of files; None: it is one of the program."""
    if error.errno in _MISPLACED:
        return f"{_MISPLACED[error.errno]}; name another, or move that away"
    if error.errno in _DISK_FAULTS:
        return (
            f"{error.strerror}; what was saved before is kept: free some space or mend the permissions, and run the "
            "same command again"
        )
    return None


@contextmanager
def _threads_silent_on_full_disks() -> Iterator[None]:
    """TensorBoard writes in a thread, whose traceback would bury the line that tells what the main thread met."""
    before = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if getattr(failure.exc_value, "errno", None) not in _DISK_FAULTS:
            before(failure)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _set_up_jax() -> None:
    """Compiled programs are kept between runs, in JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "jaxseg" / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")


if __name__ == "__main__":
    sys.exit(main())
