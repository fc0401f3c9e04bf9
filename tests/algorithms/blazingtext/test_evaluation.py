"""Precision, recall and F1 by label, against counting line by line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.blazingtext.jobs import Listener, job, reviews
from wildsage.algorithms.blazingtext import BlazingText, evaluation
from wildsage.algorithms.blazingtext.evaluation import Evaluation

NAMES = ["__label__a", "__label__b", "__label__c", "__label__d"]
LINES = st.lists(st.tuples(st.integers(-1, 3), st.lists(st.integers(-1, 3), min_size=1, max_size=3)), max_size=30)


def evaluated(lines: list[tuple[int, list[int]]]) -> Evaluation:
    """lines: the answer and the labels of each."""
    given = [label for _, labels in lines for label in labels]
    starts = np.cumsum([0] + [len(labels) for _, labels in lines], dtype=np.int64)
    answers = np.array([answer for answer, _ in lines], np.int32)
    return Evaluation.of(NAMES, answers, np.array(given, np.int32), starts)


@given(LINES)
def test_counts_are_those_of_the_slow_truth(lines: list[tuple[int, list[int]]]) -> None:
    made = evaluated(lines)
    rights = [answer in labels and answer >= 0 for answer, labels in lines]
    assert made.accuracy == (sum(rights) / len(lines) if lines else 0)
    cells: dict[tuple[int, int], int] = {}
    for number, row in enumerate(made.by_label()):
        hits = sum(answer == number and number in labels for answer, labels in lines)
        answered = sum(answer == number for answer, _ in lines)
        having = sum(number in labels for _, labels in lines)
        assert (row["right"], row["answers"], row["lines"]) == (hits, answered, having)
        precision, recall = hits / answered if answered else 0, hits / having if having else 0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((precision, recall, f1))
    for (answer, labels), right in zip(lines, rights, strict=True):
        cell = (answer if right else labels[0], answer)
        cells[cell] = cells.get(cell, 0) + 1
    told = {(4 if a < 0 else a, 4 if b < 0 else b): count for (a, b), count in cells.items()}
    assert {(a, b): count for a, b, count in made.confusion.tolist()} == told
    assert made.unknown == sum(-1 in labels for _, labels in lines)


def test_averages() -> None:
    # a: 2 of 3 answers right, 2 of 2 lines found; b: 1 of 1, 1 of 2; d never occurs.
    made = evaluated([(0, [0]), (0, [0]), (0, [1]), (1, [1])])
    assert made.averages()["micro"] == {"precision": 0.75, "recall": 0.75, "f1": 0.75}
    assert made.averages()["macro"] == pytest.approx({"precision": 5 / 6, "recall": 0.75, "f1": (0.8 + 2 / 3) / 2})
    assert made.averages()["weighted"] == pytest.approx({"precision": 5 / 6, "recall": 0.75, "f1": (0.8 + 2 / 3) / 2})
    line = (
        "channel test: accuracy 0.7500, F1 0.7333 (macro), 0.7333 (weighted); lowest F1: 0.6667 of __label__b, 2 lines"
    )
    assert made.line("test") == line
    nothing = evaluated([])
    assert nothing.averages()["macro"] == {"precision": 0, "recall": 0, "f1": 0}
    assert nothing.line("x").startswith("channel x: accuracy 0.0000")


def test_files_are_written(tmp_path: Path) -> None:
    evaluation.write(tmp_path / "output", {"test": evaluated([(0, [0]), (1, [-1, 0]), (-1, [1])])})
    content = json.loads((tmp_path / "output" / "evaluation.json").read_text())["test"]
    assert content["accuracy"] == pytest.approx(1 / 3)
    assert content["labels_not_in_train"] == 1
    assert {"label": "__label__b", "answer": "", "lines": 1} in content["confusion"]
    assert {"label": "", "answer": "__label__b", "lines": 1} in content["confusion"]
    rows = list(csv.DictReader((tmp_path / "output" / "evaluation.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == [*NAMES, "(micro)", "(macro)", "(weighted)"]
    assert (rows[0]["precision"], rows[0]["recall"], rows[0]["lines"]) == ("1.0", "0.5", "2")
    confusion = list(csv.DictReader((tmp_path / "output" / "confusion.csv").read_text().splitlines()))
    assert sum(int(row["lines"]) for row in confusion) == 3
    assert {row["channel"] for row in [*rows, *confusion]} == {"test"}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_job_evaluates_what_it_was_not_trained_on(threads: int, tmp_path: Path) -> None:
    listener = Listener()
    channels = {"train": reviews(900), "validation": reviews(150, seed=2), "test": reviews(120, seed=3)}
    model = BlazingText().train(job(tmp_path, channels, listener, threads=threads, word_ngrams=1, epochs=3))
    content = json.loads((tmp_path / "output" / "evaluation.json").read_text())
    assert content["validation"]["accuracy"] == pytest.approx(listener.validations()[-1])
    lines = channels["test"].decode().splitlines()
    texts = [" ".join(word for word in line.split() if not word.startswith("__label__")) for line in lines]
    answers = [answer["label"][0] for answer in model.predict(texts, [{}] * len(texts))]
    right = sum(answer in line.split() for answer, line in zip(answers, lines, strict=True))
    assert content["test"]["accuracy"] == pytest.approx(right / len(lines))
    assert ("test:accuracy", content["test"]["accuracy"], None) in listener.metrics
    for row in content["test"]["labels"]:
        assert row["answers"] == answers.count(row["label"])
    assert any(line.startswith("channel test: accuracy") for line in listener.lines)


def test_without_such_channels_there_is_no_evaluation(tmp_path: Path) -> None:
    BlazingText().train(job(tmp_path, {"train": reviews(60)}, epochs=1))
    assert not (tmp_path / "output" / "evaluation.json").exists()
