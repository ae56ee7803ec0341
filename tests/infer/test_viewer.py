"""The page of ``jaxseg view``: what it answers, to whom, and that it works in a browser."""

import base64
import io
import socket

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import viz
from jaxseg.data import Cutouts, Shapes
from jaxseg.infer import Found, InstancePredictor, Predictor, Refined, viewer
from jaxseg.types import JaxsegError
from tests.browser import chromium
from tests.helpers import tiny_experiment, variables_for
from tests.servers import running

flask = pytest.importorskip("flask", reason="pip install 'jaxseg[view]'")


class Finder(InstancePredictor):
    """Finds a disk for sure and a star perhaps, at the same places of any picture."""

    def __call__(self, image):
        h, w = image.shape[:2]
        boxes = np.array([[0, 0, w / 2, h / 2], [w / 2, h / 2, w, h]], np.float32)
        corners = np.array([[0, 0], [w // 2, h // 2]])
        masks = Cutouts((h, w), corners, [np.ones((h // 2, w // 2), bool)] * 2)
        found = Found(boxes, np.array([0.9, 0.3]), np.array([1, 4]), masks)
        return found.above(self.min_score)


def upside_down(probabilities, image):
    """In place of a CRF, which would take seconds to compile."""
    del image
    return probabilities[::-1]


@pytest.fixture(scope="module")
def labels():
    experiment = tiny_experiment()
    with jax.numpy_dtype_promotion("standard"):
        return Predictor(experiment, variables_for(experiment))


@pytest.fixture(scope="module")
def both(labels):
    return [("labels", Refined(labels, upside_down)), ("boxes", Finder(labels.experiment, {}))]


@pytest.fixture(scope="module")
def picture():
    return Shapes("val", size=(32, 48), length=1)[0]["image"]


def as_png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def ask(client, data, **form):
    return client.post("/predict", data={"image": (io.BytesIO(data), "mine.png"), **form})


def served(predictors, host="127.0.0.1"):
    return running(viewer.make_server(predictors, host=host, port=0))


def test_label_maps_and_the_crf(labels, both, picture):
    client = viewer.viewer(both).test_client()
    told = ask(client, as_png(picture), choice=0).get_json()
    label = labels(picture)
    shares = np.bincount(label.ravel(), minlength=len(labels.classes)) / label.size
    assert {f["class"]: f["share"] for f in told["found"]} == pytest.approx(
        {labels.classes[k]: shares[k] for k in np.flatnonzero(shares)}
    )
    assert [f["class"] for f in told["found"]] == list(told["legend"])
    assert list(told["pictures"]) == ["image", "prediction"]
    assert told["size"] == [48, 32]
    refined = ask(client, as_png(picture), choice=0, crf="on").get_json()
    assert list(refined["pictures"]) == ["image", "prediction", "with CRF"]
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(refined["pictures"][name].split(",")[1])))).astype(int)
        for name in ("prediction", "with CRF")
    ]
    drawn = [
        viz.panel({"image": picture, "label": there}, "label", labels.palette, viz.READABLE)
        for there in (label, label[::-1])
    ]
    for ours, other in ((0, 1), (1, 0)):
        assert np.abs(shown[ours] - drawn[ours]).mean() < 0.5 * np.abs(shown[ours] - drawn[other]).mean()  # WebP blurs


def test_the_threshold(both, picture):
    client = viewer.viewer(both).test_client()
    found = lambda score: [
        (f["class"], f["score"]) for f in ask(client, as_png(picture), choice=1, threshold=score).get_json()["found"]
    ]
    assert found(0.05) == [("disk", 0.9), ("star", 0.3)]
    assert found(0.5) == [("disk", 0.9)]
    assert found(0.95) == []


def test_large_pictures_are_made_smaller(both):
    client = viewer.viewer(both).test_client()
    told = ask(client, as_png(np.zeros((20, 3200, 3), np.uint8)), choice=1, threshold=0.5).get_json()
    assert told["size"] == [viewer.LARGEST, 10]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "mine.png: the file is empty"),
        ({"choice": "9"}, "choice is 9; expected 0 to 1"),
        ({"choice": "x"}, "choice is 'x'; expected a number"),
        ({"threshold": "much"}, "threshold is 'much'; expected a number"),
    ],
)
def test_bad_questions_get_an_answer(both, picture, form, said):
    reply = ask(viewer.viewer(both).test_client(), as_png(picture) if form else b"", **form)
    assert reply.status_code == 400
    assert said in reply.get_json()["error"]


def test_it_listens_to_this_machine_alone(both):
    with served(both) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", server.port), timeout=5):
            pass
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", server.port), timeout=5):
            pass  # another of this machine's addresses, which 0.0.0.0 would answer
        with pytest.raises(JaxsegError, match=f"--port {server.port} can't be served: .*--port 0 takes a free one"):
            viewer.make_server(both, host="127.0.0.1", port=server.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_answers_to_its_own_names_alone(both, host):
    """A name that another site points here is refused, by that site's page or any other."""
    with served(both, host) as server:
        names = {f"[{host}]" if ":" in host else host: b"200", "localhost": b"200", "evil.example": b"403"}
        for name, status in names.items():
            with socket.create_connection((host, server.port), timeout=5) as plain:
                plain.sendall(f"GET / HTTP/1.0\r\nHost: {name}:{server.port}\r\n\r\n".encode())
                assert plain.recv(64).split()[1] == status
    client = viewer.viewer(both, viewer.LOOPBACK).test_client()
    said = client.get("/", headers={"Host": "evil.example"}).get_json()["error"]
    assert "asked as evil.example, served as 127.0.0.1, localhost, ::1 alone; jaxseg view --host 0.0.0.0" in said


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:7860"}, 200),
        ({"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_get_no_answer(both, picture, headers, status):
    client = viewer.viewer(both).test_client()
    reply = client.post(
        "/predict",
        data={"image": (io.BytesIO(as_png(picture)), "mine.png"), "choice": 1},
        headers={"Host": "localhost:7860", **headers},
    )
    assert reply.status_code == status
    assert ("only the page of jaxseg view" in reply.get_json().get("error", "")) == (status == 403)
    assert client.get("/", headers=headers).status_code == 200  # a link to the page


def test_what_is_too_large_is_refused(both, monkeypatch):
    client = viewer.viewer(both).test_client()
    reply = client.post("/predict", environ_overrides={"CONTENT_LENGTH": str(viewer.MOST_BYTES + 1)})
    assert reply.status_code == 413
    assert reply.get_json()["error"] == "the picture has more than 200 MB; make it smaller"
    monkeypatch.setattr(viewer, "MOST_PIXELS", 64)
    assert "9x8 pixels are more than" in ask(client, as_png(np.zeros((8, 9, 3), np.uint8))).get_json()["error"]


def test_names_tell_predictors_apart(both):
    with pytest.raises(JaxsegError, match="nothing; give one or more"):
        viewer.viewer([])
    with pytest.raises(JaxsegError, match="labels, labels; give one or more, of different names"):
        viewer.viewer([both[0], both[0]])


def test_in_a_browser(labels, both, picture, tmp_path):
    file = tmp_path / "mine.png"
    file.write_bytes(as_png(picture))
    with served(both) as server:
        own = f"http://127.0.0.1:{server.port}/"
        with chromium((own, "data:", "blob:"), expected="status of 400") as open_page:
            page = open_page(own, viewport={"width": 360, "height": 740})
            page.set_input_files("#file", file)
            rows = page.locator("#found tr")
            rows.first.wait_for()
            seen = {labels.classes[k] for k in np.unique(labels(picture))}
            assert set(page.locator("#found th").all_inner_texts()) == seen
            assert set(page.locator("#legend li").all_inner_texts()) == seen
            page.locator("#crf").check()
            page.locator('img[data-view="with CRF"]').wait_for()
            assert page.locator("#right").input_value() == "with CRF"
            page.select_option("#choice", label="boxes")
            page.locator("#kind", has_text="score").wait_for()
            assert page.locator("#found").inner_text().split() == ["disk", "0.90"]
            assert not page.locator("#crf").is_visible()
            page.locator("#threshold").press("Home")
            rows.nth(1).wait_for()
            assert page.locator("#found").inner_text().split() == ["disk", "0.90", "star", "0.30"]
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            stage = page.locator(".stage")
            sides = [at_slider(stage, key) for key in ("End", "Home")]  # the picture, and what was found in it
            assert np.abs(np.subtract(*sides)).mean() > 5
            drop(page, b"no picture", "bad.png")
            page.locator("#status.wrong", has_text="bad.png: not an image").wait_for()
            assert not stage.is_visible()
            drop(page, file.read_bytes(), "dropped.png")
            page.locator("#status:not(.wrong)", has_text="dropped.png: 2 found").wait_for()
            assert stage.is_visible()


def at_slider(stage, key):
    """The upper left of the stage, away from the slider's handle, after ``key``."""
    stage.locator("input").press(key)
    picture = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB")).astype(int)
    height, width = picture.shape[:2]
    return picture[height // 4 : height // 2, width // 4 : width // 2]


def drop(page, data, name):
    page.evaluate(
        """([bytes, name]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }""",
        [list(data), name],
    )


def test_above_keeps_every_part():
    masks = Cutouts.of(np.ones((2, 4, 4), bool))
    found = Found(np.zeros((2, 4)), np.array([0.9, 0.4]), np.array([1, 2]), masks, np.zeros((2, 3, 3)), ("a", "b"))
    less = found.above(0.5)
    assert [len(part) for part in less if part is not None] == [1] * 6
    assert less.captions == ("a",)
    assert less.shapes is None
