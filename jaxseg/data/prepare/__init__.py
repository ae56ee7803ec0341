"""Published data sets, fetched and written as TFDS data sets (ArrayRecord) without TensorFlow.

``jaxseg data prepare NAME``, or :func:`prepare`. Each set has a file: where its archives are, their checksums as far as
they were published, its licence and its paper. Nothing that ``import jaxseg.data`` imports imports this.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxseg.data.prepare import ade20k, camvid, coco, pets, voc
from jaxseg.data.prepare.archives import check_room, clear, gather
from jaxseg.data.prepare.data_set import DataSet
from jaxseg.data.tfds import data_folder
from jaxseg.types import JaxsegError

DATA_SETS = {
    s.name: s
    for s in (
        voc.VOC_SEGMENTATION,
        *coco.COCO,
        ade20k.ADE20K,
        camvid.CAMVID,
        camvid.CAMVID_ORIGINAL,
        pets.OXFORD_IIIT_PET,
    )
}
"""Every data set that can be prepared, by name."""


def prepare(
    data_set: DataSet,
    splits: Sequence[str] = (),
    *,
    data_dir: str | os.PathLike | None = None,
    given: str | os.PathLike | None = None,
) -> dict[str, int | None]:
    """Fetch what is missing and write the splits that are not there yet; run again, it goes on where it was stopped.

    Archives are kept in ``DATA_DIR/downloads``; they may be removed afterwards.

    Args:
        data_set: one of ``DATA_SETS``.
        splits: by default all.
        data_dir: where TFDS keeps prepared data; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.
        given: a folder that holds archives already, or what is in them.

    Returns:
        Of each split how many examples were written; None where it was there.

    Raises:
        JaxsegError: no such split or folder, too little room, no connection, a damaged archive, or annotations that
            do not fit the images; what was fetched and written before is kept.
    """
    from jaxseg.data.prepare.writing import locked, prepared_splits, write

    unknown = [split for split in splits if split not in data_set.archives]
    if unknown:
        raise JaxsegError(f"{data_set.name} has no split {unknown[0]!r}; it has {', '.join(data_set.archives)}")
    if given is not None and not Path(given).is_dir():
        raise JaxsegError(f"{os.fspath(given)}: no such folder of archives; check the path")
    root, folder = data_folder(data_dir), Path(given) if given is not None else None
    downloads = root / "downloads" / data_set.source
    written: dict[str, int | None] = {}
    with locked(root, data_set.source):  # what is unpacked is shared
        there = prepared_splits(root / data_set.name / data_set.version)
        wanted = [split for split in data_set.archives if not splits or split in splits]
        missing = [split for split in wanted if split not in there]
        check_room((a for split in missing for a in data_set.archives[split]), downloads, folder)
        for split in wanted:
            written[split] = None
            if split in missing:
                contents = data_set.contents(gather(data_set.archives[split], downloads, folder), split)
                written[split] = write(data_set.name, data_set.version, split, contents, root)
        clear(downloads)
    return written
