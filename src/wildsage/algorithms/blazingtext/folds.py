"""Cross-validation over the lines of one text, which is read and numbered once for all folds."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.context import Silence
from wildsage.contract.errors import ClientError
from wildsage.contract.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.features import Features
    from wildsage.algorithms.context import Reporter

FILE = "k_fold.json"


def assign(made: Features, count: int, seed: int) -> NDArray[np.int64]:
    """The fold of each line, int64 (lines,): at random, with each first label spread evenly over the folds.

    Raises ClientError for fewer lines than folds.
    """
    if made.lines < count:
        raise ClientError(f"k_fold = {count} is too many for {made.lines} lines: one line a fold is wanted at least")
    order = np.random.default_rng(seed).permutation(made.lines)
    order = order[np.argsort(made.labels[made.label_starts[order]], kind="stable")]
    folds = np.empty(made.lines, np.int64)
    folds[order] = np.arange(made.lines) % count
    return folds


@dataclass(frozen=True)
class Result:
    """The accuracies of the folds, each on the lines that its training left out."""

    accuracies: list[float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.accuracies)

    @property
    def spread(self) -> float:
        """Their standard deviation, as of a sample."""
        return statistics.stdev(self.accuracies)

    def to_json(self) -> dict[str, Any]:
        return {"folds": len(self.accuracies), "mean": self.mean, "spread": self.spread, "accuracies": self.accuracies}


def cross_validate(
    count: int,
    run: Callable[[int, Reporter], float],
    report: Reporter,
    done: Path,
    fingerprint: str,
) -> Result:
    """Run every fold that is not done yet. run: trains without fold k, and returns the accuracy on it.

    done: where the accuracies so far are kept, so that a job that is stopped need not begin anew; fingerprint: what
    they depend on.
    """
    accuracies = _read_done(done, fingerprint)[:count]
    if accuracies:
        report.say(f"{len(accuracies)} of {count} folds are done already")
    for k in range(len(accuracies), count):
        accuracies.append(run(k, Quiet(report, k, count)))
        report.say(f"fold {k + 1} of {count}: accuracy {accuracies[-1]:.4f}")
        done.parent.mkdir(parents=True, exist_ok=True)
        write_json(done, {"fingerprint": fingerprint, "accuracies": accuracies})
    return Result(accuracies)


def _read_done(path: Path, fingerprint: str) -> list[float]:
    try:
        content = json.loads(path.read_bytes())
        return [float(value) for value in content["accuracies"]] if content["fingerprint"] == fingerprint else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


class Quiet(Silence):
    """What one fold may tell of itself: how far it is, among all folds."""

    def __init__(self, report: Reporter, fold: int, folds: int) -> None:
        self._report, self._fold, self._folds = report, fold, folds

    def progress(self, done: float, total: float, *, unit: str, **figures: float) -> None:
        figures.pop("seconds_left", None)  # of the fold, not of the job
        self._report.progress(self._fold * total + done, self._folds * total, unit=unit, **figures)
