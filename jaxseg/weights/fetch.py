"""Published weights from where they are published: downloaded once, checked each time."""

import os
from pathlib import Path

from jaxseg.download import check, download
from jaxseg.types import JaxsegError
from jaxseg.weights.published import PUBLISHED, Weights


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
    if not path.exists():
        return download(
            weights.url, path, checksum=f"sha256:{weights.sha256}", mend="name another folder by JAXSEG_CACHE"
        )
    check(path, f"sha256:{weights.sha256}", weights.url)
    return path
