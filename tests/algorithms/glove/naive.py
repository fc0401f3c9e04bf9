"""GloVe, slowly: counts in a dictionary, steps in float64 with roots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np


def counts(lines: Iterable[Sequence[int]], window: int, *, symmetric: bool) -> dict[tuple[int, int], float]:
    """The matrix: 1 / distance for each word before another, both ways if symmetric."""
    found: dict[tuple[int, int], float] = defaultdict(float)
    for line in lines:
        for at, word in enumerate(line):
            for distance in range(1, min(window, at) + 1):
                other = line[at - distance]
                found[word, other] += 1 / distance
                if symmetric:
                    found[other, word] += 1 / distance
    return dict(found)


class Reference:
    """Rows in float64, AdaGrad with its sums, as the usual C program has it."""

    def __init__(self, words: np.ndarray, contexts: np.ndarray, rate: float) -> None:
        self.vectors = [words.astype(float), contexts.astype(float)]
        self.biases = [np.zeros(len(words)), np.zeros(len(words))]
        self.squares = [np.ones_like(rows) for rows in self.vectors]
        self.bias_squares = [np.ones(len(words)), np.ones(len(words))]
        self.rate = rate

    def epoch(self, order: Iterable[tuple[int, int, float, float]]) -> float:
        """Steps for each (word, context, log x, weight); returns the mean cost."""
        total, met = 0.0, 0
        for word, context, log, weight in order:
            (w, c), (b, d) = self.vectors, self.biases
            error = w[word] @ c[context] + b[word] + d[context] - log
            total += 0.5 * weight * error * error
            met += 1
            step = self.rate * weight * error
            changes = step * c[context], step * w[word]
            for side, row, change in ((0, word, changes[0]), (1, context, changes[1])):
                self.vectors[side][row] -= change / np.sqrt(self.squares[side][row])
                self.squares[side][row] += change * change
                self.biases[side][row] -= step / np.sqrt(self.bias_squares[side][row])
                self.bias_squares[side][row] += step * step
        return total / max(1, met)
