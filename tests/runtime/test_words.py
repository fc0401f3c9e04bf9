"""Word vectors asked as a program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wildsage.algorithms.blazingtext.fasttext_file import SKIP_GRAM, FastTextSettings
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.runtime import words

WORDS = ["</s>", "man", "woman", "king", "queen", "apple"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = np.array([[1, 1, 9], [1, 0, 0.1], [0, 1, 0.1], [5, 0, 5], [0, 5, 5], [-1, -2, 0]], np.float32)
    model = WordVectors.from_training(
        words=[word.encode() for word in WORDS],
        word_counts=np.arange(6, 0, -1),
        settings=FastTextSettings(dim=3, model=SKIP_GRAM, loss=2),
        word_rows=rows,
        bucket_ids=np.empty(0, np.int64),
        bucket_rows=np.empty((0, 3), np.float32),
        output=rows,
    )
    path = tmp_path / "model"
    path.mkdir()
    model.save(path)
    return path


def ask(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = words.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_nearest_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in (folder, folder / "vectors.bin", folder / "vectors.txt"):
        code, out, _ = ask(capsys, "--model", model, "nearest", "king", "--count", "2")
        assert code == 0
        found = json.loads(out)
        assert [each["word"] for each in found] == ["</s>", "man"]
        assert found[0]["cosine"] == pytest.approx(50 / np.sqrt(50 * 83), abs=1e-5)


def test_an_analogy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "--model", folder, "analogy", "man", "king", "woman", "--count", "1")
    assert code == 0
    assert [each["word"] for each in json.loads(out)] == ["queen"]


def test_vectors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "--model", folder, "vector", "king", "unknown")
    assert code == 0
    assert json.loads(out) == [{"vector": [5, 0, 5], "word": "king"}, {"vector": [0, 0, 0], "word": "unknown"}]


def test_an_export_is_a_model_again(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "e.safetensors"
    code, out, _ = ask(capsys, "--model", folder, "export", target)
    assert code == 0
    assert json.loads(out) == {"file": str(target), "words": 6, "dim": 3, "bytes": target.stat().st_size}
    assert ask(capsys, "--model", target, "nearest", "king")[0] == 0


def test_what_the_user_can_put_right(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, reason in (
        (("--model", tmp_path / "none", "nearest", "king"), "there is no model"),
        (("--model", tmp_path, "nearest", "king"), "no vectors.bin"),
        (("--model", folder, "nearest", "kingg"), 'did you mean "king"?'),
        (("--model", folder, "export", tmp_path / "e.npz"), "the ending must be"),
    ):
        code, out, err = ask(capsys, *arguments)
        assert (code, out) == (1, "")
        assert err.startswith("ClientError: ")
        assert reason in err


def test_a_command_that_is_written_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("nearest",), ("analogy", "a", "b"), ("nearest", "a", "--count", "0"), ("sing",)):
        with pytest.raises(SystemExit) as caught:
            ask(capsys, "--model", folder, *arguments)
        assert caught.value.code == 2
