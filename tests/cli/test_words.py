"""`wildsage words` and `wildsage model quantize`."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Call

VECTORS = "4 3\nman 1 0 0.1\nwoman 0 1 0.1\nking 5 0 5\nqueen 0 5 5\n"


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WILDSAGE_HOME", str(tmp_path / "home"))
    path = tmp_path / "vectors.txt"
    path.write_text(VECTORS)
    return path


def test_near_words_and_analogies(call: Call, vectors: Path) -> None:
    said = call("words", vectors, "nearest", "king", "--count", "1")
    assert (said.code, said.out) == (0, "man\t0.7740\n"), said.err
    assert call("words", vectors, "analogy", "man", "king", "woman").out.startswith("queen\t")
    told = call("words", vectors, "nearest", "king", "--json").json
    assert [each["word"] for each in told] == ["man", "queen", "woman"]


def test_a_packed_model_is_asked_alike(call: Call, vectors: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(vectors, "vectors.txt")
    assert call("words", tmp_path / "model.tar.gz", "vector", "king").out == "king 5 0 5\n"
    assert call("words", vectors, "vector", "king", "nobody", "--json").json[1]["vector"] == [0, 0, 0]


def test_an_export(call: Call, vectors: Path, tmp_path: Path) -> None:
    said = call("words", vectors, "export", tmp_path / "e.bin")
    assert said.out == f"4 vectors of 3 columns are in {tmp_path / 'e.bin'}\n"
    assert call("words", tmp_path / "e.bin", "nearest", "king", "-n", "1").out == "man\t0.7740\n"


def test_what_is_wrong_is_said(call: Call, vectors: Path) -> None:
    said = call("words", vectors, "nearest", "kingg")
    assert said.code == 1
    assert said.err == 'wildsage: "kingg" has no vector here; did you mean "king"?\n'
    assert call("words", vectors, "analogy", "king", "queen").code == 2
    assert call("words", vectors, "sing", "king").code == 2
    assert "there is no file, job or model" in call("words", "nobody", "nearest", "king").err


def test_quantisation(call: Call, vectors: Path, tmp_path: Path) -> None:
    from wildsage.algorithms.blazingtext.word_model import WordVectors

    (tmp_path / "model").mkdir()
    WordVectors.read(vectors).save(tmp_path / "model")
    said = call("model", "quantize", tmp_path / "model", "--output", tmp_path / "small.ftz")
    assert said.code == 0, said.err
    assert "4 words and 0 n-grams" in said.out
    assert call("words", tmp_path / "small.ftz", "nearest", "king", "-n", "1").out.startswith("man\t")
    said = call("model", "quantize", tmp_path / "model", "--output", tmp_path / "small.bin")
    assert "the ending must be .ftz" in said.err
