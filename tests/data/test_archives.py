"""Archives of published data sets: at hand, damaged, too large for the disk, and what their checksums stand on."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from jaxseg.data import coco_panoptic, voc_segmentation
from jaxseg.data.prepare import DATA_SETS, archives, prepare
from jaxseg.types import VOID, JaxsegError
from tests.data import miniatures
from tests.data.miniatures import at, prepared

TFDS = Path(find_spec("tensorflow_datasets").submodule_search_locations[0])


def test_from_a_folder_of_archives_or_of_what_is_in_them(published, tmp_path):
    server, folder, _ = published
    asked = len(server.asked)
    given = tmp_path / "given"
    given.mkdir()
    archives.unpack(
        folder / "VOCtrainval_11-May-2012.tar", tmp_path / "tar", DATA_SETS["voc_segmentation"].archives["train"][0]
    )
    (tmp_path / "tar" / "VOCdevkit").rename(given / "VOCdevkit")
    shutil.copy(folder / "benchmark.tgz", given)
    prepared(published, "voc_segmentation", tmp_path / "home", given=given)
    assert len(voc_segmentation("trainaug", data_dir=tmp_path / "home")) == 3
    assert len(server.asked) == asked
    assert (given / "benchmark.tgz").exists()
    (given / "benchmark.tgz").write_bytes(b"another")
    with pytest.raises(
        JaxsegError, match=r"benchmark.tgz: its SHA-256 begins .*benchmark.tgz is damaged or another file"
    ):
        prepared(published, "voc_segmentation", tmp_path / "other", given=given)
    assert (given / "benchmark.tgz").read_bytes() == b"another"
    with pytest.raises(JaxsegError, match="nowhere: no such folder of archives"):
        prepared(published, "voc_segmentation", tmp_path / "other", given=tmp_path / "nowhere")


def test_damaged_archives(published, tmp_path):
    server, folder, _ = published
    name = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip"
    data_set = at(server, folder, DATA_SETS["camvid"])
    unchecked = {s: tuple(a._replace(checksum="") for a in group) for s, group in data_set.archives.items()}
    given = tmp_path / "given"
    given.mkdir()
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    broken = whole[:middle] + bytes(100) + whole[middle + 100 :]
    for content in (broken, whole[:-200], b"<html>not found</html>"):
        (given / name).write_bytes(content)
        with pytest.raises(JaxsegError, match=f"{name} is damaged .*all else that was fetched is kept"):
            prepare(data_set._replace(archives=unchecked), data_dir=tmp_path / "home", given=given)
    miniatures.zipped(given / name, {"other.txt": b""})
    with pytest.raises(JaxsegError, match="has no .*CamVid/trainannot; is it another archive"):
        prepare(data_set._replace(archives=unchecked), data_dir=tmp_path / "home", given=given)
    evil = archives.Archive("http://x/evil.tar", 1, "a")
    miniatures.tarred(tmp_path / "evil.tar", {"../a": b"1"}, "w:")
    with pytest.raises(JaxsegError, match="leads out of the folder"):
        archives.unpack(tmp_path / "evil.tar", tmp_path / "in" / "evil", evil)
    assert not (tmp_path / "a").exists()


def test_too_little_room_is_told_before_anything_is_fetched(published, tmp_path, monkeypatch):
    server, folder, _ = published
    data_set = at(server, folder, DATA_SETS["coco_instances"])
    size = {a.file: a.size for group in data_set.archives.values() for a in group}
    validation = 3 * (size["val2017.zip"] + size["annotations_trainval2017.zip"])
    free = [validation]
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, free[0]))
    asked = len(server.asked)
    for splits, room in (((), validation + 3 * size["train2017.zip"] - 1), (["validation"], validation - 1)):
        free[0] = room
        with pytest.raises(
            JaxsegError, match=r"write again val2017.zip, annotations_.* takes about 0.0 GB, and 0.0 GB"
        ):
            prepare(data_set, splits, data_dir=tmp_path)
    assert len(server.asked) == asked
    free[0] = validation
    assert prepare(data_set, ["validation"], data_dir=tmp_path) == {"validation": 4}
    free[0] = 3 * size["train2017.zip"] + 2 * size["annotations_trainval2017.zip"]  # whose archive is here already
    assert prepare(data_set, data_dir=tmp_path) == {"validation": None, "train": 3}
    # What is only in part needed takes room too.
    data_set = at(server, folder, DATA_SETS["voc_segmentation"])
    (archive,) = data_set.archives["train"]
    free[0] = 3 * archive.size - 1
    with pytest.raises(JaxsegError, match="VOCtrainval_11-May-2012.tar takes about"):
        prepare(data_set, ["train", "validation"], data_dir=tmp_path)


def test_an_archive_that_was_put_there_by_hand_is_checked(published, tmp_path):
    file = tmp_path / "downloads" / "voc" / "VOCtrainval_11-May-2012.tar"
    file.parent.mkdir(parents=True)
    whole = (published[1] / file.name).read_bytes()
    with archives.tarfile.open(published[1] / file.name) as archive:
        cut = archive.getmembers()[-1].offset  # a tar like any other, but for its end
    file.write_bytes(whole[:cut])
    with pytest.raises(JaxsegError, match=rf"{file.name} is damaged or another file: remove it"):
        prepared(published, "voc_segmentation", tmp_path, "train")
    assert file.exists()
    file.write_bytes(whole)
    asked = len(published[0].asked)
    prepared(published, "voc_segmentation", tmp_path, "train")
    assert len(published[0].asked) == asked


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("layout", ["as published", "detectron2's", "neither"])
def test_coco_from_a_folder_which_stays_as_it_is(published, tmp_path, layout):
    server, folder, _ = published
    given = tmp_path / "given"
    shutil.unpack_archive(folder / "val2017.zip", given)
    shutil.unpack_archive(folder / "panoptic_annotations_trainval2017.zip", given)
    (given / "annotations" / "panoptic_train2017.json").unlink()
    packed = given / "annotations" / "panoptic_val2017.zip"
    if layout == "detectron2's":
        shutil.unpack_archive(packed, given)
    if layout != "as published":
        packed.unlink()
    before, asked, home = everything_in(given), len(server.asked), tmp_path / "home"
    if layout == "neither":
        with pytest.raises(JaxsegError, match="no panoptic_val2017 in .*given.* is it all there"):
            prepared(published, "coco_panoptic", home, "validation", given=given)
    else:
        prepared(published, "coco_panoptic", home, "validation", given=given)
        assert (coco_panoptic("validation", data_dir=home)[0]["label"] != VOID).any()
        assert not list((home / "downloads").rglob("*.unpacked"))
    assert everything_in(given) == before
    assert len(server.asked) == asked


def test_of_cocos_annotations_only_those_of_the_set_are_needed(published, tmp_path):
    server, folder, _ = published
    given = tmp_path / "given"
    shutil.unpack_archive(folder / "val2017.zip", given)
    shutil.unpack_archive(folder / "annotations_trainval2017.zip", given)
    for file in (given / "annotations").iterdir():
        if file.name != "instances_val2017.json":
            file.unlink()
    asked = len(server.asked)
    prepared(published, "coco_instances", tmp_path / "home", "validation", given=given)
    assert len(server.asked) == asked


def test_what_tfds_prepared_in_another_format_is_told(published, tmp_path):
    prepared(published, "oxford_iiit_pet", tmp_path, "test")
    path = tmp_path / "oxford_iiit_pet" / "4.0.0" / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(
        JaxsegError, match=r"4.0.0 has been prepared as tfrecord, expected array_record.* move that folder"
    ):
        prepared(published, "oxford_iiit_pet", tmp_path)


def test_checksums_are_tfdss():
    """Of the files that TFDS fetches too; its own table of VOC's names a mirror."""
    tables = [*(TFDS / "url_checksums" / f"{name}.txt" for name in ("coco", "voc"))]
    tables += [TFDS / "datasets" / "oxford_iiit_pet" / "checksums.tsv"]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()]
    theirs = {row[0].rsplit("/", 1)[1]: row[:3] for row in rows}
    ours = {a.file: a for s in DATA_SETS.values() for group in s.archives.values() for a in group if a.file in theirs}
    assert len(ours) == 7
    for name, archive in ours.items():
        url, size, digest = theirs[name]
        assert (archive.size, archive.checksum) == (int(size), f"sha256:{digest}")
        assert archive.url == url or name.startswith("VOC")


def test_every_tar_has_a_checksum():
    """Cut off where a member begins it looks whole, unlike a zip."""
    tars = {a.file: a for s in DATA_SETS.values() for group in s.archives.values() for a in group if ".t" in a.file}
    assert len(tars) == 4
    assert all(a.checksum for a in tars.values())


def test_annotations_that_do_not_fit(published, tmp_path):
    given = tmp_path / "given"
    shutil.unpack_archive(published[1] / "val2017.zip", given)
    shutil.unpack_archive(published[1] / "annotations_trainval2017.zip", given)
    path = given / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 12  # which COCO never used
    path.write_text(json.dumps(content))
    with pytest.raises(JaxsegError, match="annotation 1390 has category_id 12, which is none of the 80"):
        prepared(published, "coco_instances", tmp_path / "home", "validation", given=given)
    assert not (tmp_path / "home" / "coco_instances").exists()
