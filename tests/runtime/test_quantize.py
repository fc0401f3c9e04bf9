"""A model made small by a program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wildsage.algorithms.blazingtext import BlazingText
from wildsage.algorithms.blazingtext.fasttext_file import FastTextSettings
from wildsage.algorithms.blazingtext.model import TextClassifier
from wildsage.runtime import quantize


@pytest.fixture
def model(tmp_path: Path) -> TextClassifier:
    rng = np.random.default_rng(0)
    made = TextClassifier.from_training(
        words=[b"</s>", *(b"w%d" % i for i in range(499))],
        word_counts=np.arange(500, 0, -1),
        labels=[b"__label__a", b"__label__b"],
        label_counts=np.array([2, 1]),
        settings=FastTextSettings(dim=10, word_ngrams=2, bucket=20_000),
        word_rows=rng.normal(size=(500, 10)).astype(np.float32),
        bucket_ids=np.arange(0, 20_000, 20),
        bucket_rows=rng.normal(size=(1000, 10)).astype(np.float32),
        output=rng.normal(size=(2, 10)).astype(np.float32),
    )
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    return made


def ask(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = quantize.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("given", ["model", "model/model.bin"])
def test_a_model_becomes_small_and_answers(
    model: TextClassifier, capsys: pytest.CaptureFixture[str], tmp_path: Path, given: str
) -> None:
    target = tmp_path / "small" / "model.ftz"
    code, out, err = ask(capsys, "--model", tmp_path / given, "--output", target, "--cutoff", "700", "--qout")
    assert code == 0, err
    said = json.loads(out)
    assert said["words"] + said["ngrams"] == 700
    assert said["bytes"] == target.stat().st_size < said["bytes_before"] / 20
    assert BlazingText.model_in(target.parent) is TextClassifier
    loaded = BlazingText.load(target.parent)
    texts = [f"w{i} w{i + 1} w{i + 2}" for i in range(0, 400, 4)]
    whole, small = (each.predict(texts, [{}] * len(texts)) for each in (model, loaded))
    assert sum(a["label"] == b["label"] for a, b in zip(whole, small, strict=True)) > 60


def test_what_the_user_can_put_right(model: TextClassifier, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder, target = tmp_path / "model", tmp_path / "small.ftz"
    (tmp_path / "empty").mkdir()
    for arguments, reason in (
        (("--model", tmp_path / "none", "--output", target), "there is no model"),
        (("--model", tmp_path / "empty", "--output", target), "no model in fastText's format"),
        (("--model", folder, "--output", tmp_path / "small.bin"), "the ending must be .ftz"),
        (("--model", folder, "--output", target, "--cutoff", "-1"), "cutoff = -1 is not allowed"),
        (("--model", folder, "--output", target, "--dsub", "11"), "dsub = 11 is not allowed: an integer, 1 to 10"),
    ):
        code, out, err = ask(capsys, *arguments)
        assert (code, out) == (1, "")
        assert err.startswith("ClientError: ")
        assert reason in err
    assert not target.exists()
