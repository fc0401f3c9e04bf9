"""Cross-validation: who is in which fold, what is learnt without it, and going on after a stop."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job, reviews
from wildsage.algorithms.blazingtext import folds, supervised
from wildsage.algorithms.blazingtext.features import Features
from wildsage.contract.errors import ClientError


def lines_of(labels: list[int]) -> Features:
    starts = np.arange(len(labels) + 1)
    return Features(np.zeros(len(labels), np.int32), starts, np.array(labels, np.int32), starts, starts, 0, None, 0)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=200), st.integers(2, 10), st.integers(0, 9))
def test_folds_share_lines_and_labels_evenly(labels: list[int], count: int, seed: int) -> None:
    if len(labels) < count:
        with pytest.raises(ClientError, match=f"k_fold = {count} is too many for {len(labels)} lines"):
            folds.assign(lines_of(labels), count, seed)
        return
    found = folds.assign(lines_of(labels), count, seed)
    assert np.array_equal(found, folds.assign(lines_of(labels), count, seed))
    sizes = np.bincount(found, minlength=count)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        having = np.bincount(found[np.array(labels) == label], minlength=count)
        assert having.max() - having.min() <= 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_job_with_folds(threads: int, tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": reviews(1200), "validation": reviews(100, seed=2), "test": reviews(100, seed=3)}
    settings: dict[str, Any] = {"epochs": 4, "word_ngrams": 2, "vector_dim": 8}
    rows = supervised.train(job(tmp_path / "folds", channels, listener, threads=threads, k_fold=3, **settings))
    result = listener.facts["k_fold"]
    assert result["folds"] == 3
    assert len(result["accuracies"]) == 3
    assert result["mean"] == pytest.approx(statistics.mean(result["accuracies"]))
    assert result["spread"] == pytest.approx(statistics.stdev(result["accuracies"]))
    assert min(result["accuracies"]) > 0.7
    metrics = {name: value for name, value, _ in listener.metrics}
    assert (metrics["k_fold:accuracy"], metrics["k_fold:accuracy_spread"]) == (result["mean"], result["spread"])
    assert json.loads((tmp_path / "folds" / "output" / "k_fold.json").read_text()) == result
    assert any("the model that is kept is trained on all lines" in line for line in listener.lines)
    assert len(listener.validations()) == 4  # of the model alone
    if threads == 1:  # which is the one that a job without folds makes
        alone = supervised.train(job(tmp_path / "alone", channels, threads=threads, **settings))
        assert np.array_equal(rows.word_rows, alone.word_rows)
        assert np.array_equal(rows.output, alone.output)


def test_a_fold_is_trained_without_its_lines(tmp_path: Path) -> None:
    """Words that tell the label of one line alone are of no use to other lines."""
    lines = [f"__label__{'ab'[k % 2]} only{k} only{k} only{k}\n" for k in range(200)]
    listener = Listener()
    supervised.train(job(tmp_path, {"train": "".join(lines)}, listener, k_fold=4, epochs=5, word_ngrams=1))
    accuracies = {name: value for name, value, _ in listener.metrics}
    assert accuracies["train:accuracy"] == 1
    assert 0.3 < accuracies["k_fold:accuracy"] < 0.7


def test_folds_stop_early_as_the_model_does(tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": reviews(300), "validation": reviews(60, seed=2)}
    settings: dict[str, Any] = {"early_stopping": True, "min_epochs": 1, "patience": 1, "epochs": 30}
    supervised.train(job(tmp_path, channels, listener, k_fold=2, **settings))
    assert listener.facts["k_fold"]["mean"] > 0.6
    assert listener.facts["stopped_early"]


class Stopping(Listener):
    """Sets the stop flag once so many folds are done."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def say(self, text: str) -> None:
        super().say(text)
        if text.startswith(f"fold {self.after} of"):
            self.stop.set()


def test_folds_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    channels, settings = {"train": reviews(300)}, {"k_fold": 4, "epochs": 2}
    whole = Listener()
    supervised.train(job(tmp_path / "whole", channels, whole, **settings))
    first = Stopping(2)
    with pytest.raises(ClientError, match="there is no model to keep"):
        supervised.train(job(tmp_path / "parts", channels, first, **settings))
    second = Listener()
    supervised.train(job(tmp_path / "parts", channels, second, **settings))
    assert "2 of 4 folds are done already" in second.lines
    assert second.facts["k_fold"] == whole.facts["k_fold"]
    changed = Listener()
    supervised.train(job(tmp_path / "parts", channels, changed, **settings, seed=5))
    assert not any("done already" in line for line in changed.lines)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"fingerprint": "x", "accuracies": ["a"]}', b"\xff"])
def test_a_damaged_list_of_folds_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "done.json").write_bytes(content)
    result = folds.cross_validate(2, lambda k, _: float(k), Listener(), tmp_path / "done.json", "x")
    assert result.accuracies == [0.0, 1.0]


def test_more_folds_than_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="k_fold = 70 is too many for 60 lines"):
        supervised.train(job(tmp_path, {"train": reviews(60)}, k_fold=70))
