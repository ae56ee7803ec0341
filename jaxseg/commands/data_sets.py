"""``jaxseg data list`` and ``jaxseg data prepare``: published data sets, fetched and written once."""

import argparse
import difflib

from jaxseg.types import JaxsegError


def data_list(arguments: argparse.Namespace) -> int:
    """The data sets that can be prepared."""
    del arguments
    from jaxseg.data.prepare import DATA_SETS

    for name, s in DATA_SETS.items():
        size = sum({a.file: a.size for archives in s.archives.values() for a in archives}.values()) / 1e9
        unchecked = [a.file for archives in s.archives.values() for a in archives if not a.checksum]
        print(f"{name}: {s.about}")
        print(f"    splits {', '.join(s.archives)}; {size:.2f} GB to fetch{', without a checksum' * bool(unchecked)}")
        print(f"    from {s.page}; licence: {s.licence}")
        print(f"    read by jaxseg.data.{' or '.join(s.reader.split(', '))}")
    print("\nTo prepare one: jaxseg data prepare NAME. What is fetched needs as much room again unpacked, and again")
    print("as it is written; the sets of COCO share their archives.")
    return 0


def data_prepare(arguments: argparse.Namespace) -> int:
    """Fetch and write one data set; told is how it is read."""
    from jaxseg.data.prepare import DATA_SETS, prepare
    from jaxseg.data.tfds import data_folder

    name = arguments.name
    if name not in DATA_SETS:
        close = difflib.get_close_matches(name, DATA_SETS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(DATA_SETS)}"
        raise JaxsegError(f"no data set {name!r} that can be prepared; {hint}")
    data_set, root = DATA_SETS[name], data_folder(arguments.data_dir).resolve()
    written = prepare(data_set, arguments.splits, data_dir=arguments.data_dir, given=arguments.given)
    for split, count in written.items():
        print(f"{split}: {'was there already' if count is None else f'{count} examples'}")
    print(f"{name} is in {root / name / data_set.version}; licence: {data_set.licence} ({data_set.page})")
    downloads = root / "downloads" / data_set.source
    if any(downloads.glob("*")):
        print(f"its archives are in {downloads}: remove them if you need the room")
    reader, where = data_set.reader.split(",")[0], "" if arguments.data_dir is None else f", data_dir={str(root)!r}"
    print(f"in a config: jaxseg.data.{reader}({next(iter(written))!r}{where})")
    return 0
