"""Vocabularies, captions as tokens, and Visual Genome's regions."""

import json

import numpy as np
import pytest

from jaxseg.data import Shapes, VisualGenome, Vocabulary, WithTokens, caption_truth, write_png
from jaxseg.types import END, UNKNOWN_WORD, JaxsegError


def test_a_vocabulary_counts_words_and_knows_them_again(tmp_path):
    words = Vocabulary.of(["A red star.", "a RED, blue disk", "the well-kept owner's star"], least=2)
    assert words.words == ("a", "red", "star")
    assert len(words) == 7
    tokens = words.encode("A red disk!", 6)
    np.testing.assert_array_equal(tokens, [4, 5, UNKNOWN_WORD, END, 0, 0])
    assert words.decode(tokens) == "a red <unknown>"
    np.testing.assert_array_equal(words.encode("star star star star", 3), [6, 6, END])
    assert "well-kept" in Vocabulary.of(["a well-kept star"]).words
    words.write(tmp_path / "words.txt")
    assert Vocabulary.read(tmp_path / "words.txt") == words
    with pytest.raises(JaxsegError, match="3 words, 2 of them different"):
        Vocabulary(["a", "b", "a"])


def test_a_vocabulary_is_read_when_first_needed():
    read = []
    words = Vocabulary(lambda: read.append(1) or ["a", "b"], count=2)
    assert (len(words), read) == (6, [])
    assert words.decode(words.encode("b a", 4)) == "b a"
    assert read == [1]
    with pytest.raises(JaxsegError, match="2 words where 3 were to be; say 2"):
        Vocabulary(lambda: ["a", "b"], count=3).encode("a", 3)
    with pytest.raises(JaxsegError, match="give count"):
        Vocabulary(lambda: ["a"])


def test_shapes_with_tokens():
    words = Vocabulary(Shapes().words)
    source = WithTokens(Shapes("val", length=5), words, 8, one_class=True)
    for i in range(5):
        instances = source[i]["instances"]
        told = [words.decode(t) for t in instances["tokens"]]
        assert told == instances["captions"].tolist() == caption_truth(source, i)[1]
        assert set(instances["classes"].tolist()) == {1}
    assert source.things == ("region",)
    assert WithTokens(Shapes(), words).things == Shapes().things


@pytest.fixture
def genome(tmp_path):
    for i, folder in ((3, "VG_100K"), (8, "VG_100K_2")):
        (tmp_path / folder).mkdir()
        write_png(tmp_path / f"{i}.png", np.full((40, 60, 3), 10 * i, np.uint8))
        (tmp_path / f"{i}.png").rename(tmp_path / folder / f"{i}.jpg")
    box = {"x": 5, "y": 6, "width": 20, "height": 10}
    regions = [
        {"phrase": "A red star.", **box},
        {"phrase": " ".join(["very"] * 12), **box},
        {"phrase": "flat", **box, "height": 0},
        {"phrase": "beyond the edge", "x": 50, "y": 30, "width": 30, "height": 30},
    ]
    content = [{"id": 3, "regions": regions}, {"id": 8, "regions": regions[:1]}]
    (tmp_path / "regions.json").write_text(json.dumps(content))
    return tmp_path


def test_visual_genome(genome):
    folders = (genome / "VG_100K", genome / "VG_100K_2")
    source = VisualGenome(folders, genome / "regions.json")
    sample = source[0]
    assert (len(source), sample["image"].shape, sample["image_id"]) == (2, (40, 60, 3), 3)
    np.testing.assert_array_equal(sample["instances"]["boxes"], [[5, 6, 25, 16], [50, 30, 60, 40]])
    assert sample["instances"]["captions"].tolist() == ["A red star.", "beyond the edge"]
    assert source.regions(0)[1] == ["A red star.", "beyond the edge"]
    chosen = VisualGenome(folders, genome / "regions.json", ids=(8,))
    assert (len(chosen), chosen[0]["image"][0, 0, 0]) == (1, 80)
    tokens = WithTokens(chosen, Vocabulary(["a", "red", "star"]), 5)[0]["instances"]["tokens"]
    np.testing.assert_array_equal(tokens, [[4, 5, 6, END, 0]])


def test_what_is_wrong_with_visual_genome_is_told(genome):
    with pytest.raises(JaxsegError, match=r"has no image \[9\]"):
        len(VisualGenome((genome,), genome / "regions.json", ids=(9,)))
    with pytest.raises(JaxsegError, match="image 3 is in none of"):
        VisualGenome((genome,), genome / "regions.json")[0]
    (genome / "bad.json").write_text(json.dumps([{"id": 3, "regions": [{"phrase": "x"}]}]))
    with pytest.raises(JaxsegError, match=r"KeyError.*region_descriptions\.json"):
        len(VisualGenome((genome,), genome / "bad.json"))
