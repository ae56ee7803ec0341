"""A page on this machine that shows what trained runs find in pictures of your own.

Flask serves it. Everything the page needs comes from here: it works offline, and sends pictures to nobody.
"""

import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from jaxseg import viz
from jaxseg.data import read_image
from jaxseg.infer.instances import InstancePredictor
from jaxseg.infer.predictor import Ensemble, Predictor
from jaxseg.infer.refine import CRF, Refined
from jaxseg.infer.segments import SegmentPredictor
from jaxseg.types import JaxsegError

AnyPredictor: TypeAlias = Predictor | Ensemble | Refined | InstancePredictor | SegmentPredictor

LARGEST = 1600  # pixels of the longer side: a CRF needs 600 bytes for each of all pixels
LOWEST = 0.05  # score below which no instance is shown, wherever the slider is
MOST_BYTES = 200 * 10**6
MOST_PIXELS = 2**26  # of a picture before it is made smaller: 200 MB in memory
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Choice:
    """One of what can be chosen on the page. ``threshold``: that of instances, at first; None: there is none to set.
    ``refined``: whether the page offers a CRF. ``look(image, threshold, crf) -> (pictures by name, legend, found)``."""

    name: str
    threshold: float | None
    refined: bool
    look: Callable[[np.ndarray, float, bool], tuple[dict[str, np.ndarray], dict[str, Any], list[dict[str, Any]]]]


def viewer(predictors: Sequence[tuple[str, AnyPredictor]], hosts: Sequence[str] = ()) -> Any:
    """The Flask application that shows what ``predictors``, with a name each, find in a picture. ``hosts``: the names
    that it answers under (any).

    Raises JaxsegError where there are none, two have one name, or Flask is not installed.
    """
    try:
        import flask
    except ModuleNotFoundError as error:
        raise JaxsegError(f"jaxseg view needs {error.name}: pip install 'jaxseg[view]'") from error
    names = [name for name, _ in predictors]
    if not names or len(set(names)) != len(names):
        raise JaxsegError(f"the viewer was given {', '.join(names) or 'nothing'}; give one or more, of different names")
    choices = [_choice(name, predictor) for name, predictor in predictors]
    app, lock = flask.Flask("jaxseg", static_folder=None), threading.Lock()
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    json: Any = app.json
    json.sort_keys = False  # pictures and classes come in an order that means something

    @app.before_request
    def refuse() -> Any:
        reason = _foreign(flask.request, hosts)
        return ({"error": reason}, 403) if reason else None

    @app.errorhandler(413)
    def too_large(_: Any) -> Any:
        return {"error": f"the picture has more than {MOST_BYTES // 10**6} MB; make it smaller"}, 413

    @app.get("/")
    def page() -> str:
        return viz.render("view.html", {"choices": choices, "lowest": LOWEST})

    @app.post("/predict")
    def predict() -> Any:
        form, file = flask.request.form, flask.request.files.get("image")
        try:
            choice = choices[_number(form, "choice", int, range(len(choices)))]
            data, name = (file.read(), file.filename) if file else (b"", None)
            threshold = _number(form, "threshold", float, None)
            with lock:  # one picture at a time has the device, and memory for its pixels
                image = _shrunk(read_image(data, name=name or "the picture", max_pixels=MOST_PIXELS))
                begun = time.perf_counter()
                pictures, legend, found = choice.look(image, threshold, "crf" in form)
        except JaxsegError as error:
            return {"error": " ".join(str(error).split())}, 400
        return {
            "pictures": {name: viz.data_uri(picture) for name, picture in pictures.items()},
            "size": image.shape[1::-1],
            "legend": {name: viz.css_colour(colour) for name, colour in legend.items()},
            "found": found,
            "seconds": round(time.perf_counter() - begun, 2),
        }

    return app


def serve(
    predictors: Sequence[tuple[str, AnyPredictor]], *, host: str = "127.0.0.1", port: int = 7860, browser: bool = True
) -> None:
    """Serve :func:`viewer` until Ctrl-C. ``port`` 0: any that is free. ``browser``: open the page in one."""
    server = make_server(predictors, host=host, port=port)
    if host not in LOOPBACK:
        print(f"anyone who reaches this machine at port {server.port} may use it, not you alone", file=sys.stderr)
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"
    print(f"see {url} (Ctrl-C ends it)", flush=True)
    if browser and _on_a_desk():
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    try:
        server.serve_forever()
    finally:
        server.server_close()


def make_server(predictors: Sequence[tuple[str, AnyPredictor]], *, host: str, port: int) -> Any:
    """The server, bound and not yet serving: ``serve_forever``, ``shutdown``, ``server_close``, ``port``."""
    # Another site's page must not reach it under a name that it has pointed to this machine.
    app = viewer(predictors, LOOPBACK if host in LOOPBACK else ())
    import logging

    from werkzeug import serving

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request would be noise
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise JaxsegError(f"--host {host} --port {port} can't be served: {error}; --port 0 takes a free one") from error
    with listening:
        return serving.make_server(host, listening.getsockname()[1], app, threaded=True, fd=listening.fileno())


def _foreign(request: Any, hosts: Sequence[str]) -> str | None:
    """Why a request is refused: it comes under a name that is not among ``hosts``, or from another site's page."""
    name = urlsplit(f"//{request.host}").hostname
    if hosts and name not in hosts:
        return f"asked as {name}, served as {', '.join(hosts)} alone; jaxseg view --host 0.0.0.0 serves any name"
    if request.method == "GET":  # the page itself may be linked to
        return None
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    # What the browser says of itself counts first: it is right behind a proxy too, which may change the host.
    ours = site in ("same-origin", "none") if site else origin is None or urlsplit(origin).netloc == request.host
    return None if ours else f"asked by {origin or 'another site'}; only the page of jaxseg view --host may ask"


def _on_a_desk() -> bool:
    """Whether a browser would have a screen; elsewhere one of text would take the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _choice(name: str, predictor: AnyPredictor) -> Choice:
    if isinstance(predictor, InstancePredictor):
        return Choice(name, predictor.min_score, False, _instances(predictor))
    if isinstance(predictor, SegmentPredictor):
        return Choice(name, None, False, _segments(predictor))
    plain, crf = (predictor.predictor, predictor.crf) if isinstance(predictor, Refined) else (predictor, CRF())
    return Choice(name, None, True, _labels(plain, crf))


def _instances(predictor: InstancePredictor) -> Any:
    all_of_them = _remembered(replace(predictor, min_score=LOWEST))

    def look(image: np.ndarray, threshold: float, crf: bool) -> Any:
        del crf
        found = all_of_them(image).above(threshold)
        picture = predictor.draw(image, found, _width(image))
        told = [{"class": e.get("caption", e["class"]), "score": e["score"]} for e in predictor.entries(found)]
        return {"image": image, "prediction": picture}, {}, told

    return look


def _segments(predictor: SegmentPredictor) -> Any:
    def look(image: np.ndarray, threshold: float, crf: bool) -> Any:
        del threshold, crf
        found = predictor(image)
        picture = predictor.draw(image, found, _width(image))
        told = [{"class": e["class"], "score": e["score"]} for e in predictor.entries(found)]
        return {"image": image, "prediction": picture}, {}, told

    return look


def _labels(predictor: Predictor | Ensemble, crf: CRF) -> Any:
    probabilities = _remembered(lambda image: np.concatenate(list(predictor.bands(image))))

    def look(image: np.ndarray, threshold: float, refine: bool) -> Any:
        del threshold
        scores = probabilities(image)
        labels = {"prediction": scores.argmax(-1)} | ({"with CRF": crf(scores, image).argmax(-1)} if refine else {})
        last = [*labels.values()][-1]
        shares = np.bincount(last.ravel(), minlength=len(predictor.classes)) / last.size
        shown = [k for k in np.argsort(-shares, kind="stable").tolist() if shares[k] > 0]
        row, width = {"image": image, **labels}, _width(image)
        pictures = {name: viz.panel(row, name, predictor.palette, width) for name in row}
        legend = {predictor.classes[k]: predictor.palette[k] for k in shown}
        told = [{"class": predictor.classes[k], "share": float(shares[k])} for k in shown]
        return pictures, legend, told

    return look


def _remembered(predict: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """The same, but the last picture is not predicted on again: only the slider may have moved."""

    @lru_cache(maxsize=1)
    def known(pixels: bytes, shape: tuple[int, ...]) -> Any:
        return predict(np.frombuffer(pixels, np.uint8).reshape(shape))

    return lambda image: known(image.tobytes(), image.shape)


def _width(image: np.ndarray) -> int:
    """What a picture is drawn at: small ones are enlarged, so that names do not hide them."""
    height, width = image.shape[:2]
    return round(width * max(1.0, min(viz.READABLE / width, LARGEST / height)))


def _shrunk(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = LARGEST / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _number(form: Mapping[str, str], name: str, kind: Callable[[str], Any], among: range | None) -> Any:
    try:
        value = kind(form.get(name, "0"))
    except ValueError:
        raise JaxsegError(f"{name} is {form.get(name)!r}; expected a number") from None
    if among is not None and value not in among:
        raise JaxsegError(f"{name} is {value}; expected {among.start} to {among.stop - 1}")
    return value
