"""Classification on the simulated GPU: with one line in flight the CPU's result, with several a good one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.algorithms.blazingtext.cuda.simulated import simulator
from tests.algorithms.blazingtext.jobs import Listener, job
from wildsage.algorithms.blazingtext import BlazingText, supervised
from wildsage.algorithms.blazingtext.cuda import device, training

simulator.install()

SMALL = {"mode": "supervised", "min_count": 1, "vector_dim": 6, "epochs": 2, "learning_rate": 0.5, "buckets": 50}
LOSSES = ({"loss": "softmax"}, {"loss": "hs"}, {"loss": "ova"}, {"loss": "ns", "negative_samples": 4})


def text(lines: int, labels: int = 3, seed: int = 1) -> str:
    """Lines of a few words, most of them of the line's label; some lines have two labels."""
    rng = random.Random(seed)
    made = []
    for _ in range(lines):
        label = rng.randrange(labels)
        words = [f"w{label}{rng.randrange(3)}" if rng.random() < 0.8 else f"any{rng.randrange(3)}" for _ in range(5)]
        second = f"__label__{(label + 1) % labels} " if rng.random() < 0.1 else ""
        made.append(f"__label__{label} {second}{' '.join(words)}")
    return "\n".join(made) + "\n"


@pytest.mark.parametrize("values", [*LOSSES, {"vector_dim": 20, "word_ngrams": 1}], ids=str)
def test_one_line_in_flight_is_what_the_processor_does(values: dict[str, Any], tmp_path: Path) -> None:
    rows, facts = [], []
    for name in ("cuda", "cpu"):
        listener = Listener()
        context = job(tmp_path / name, {"train": text(24)}, listener, **{**SMALL, **values, "device": name})
        context = device.settle(context)
        rows.append(supervised.train(context))
        facts.append(listener)
    ours, theirs = rows
    assert [listener.facts["device"] for listener in facts] == ["cuda", "cpu"]
    assert np.abs(theirs.output).max() > 0.1
    np.testing.assert_allclose(ours.word_rows, theirs.word_rows, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.output, theirs.output, rtol=0, atol=1e-5)
    assert np.array_equal(ours.bucket_ids, theirs.bucket_ids)
    assert facts[0].metrics == facts[1].metrics


def test_several_lines_in_flight_learn_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LINES_EACH", 15)
    listener = Listener()
    channels = {"train": text(60), "validation": text(40, seed=2)}
    given = {**SMALL, "epochs": 4, "early_stopping": True, "storage": "float16", "device": "cuda"}
    BlazingText().train(job(tmp_path, channels, listener, **given))
    assert listener.facts["in_flight"] == 4
    assert listener.facts["storage"] == "float32"
    assert any("storage = float16" in line for line in listener.lines)
    assert listener.validations()[-1] > 0.8


def test_a_job_stops_resumes_and_ends_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LAUNCH", 16 * (7 + 6) * 8)  # eight lines or so
    given = {**SMALL, "device": "cuda"}
    whole = BlazingText().train(job(tmp_path / "whole", {"train": text(20)}, **given))
    stopped, resumed = Listener(stop_at=2), Listener()
    BlazingText().train(job(tmp_path / "stopped", {"train": text(20)}, stopped, **given))
    again = BlazingText().train(job(tmp_path / "stopped", {"train": text(20)}, resumed, **given))
    assert any("resuming from the checkpoint" in line for line in resumed.lines)
    asked = ["w00 w01 any1", "w20"]
    options = [{"k": 3}] * 2
    for ours, theirs in zip(again.predict(asked, options), whole.predict(asked, options), strict=True):
        assert ours["label"] == theirs["label"]
        np.testing.assert_allclose(ours["prob"], theirs["prob"], atol=1e-5)
