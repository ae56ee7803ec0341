"""Downloads from a server on this machine: whole, cut off, from servers that can't resume, with a wrong hash."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from jaxseg import download as fetching
from jaxseg.types import JaxsegError
from jaxseg.weights import PUBLISHED, fetch
from tests.servers import running

DATA = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def server():
    """Serves DATA. ``cuts``: how much of the body the next answers give before the connection ends;
    ``refusals``: codes of the next answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.headers.get("Range"))
            if server.refusals:
                return self.send_error(server.refusals.pop())
            if self.path != "/weights.pth":
                return self.send_error(404)
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(found[1]) if found and server.ranges else 0
            if found and server.ranges and start >= len(DATA):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(DATA)}")
                return self.end_headers()
            body = DATA[start:]
            self.send_response(206 if start else 200)
            if server.lengths:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.cuts, server.refusals, server.ranges, server.lengths = [], [], [], True, True
    with running(server):
        yield server


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0.0)


def weights_at(server, sha256=None, file="weights.pth"):
    any_one = PUBLISHED["resnet18_imagenet1k_v1"]
    url = f"http://127.0.0.1:{server.server_port}/{file}"
    return any_one._replace(url=url, sha256=sha256 or hashlib.sha256(DATA).hexdigest())


def test_fetched_once_and_kept(server, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSEG_CACHE", str(tmp_path / "cache"))
    short = weights_at(server, hashlib.sha256(DATA).hexdigest()[:8])
    for weights in (weights_at(server), short):
        path = fetch(weights)
        assert path == tmp_path / "cache" / "weights.pth"
        assert path.read_bytes() == DATA
    assert server.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_ends_early_is_taken_up_again(server, tmp_path, ranges):
    server.ranges, server.cuts = ranges, [100_000, 50_000]
    assert fetch(weights_at(server), tmp_path).read_bytes() == DATA
    ranges_asked = ["bytes=100000-", "bytes=150000-" if ranges else "bytes=50000-"]
    assert server.asked == [None, *ranges_asked]


def test_what_an_earlier_run_left_is_resumed(server, tmp_path):
    server.cuts = [1000] + [0] * fetching.TRIES
    with pytest.raises(JaxsegError, match=r"can't be fetched.*run it again to go on where it ended"):
        fetch(weights_at(server), tmp_path)
    assert not (tmp_path / "weights.pth").exists()
    assert (tmp_path / "weights.pth.part").read_bytes() == DATA[:1000]
    server.asked.clear()
    assert fetch(weights_at(server), tmp_path).read_bytes() == DATA
    assert server.asked == ["bytes=1000-"]


def test_as_long_as_something_comes_it_is_gone_on_with(server, tmp_path):
    server.cuts = [1000] * 3 * fetching.TRIES
    assert fetch(weights_at(server), tmp_path).read_bytes() == DATA
    assert len(server.asked) == 3 * fetching.TRIES + 1


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_is_asked_again_and_told_as_such(server, tmp_path, code):
    server.refusals = [code] * (fetching.TRIES - 1)
    assert fetch(weights_at(server), tmp_path / "first").read_bytes() == DATA
    server.refusals = [code] * fetching.TRIES
    with pytest.raises(JaxsegError, match=rf"is busy \(it answers {code}, .*\): try again later"):
        fetch(weights_at(server), tmp_path / "second")
    assert len(server.asked) == 2 * fetching.TRIES


@pytest.mark.parametrize("left", [DATA, DATA + b"more"])
def test_a_whole_or_too_long_rest_of_an_earlier_run(server, tmp_path, left):
    (tmp_path / "weights.pth.part").write_bytes(left)
    assert fetch(weights_at(server), tmp_path).read_bytes() == DATA


def test_a_server_that_gives_no_length(server, tmp_path):
    server.lengths = False
    assert fetch(weights_at(server), tmp_path).read_bytes() == DATA


def test_a_wrong_hash_deletes_the_file(server, tmp_path):
    wrong = weights_at(server, "00112233")
    begins = hashlib.sha256(DATA).hexdigest()[:8]
    with pytest.raises(JaxsegError, match=f"begins with {begins}, expected 00112233; the file was deleted"):
        fetch(wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []
    fetch(weights_at(server), tmp_path).write_bytes(DATA[:-1])  # damaged where it is kept
    with pytest.raises(JaxsegError, match="the file was deleted"):
        fetch(weights_at(server), tmp_path)
    assert fetch(weights_at(server), tmp_path).read_bytes() == DATA


def test_no_server_no_file_no_folder(server, tmp_path):
    with pytest.raises(JaxsegError, match="answers 404"):
        fetch(weights_at(server, file="absent.pth"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxsegError, match="JAXSEG_CACHE"):
        fetch(weights_at(server), tmp_path / "file")
    nobody = weights_at(server)._replace(url="http://127.0.0.1:9/weights.pth")
    with pytest.raises(JaxsegError, match=r"refused.*put the file at .*weights.pth yourself"):
        fetch(nobody, tmp_path)
    with pytest.raises(JaxsegError, match="no published weights 'resnet'; there are resnet18_imagenet1k_v1, "):
        fetch("resnet")


def test_a_full_disk_is_told_and_what_came_is_kept(server, tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, block):
            raise OSError(28, "No space left on device")

    append = fetching._append
    monkeypatch.setattr(fetching, "_append", lambda url, file, show: append(url, Full(file), show))
    with pytest.raises(JaxsegError, match=r"No space left on device.*JAXSEG_CACHE"):
        fetch(weights_at(server), tmp_path)
    assert len(server.asked) == 1  # no use in trying again


def test_several_at_once_fetch_once(server, tmp_path):
    got = []
    threads = [threading.Thread(target=lambda: got.append(fetch(weights_at(server), tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [tmp_path / "weights.pth"] * 4
    assert server.asked == [None]
    assert got[0].read_bytes() == DATA
