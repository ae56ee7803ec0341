"""What tests of published data sets share."""

import pytest

from jaxseg import download
from tests.data import miniatures


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """All archives, on a server; with the label maps that are in them, by name."""
    folder = tmp_path_factory.mktemp("published")
    masks = miniatures.voc(folder) | miniatures.ade20k(folder) | miniatures.camvid(folder) | miniatures.pets(folder)
    miniatures.coco(folder)
    miniatures.camvid_original(folder)
    with miniatures.served(folder) as server:
        yield server, folder, masks


@pytest.fixture
def no_pause(monkeypatch):
    """Downloads that fail are tried again at once."""
    monkeypatch.setattr(download, "PAUSE", 0.0)
