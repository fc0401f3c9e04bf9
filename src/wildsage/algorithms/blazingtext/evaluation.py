"""How good a classifier's answers are: precision, recall and F1 by label, and which labels are taken for which.

A line is answered with its best label. Of a line with several labels, one of which is the answer, the others count as
missed. Averages are over the labels that occur, in the text or in answers: macro, each counts alike; weighted, by its
lines; micro, over all answers.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.files import write_atomically, write_json
from wildsage.contract.pictures import confusion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.contract.pictures import Picture

JSON_FILE, CSV_FILE, CONFUSION_FILE = "evaluation.json", "evaluation.csv", "confusion.csv"
NO_LABEL = ""  # in place of a label that training lacks, or of an answer that there is none


@dataclass(frozen=True)
class Evaluation:
    """The counts of one channel; C labels."""

    labels: list[str]
    right: NDArray[np.int64]  # (C,), lines answered with the label that have it
    answered: NDArray[np.int64]  # (C,), lines answered with it
    lines_of: NDArray[np.int64]  # (C,), lines that have it
    lines: int
    unknown: int  # labels on lines that training lacks
    confusion: NDArray[np.int64]  # (n, 3): label of the line, answer (C: none), lines; those that occur, ascending

    @classmethod
    def of(
        cls,
        labels: list[str],
        answers: NDArray[np.int32],
        given: NDArray[np.int32],
        given_starts: NDArray[np.int64],
    ) -> Evaluation:
        """Count answers, int32 (lines,), -1 for none, against the labels given, int32, from given_starts of each line.

        A label that training lacks is -1. In the confusion a line counts once: under its answer, if that is right, else
        under the first of its labels.
        """
        size, counts = len(labels), np.diff(given_starts)
        line = np.repeat(np.arange(answers.size), counts)
        # A label that a line has twice is one.
        pairs = np.unique(np.stack([line, given]), axis=1) if given.size else np.empty((2, 0), np.int64)
        known = pairs[:, pairs[1] >= 0]
        hit = known[1] == answers[known[0]]
        is_right = np.zeros(answers.size, np.bool_)
        is_right[known[0][hit]] = True
        first = np.where(is_right, answers, given[np.minimum(given_starts[:-1], max(0, given.size - 1))])
        cells, lines = np.unique(
            np.stack([np.where(first < 0, size, first), np.where(answers < 0, size, answers)]),
            axis=1,
            return_counts=True,
        )
        return cls(
            labels,
            np.bincount(known[1][hit], minlength=size),
            np.bincount(answers[answers >= 0], minlength=size),
            np.bincount(known[1], minlength=size),
            answers.size,
            int(np.count_nonzero(pairs[1] < 0)),
            np.vstack([cells, lines]).T.astype(np.int64),
        )

    @property
    def accuracy(self) -> float:
        """The share of lines whose answer is among their labels."""
        return _share(int(self.right.sum()), self.lines)

    def by_label(self) -> list[dict[str, Any]]:
        """A row for each label: precision, recall, f1, lines, answers, right."""
        return [
            {"label": label, **_scores(right, answered, lines), "lines": lines, "answers": answered, "right": right}
            for label, right, answered, lines in zip(
                self.labels, self.right.tolist(), self.answered.tolist(), self.lines_of.tolist(), strict=True
            )
        ]

    def averages(self) -> dict[str, dict[str, float]]:
        """Precision, recall and f1: micro, macro and weighted."""
        rows = [row for row in self.by_label() if row["lines"] or row["answers"]]
        weights = {"macro": [1] * len(rows), "weighted": [row["lines"] for row in rows]}
        averages = {"micro": _scores(int(self.right.sum()), int(self.answered.sum()), int(self.lines_of.sum()))}
        for name, weight in weights.items():
            averages[name] = {
                score: _share(sum(w * row[score] for w, row in zip(weight, rows, strict=True)), sum(weight))
                for score in ("precision", "recall", "f1")
            }
        return averages

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "lines": self.lines,
            "labels_not_in_train": self.unknown,
            "averages": self.averages(),
            "labels": self.by_label(),
            "confusion": [
                {"label": self._name(label), "answer": self._name(answer), "lines": lines}
                for label, answer, lines in self.confusion.tolist()
            ],
        }

    def _name(self, number: int) -> str:
        return self.labels[number] if number < len(self.labels) else NO_LABEL

    def picture(self, channel: str) -> Picture:
        """The confusion as a picture: the labels that occur, and where there are such, lines or answers without one."""
        shown = sorted(set(self.confusion[:, :2].ravel().tolist()))
        places = {number: place for place, number in enumerate(shown)}
        counts = [[0.0] * len(shown) for _ in shown]
        for label, answer, lines in self.confusion.tolist():
            counts[places[label]][places[answer]] = float(lines)
        names = [self._name(number) or "(none)" for number in shown]
        return confusion(names, counts, f"Confusion on channel {channel}", f"confusion-{channel}")

    def line(self, channel: str) -> str:
        """The result in a line."""
        macro, weighted = (self.averages()[name]["f1"] for name in ("macro", "weighted"))
        told = f"channel {channel}: accuracy {self.accuracy:.4f}, F1 {macro:.4f} (macro), {weighted:.4f} (weighted)"
        worst = min((row for row in self.by_label() if row["lines"]), key=lambda row: row["f1"], default=None)
        if worst is None:
            return told
        return f"{told}; lowest F1: {worst['f1']:.4f} of {worst['label']}, {worst['lines']:,} lines"


def write(folder: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """Write evaluation.json, evaluation.csv and confusion.csv for these channels."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON_FILE, {channel: evaluation.to_json() for channel, evaluation in evaluations.items()})
    scores = ["precision", "recall", "f1", "lines", "answers", "right"]
    rows: list[list[Any]] = [["channel", "label", *scores]]
    confusion: list[list[Any]] = [["channel", "label", "answer", "lines"]]
    for channel, evaluation in evaluations.items():
        rows += [[channel, row["label"], *(row[score] for score in scores)] for row in evaluation.by_label()]
        rows += [[channel, f"({name})", *values.values(), "", "", ""] for name, values in evaluation.averages().items()]
        confusion += [[channel, *cell.values()] for cell in evaluation.to_json()["confusion"]]
    for name, table in ((CSV_FILE, rows), (CONFUSION_FILE, confusion)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        write_atomically(folder / name, text.getvalue())


def _scores(right: int, answered: int, lines: int) -> dict[str, float]:
    precision, recall = _share(right, answered), _share(right, lines)
    return {"precision": precision, "recall": recall, "f1": _share(2 * right, answered + lines)}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
