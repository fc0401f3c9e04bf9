"""Bad input through whole jobs: the place and the reason in the failure file, exit code 1, nothing half written."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import struct
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.algorithms.blazingtext.jobs import reviews
from wildsage.algorithms.blazingtext import fasttext_file
from wildsage.algorithms.blazingtext.word2vec_file import Vectors
from wildsage.algorithms.blazingtext.word_model import WordVectors
from wildsage.contract import machine
from wildsage.contract.layout import Layout
from wildsage.runtime.train import run

GOOD = reviews(60)
SUPERVISED = {"mode": "supervised", "min_count": "1", "buckets": "100", "vector_dim": "4", "epochs": "1"}
SKIPGRAM = {"mode": "skipgram", "min_count": "1", "vector_dim": "4", "epochs": "1", "evaluation": "false"}
MODES = {"supervised": SUPERVISED, "skipgram": SKIPGRAM}


def train(base: Path, channels: dict[str, dict[str, bytes]], values: dict[str, str]) -> tuple[int, str]:
    """The exit code and the failure of a job."""
    (base / "input" / "config").mkdir(parents=True)
    for name, files in channels.items():
        folder = base / "input" / "data" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    settings = {name: {"TrainingInputMode": "File"} for name in channels}
    (base / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(settings))
    code = run("blazingtext", Layout(base), Event())
    failure = base / "output" / "failure"
    return code, failure.read_text() if failure.exists() else ""


def nothing_is_left(base: Path) -> bool:
    """Whether there is no model, no checkpoint, and nothing under a temporary name."""
    files = [path for path in base.rglob("*") if path.is_file() and (base / "input") not in path.parents]
    allowed = {"failure", "metrics.jsonl", "progress.json", "summary.json"}
    return {path.name for path in files} <= allowed and not any(path.name.startswith(".") for path in base.iterdir())


TEXTS: dict[str, tuple[bytes, dict[str, str]]] = {
    "empty": (b"", dict.fromkeys(MODES, r"channel train: empty \(t\); a line of it is:")),
    "no label": (b"some text\n" * 9, {"supervised": "train/t, line 1: no label"}),
    "one label": (b"__label__a some text\n" * 9, {"supervised": "channel train has one label only, __label__a"}),
    "a zero byte": (GOOD + b"a\0b\n", dict.fromkeys(MODES, r"train/t, line 61, byte \d+: a zero byte")),
    "UTF-16": ("\ufeff__label__a b\n".encode("utf-16-le"), dict.fromkeys(MODES, "train/t, line 1: the text is UTF-16")),
    "UTF-16 without a mark": ("__label__a b\n".encode("utf-16-le"), dict.fromkeys(MODES, "line 1, byte 1: a zero")),
    "Latin-1": (GOOD + b"__label__a caf\xe9\n", dict.fromkeys(MODES, r"train/t, line 61: b'caf\\xe9' is not UTF-8")),
    "a label in Latin-1": (GOOD + b"__label__\xe9 x\n", {"supervised": r"line 61: b'__label__\\xe9' is not UTF-8"}),
    "gzip, cut": (gzip.compress(GOOD)[:-30], dict.fromkeys(MODES, "train/t: cannot be read: Compressed file ended")),
    "no gzip": (b"\x1f\x8b12345678", dict.fromkeys(MODES, "train/t: cannot be read")),
    "one word": (b"a\n", {"skipgram": "two are needed at least"}),
}


@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name, (_, reasons) in TEXTS.items() for mode in reasons], ids=str
)
def test_text_that_cannot_be_learnt_from(name: str, mode: str, tmp_path: Path) -> None:
    content, reasons = TEXTS[name]
    values = MODES[mode] | ({"min_count": "2"} if name == "one word" else {})
    code, failure = train(tmp_path, {"train": {"t": content}}, values)
    assert code == 1
    assert re.match(f"ClientError: .*{reasons[mode]}", failure), failure
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "channel validation: empty"),
        (b"\nno label here\n", "validation/v, line 2: no line of channel validation has both a label and a word"),
        (b"__label__new good\n", "validation/v, line 1: label __label__new is on no line of channel train"),
        (b"__label__a good\n\xff\n", r"validation/v, line 2: b'\xff' is not UTF-8"),
        (b"__label__a good\n\0\n", "validation/v, line 2, byte 16: a zero byte"),
    ],
)
def test_validation_that_says_nothing(content: bytes, reason: str, tmp_path: Path) -> None:
    code, failure = train(tmp_path, {"train": {"t": GOOD}, "validation": {"v": content}}, SUPERVISED)
    assert (code, reason in failure) == (1, True), failure
    assert nothing_is_left(tmp_path)


def vectors_file(folder: Path, name: str) -> bytes:
    rows = np.arange(8, dtype=np.float32).reshape(2, 4) + 1
    model = WordVectors.from_vectors(Vectors([b"good", b"bad"], rows, None))
    if name.startswith("fasttext"):
        fasttext_file.write(folder / "made.bin", model.file)
        return (folder / "made.bin").read_bytes()
    path = folder / ("made" + name[name.index(".") :])
    model.export(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("vectors.txt", lambda data: data[:-6], "line 3, column"),
        ("vectors.txt", lambda data: data.replace(b" 2", b" two", 1), "line 2, column"),
        ("word2vec.bin", lambda data: data[:-6], "word2vec.bin, "),
        ("fasttext.bin", lambda data: data[:-6], "fasttext.bin, byte"),
        ("fasttext.bin", lambda data: data[:4] + struct.pack("<i", 99) + data[8:], "byte 4: version 99"),
        ("fasttext.bin", lambda data: data[:60], "fasttext.bin, byte"),
        ("vectors.safetensors", lambda data: data[:-6], "not a file of safetensors"),
        ("vectors.pkl", lambda _: pickle.dumps({"good": [1.0, 2.0]}), "not word vectors"),
    ],
)
@pytest.mark.parametrize("channel", ["pretrained_vectors", "model"])
def test_damaged_vectors(channel: str, name: str, damage: Any, reason: str, tmp_path: Path) -> None:
    data = damage(vectors_file(tmp_path, "vectors.txt" if name.endswith("pkl") else name))
    channels = {"train": {"t": GOOD}, channel: {name: data}}
    base = tmp_path / "ml"
    code, failure = train(base, channels, SUPERVISED if channel == "pretrained_vectors" else SKIPGRAM)
    assert code == 1
    assert failure.startswith("ClientError: ")
    assert channel in failure
    assert reason in failure or channel == "model"
    assert nothing_is_left(base)


@pytest.mark.parametrize("mode", MODES)
def test_more_than_memory_is_refused_before_it_is_made(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 230 << 20)
    text = b"\n".join(b"__label__%d word%d of many" % (k % 2, k) for k in range(100_000))
    code, failure = train(tmp_path, {"train": {"t": text}}, MODES[mode] | {"vector_dim": "1000"})
    assert code == 1
    assert "lower vector_dim (now 1000)" in failure
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_a_bomb_is_refused(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 400 << 20)
    block = gzip.compress(b"__label__a b c d e f g h\n__label__b c\n" * (1 << 15))
    code, failure = train(tmp_path, {"train": {"t.gz": block * 1000}}, MODES[mode])
    assert (code, failure.startswith("ClientError: train/t.gz: after 0.")) == (1, True), failure
    assert nothing_is_left(tmp_path)


def test_sets_of_pairs_are_checked_before_training(tmp_path: Path) -> None:
    channels = {"train": {"t": GOOD}, "evaluation": {"pairs": b"a b 1\nno score\n"}}
    code, failure = train(tmp_path, channels, SKIPGRAM | {"evaluation": "true"})
    assert (code, "evaluation/pairs, line 2" in failure) == (1, True), failure
    assert not (tmp_path / "output" / "progress.json").exists()
    assert nothing_is_left(tmp_path)


def test_one_label_too_few_in_validation_is_told_and_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    channels = {"train": {"t": GOOD}, "validation": {"v": b"__label__a good\n__label__new good\n"}}
    code, failure = train(tmp_path, channels, SUPERVISED)
    assert (code, failure) == (0, "")
    assert "the first is __label__new, in v, line 2" in caplog.text
    assert "2 of 3 labels of channel train are on no line of it (__label__" in caplog.text
    assert (tmp_path / "model" / "model.bin").exists()
