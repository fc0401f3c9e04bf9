"""Word vectors on the simulated GPU: with one sentence in flight the CPU's result, with several a good one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.algorithms.blazingtext.cuda.simulated import simulator
from tests.algorithms.blazingtext.jobs import Listener, job
from wildsage.algorithms.blazingtext import BlazingText, word_epochs
from wildsage.algorithms.blazingtext.cuda import training
from wildsage.algorithms.blazingtext.cuda.training import WordTraining
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.blazingtext.word_model import WordVectors

simulator.install()

SMALL = {"min_count": 1, "vector_dim": 8, "window_size": 3, "sampling_threshold": 0.5, "learning_rate": 0.5}
BATCH = 30  # words, so that a part has several batches
COUNTS = np.array([60, 41, 37, 30, 22, 15, 9, 9, 4, 2], np.int64)


class OnProcessor(word_epochs.Training):
    """The CPU's training, in batches of the GPU's size."""

    batch_words = BATCH


class OnGpu(WordTraining):
    batch_words = BATCH


def trained(kind: type[word_epochs.Training], words: int = 80, **values: Any) -> tuple[Any, list[float]]:
    """Training of some random words in lines, done; and its losses."""
    parameters = BlazingTextHyperparameters.model_validate({**SMALL, "epochs": 2, "mode": "skipgram", **values})
    names = [b"word%d" % number for number in range(COUNTS.size)]
    names[1] = b"</s>"
    vocabulary = Vocabulary(names, COUNTS, [], np.empty(0, np.int64))
    stream = np.random.default_rng(3).choice(COUNTS.size, words, p=COUNTS / COUNTS.sum()).astype(np.int32)
    subwords = word_epochs.Subwords.none()
    if parameters.makes_subwords:
        subwords = word_epochs.Subwords.of(names, 3, 4, 20)
    with ThreadPoolExecutor(1) as pool:
        made = kind(parameters, vocabulary, stream, subwords, 1, pool, Event(), Listener())
        made.initialise()
        losses = []
        for _ in range(parameters.epochs):
            made.run_epoch()
            assert made.epoch_is_done
            losses.append(made.end_epoch())
    return made, losses


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"loss": "hs"},
        {"mode": "batch_skipgram", "batch_size": 2, "negative_samples": 7},  # two groups of rows, sets of contexts
        {"mode": "cbow"},
        {"mode": "cbow", "loss": "hs", "cbow_mean_gradient": True},
        {"subwords": True, "learning_rate": 0.1},  # at more, rounding grows from batch to batch
        {"mode": "cbow", "subwords": True, "learning_rate": 0.1},
        {"vector_dim": 20, "window_size": 1, "negative_samples": 1},  # lanes with several columns, and with none
    ],
    ids=str,
)
def test_one_sentence_in_flight_is_what_the_processor_does(values: dict[str, Any]) -> None:
    ours, our_losses = trained(OnGpu, **values)
    theirs, their_losses = trained(OnProcessor, **values)
    assert len(ours.parts) == 1
    assert np.abs(theirs.table).max() > 0.1
    np.testing.assert_allclose(ours.table, theirs.table, rtol=0, atol=1e-5)
    np.testing.assert_allclose(our_losses, their_losses, rtol=1e-5)
    assert ours.random == theirs.random  # as many draws


def test_several_sentences_in_flight_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WORDS_EACH", 50)
    made, losses = trained(OnGpu, words=200, epochs=3)
    assert len(made.parts) == 4
    assert np.isfinite(made.table).all()
    assert losses[2] < losses[0]


def test_a_job_stops_resumes_and_ends_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WordTraining, "chunk_work", 16 * 6 * 6 * 25)  # 25 words a launch
    text = {"train": "a b c d\nb c a a d e\n" * 6}
    given = {**SMALL, "mode": "skipgram", "epochs": 2, "device": "cuda", "evaluation": False}
    whole = BlazingText().train(job(tmp_path / "whole", text, **given))
    stopped = Listener(stop_at=2)
    BlazingText().train(job(tmp_path / "stopped", text, stopped, **given))
    assert "a checkpoint is kept" in stopped.lines[-1]
    resumed = Listener()
    again = BlazingText().train(job(tmp_path / "stopped", text, resumed, **given))
    assert any("resuming from the checkpoint" in line for line in resumed.lines)
    assert resumed.facts["device"] == "cuda"
    assert isinstance(whole, WordVectors)
    assert isinstance(again, WordVectors)
    np.testing.assert_allclose(again.of(["a", "b", "e"]), whole.of(["a", "b", "e"]), atol=1e-6)
