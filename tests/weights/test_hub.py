"""Pushing to and pulling from a Hugging Face Hub that is a server on this machine, by Hugging Face's own library."""

import base64
import importlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from jaxseg.types import JaxsegError
from jaxseg.weights import hub, load, packed
from tests.servers import running

pytest.importorskip("huggingface_hub")
VARIABLES = {"params": {"conv": {"kernel": np.arange(8, dtype=np.float32)}}}
WHAT = packed.About("unet_shapes", ("--model.base", "8"), step=7, scores={"miou": 0.5}, card={"title": "A small one"})


class Hub(BaseHTTPRequestHandler):
    """As much of a Hub as the library asks for. ``server.files``: what was committed, by name."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer mine":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            return self.answer(200, {"url": f"{self.server.address}/me/small"})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.answer(
                200, {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
            )
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        address = f"{self.server.address}/me/small/commit/{'a' * 40}"
        return self.answer(200, {"success": True, "commitOid": "a" * 40, "commitUrl": address})

    def do_GET(self):
        found = re.fullmatch(r"/me/small/resolve/(main|v1)/(.+)", self.path)
        if not found or found[2] not in self.server.files:
            return self.answer(404, {"error": "Repository not found"})
        body = self.server.files[found[2]]
        self.send_response(200)
        self.send_header("ETag", f'"{len(body)}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.address = {}, f"http://127.0.0.1:{server.server_port}"
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "mine")
    with running(server):
        yield server


def test_there_and_back(server, tmp_path):
    file = packed.write_packed(tmp_path / "weights.safetensors", VARIABLES, WHAT)
    assert hub.push(file, "me/small").startswith(server.address)
    assert sorted(server.files) == ["README.md", "weights.safetensors"]
    assert server.files["weights.safetensors"] == file.read_bytes()
    card = server.files["README.md"].decode()
    assert "# A small one" in card
    assert "| miou | 0.5000 |" in card
    assert "jaxseg predict photo.jpg --weights hf:me/small" in card
    for name in ("hf:me/small", "hf:me/small@v1"):
        back = hub.pull(name)
        assert packed.about(back) == WHAT
        np.testing.assert_array_equal(
            packed.from_packed(back, VARIABLES)["params"]["conv"]["kernel"], VARIABLES["params"]["conv"]["kernel"]
        )


def test_a_config_of_ones_own_goes_beside_the_weights(server, tmp_path):
    what = packed.About("def get_config():\n    ...\n")
    hub.push(packed.write_packed(tmp_path / "weights.safetensors", VARIABLES, what), "me/small")
    assert server.files["config.py"].decode() == what.config
    assert "--weights" not in server.files["README.md"].decode()
    assert "jaxseg weights unpack hf:me/small --workdir model\n" in server.files["README.md"].decode()


def test_training_may_begin_with_them(server, tmp_path):
    hub.push(packed.write_packed(tmp_path / "weights.safetensors", VARIABLES, WHAT), "me/small")
    assert packed.is_packed("hf:me/small")
    begun = load("hf:me/small", {"params": {"conv": {"kernel": np.zeros(8, np.float32)}}})
    np.testing.assert_array_equal(begun["params"]["conv"]["kernel"], VARIABLES["params"]["conv"]["kernel"])


def test_a_card_is_what_the_hub_reads():
    what = packed.About("unet_shapes", scores={"iou/a|b": 0.25}, card={"licence": "CC BY 4.0, mine"})
    card = hub.card(what, "me/small")
    assert 'license: other\nlicense_name: "CC BY 4.0, mine"' in card
    assert "| iou/a&#124;b | 0.2500 |" in card
    assert "license: cc0-1.0\n" in hub.card(packed.About("unet_shapes", card={"licence": "CC0-1.0"}), "me/small")


def test_what_the_hub_refuses(server, tmp_path, monkeypatch):
    with pytest.raises(JaxsegError, match=r"hf:me/other gives no weights.safetensors"):
        hub.pull("hf:me/other")
    with pytest.raises(JaxsegError, match=r"hf:what is this gives no"):
        hub.pull("hf:what is this")
    file = packed.write_packed(tmp_path / "weights.safetensors", VARIABLES, WHAT)
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(JaxsegError, match=r"me/small takes no weights .*HF_TOKEN"):
        hub.push(file, "me/small")
