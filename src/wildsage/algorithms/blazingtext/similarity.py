"""Scores of word vectors on sets of word pairs that people judged, as the original has them for WordSimilarity-353.

A set is a file of lines "word word score", with tabs, blanks, commas or semicolons between. The score of the vectors is
Spearman's rank correlation of the pairs' cosines with their scores, over the pairs of which both words are known.
WordSimilarity-353 (Finkelstein et al. 2002) and its parts by similarity and relatedness (Agirre et al. 2009) are not in
this package, since the terms for passing them on are not certain; they come in channel `evaluation`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.word_model import WordVectors

CHANNEL = "evaluation"
LARGEST_BYTES = 16 << 20  # of a set; the published ones have 200 kB at most
SEPARATORS = re.compile(r"[\t,; ]+")


@dataclass(frozen=True)
class Score:
    """How vectors did on a set. rho: nan where fewer than two pairs are known, or all are alike."""

    rho: float
    pairs: int
    unknown: int  # pairs with a word that has no vector

    def to_json(self) -> dict[str, Any]:
        """In the form of eval.json."""
        rho = self.rho if math.isfinite(self.rho) else None
        return {"not_found": self.unknown, "spearmans_rho": rho, "total_pairs": self.pairs}


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """The pairs of a set. Blank lines, those that begin with #, and a first line without a score are passed over.

    Raises DataError with file and line.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"too large for a set of word pairs: up to {LARGEST_BYTES >> 20} MiB", file=path)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", file=path, byte=error.start) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    pairs = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        fields = SEPARATORS.split(stripped)
        score = _number(fields[2]) if len(fields) > 2 else None
        if score is not None and math.isfinite(score):
            pairs.append((fields[0], fields[1], score))
        elif number > 1 or score is not None:
            wanted = 'a pair of words and its score, such as "tiger cat 7.35"'
            raise DataError(f"{line[:80]!r} is not {wanted}", file=path, line=number)
    if not pairs:
        raise DataError('holds no pair of words; a line of it is: "tiger cat 7.35"', file=path)
    return pairs


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def score(model: WordVectors, pairs: Sequence[tuple[str, str, float]]) -> Score:
    """Score the vocabulary's vectors; words are taken as they are, or else in lower case."""
    numbers = {word: number for number, word in enumerate(model.words)}

    def find(word: str) -> int:
        number = numbers.get(word.encode("utf-8", "surrogatepass"))
        return numbers.get(word.lower().encode("utf-8", "surrogatepass"), -1) if number is None else number

    places = np.array([(find(first), find(second)) for first, second, _ in pairs], np.int64).reshape(-1, 2)
    known = (places >= 0).all(axis=1)
    wanted, inverse = np.unique(places[known], return_inverse=True)
    vectors = np.array([model.vectors(number, number + 1)[0] for number in wanted.tolist()], np.float64)
    if not known.any():
        return Score(math.nan, len(pairs), len(pairs))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0, norms, 1)
    first, second = units[inverse.reshape(-1, 2)].transpose(1, 0, 2)
    human = np.array([value for _, _, value in pairs])[known]
    return Score(spearman((first * second).sum(axis=1), human), len(pairs), int((~known).sum()))


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, equal values having the mean of their ranks; nan where there is none."""
    a, b = (_ranks(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def evaluate(model: WordVectors, files: Sequence[Path]) -> tuple[dict[str, Score], float]:
    """The score of each file, by name, and the mean of their correlations (of those that have one)."""
    scores = {path.name: score(model, read_pairs(path)) for path in files}
    found = [each.rho for each in scores.values() if math.isfinite(each.rho)]
    return scores, sum(found) / len(found) if found else math.nan


def to_json(scores: dict[str, Score], mean: float) -> dict[str, Any]:
    """The content of eval.json."""
    rows: dict[str, Any] = {name: each.to_json() for name, each in scores.items()}
    return rows | {"mean_rho": mean if math.isfinite(mean) else None}
