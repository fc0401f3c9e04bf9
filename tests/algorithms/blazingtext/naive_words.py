"""Word vectors as one would write them down: the slow truth that kernels are held against. Draws are passed in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Group = list[tuple[int, int]]  # output rows and their labels


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(x, -9.94, 9.94)))


@dataclass
class Step:
    """One word of a batch: its contexts in sets, and for each set the output rows, in groups, with their labels."""

    contexts: list[list[int]]
    targets: list[list[Group]]


def skipgram(inputs: NDArray[np.float64], outputs: NDArray[np.float64], steps: list[Step], rate: float) -> float:
    """Update rows in place, contexts two by two; returns the sum of losses."""
    loss = 0.0
    for step in steps:
        for contexts, groups in zip(step.contexts, step.targets, strict=True):
            for group in groups:
                rows = [row for row, _ in group]
                labels = np.array([label for _, label in group])
                found = sigmoid(inputs[contexts] @ outputs[rows].T)
                loss -= np.log(np.where(labels == 1, found, 1 - found)).sum()
                errors = rate * (labels - found)
                for c in range(0, len(contexts), 2):
                    pair = contexts[c : c + 2]
                    before = inputs[pair].copy()
                    change = np.zeros_like(before)
                    for k, row in enumerate(rows):
                        change += np.outer(errors[c : c + 2, k], outputs[row])
                        outputs[row] += errors[c : c + 2, k] @ before
                    for place, context in reversed(list(enumerate(pair))):
                        inputs[context] = before[place] + change[place]
    return loss


def train_mean(
    hidden: NDArray[np.float64], outputs: NDArray[np.float64], groups: list[Group], rate: float
) -> tuple[NDArray[np.float64], float]:
    """Train output rows on the mean of a window; returns its gradient, times the rate, and the loss."""
    gradient, loss = np.zeros_like(hidden), 0.0
    for group in groups:
        rows = [row for row, _ in group]
        labels = np.array([label for _, label in group])
        found = sigmoid(outputs[rows] @ hidden)
        loss -= np.log(np.where(labels == 1, found, 1 - found)).sum()
        errors = rate * (labels - found)
        for k, row in enumerate(rows):
            gradient += errors[k] * outputs[row]
            outputs[row] += errors[k] * hidden
    return gradient, loss


def cbow(
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    steps: list[Step],
    rate: float,
    sizes: NDArray[np.float64],
    whole_gradient: bool = True,
) -> float:
    """The same for CBOW. sizes: rows that each word is made of, which is its weight in the mean."""
    loss = 0.0
    for step in steps:
        for contexts, groups in zip(step.contexts, step.targets, strict=True):
            weights = sizes[contexts] / sizes[contexts].sum()
            hidden = weights @ inputs[contexts]
            gradient, more = train_mean(hidden, outputs, groups, rate)
            loss += more
            for context in contexts:
                inputs[context] += gradient * (1.0 if whole_gradient else 1 / len(contexts))
    return loss


def cbow_by_position(
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    weights: NDArray[np.float64],
    steps: list[Step],
    places: list[list[int]],
    rate: float,
    sizes: NDArray[np.float64],
    whole_gradient: bool = True,
) -> float:
    """CBOW with a row of `weights` for each place of a window. places: of each step's contexts, as one set."""
    loss = 0.0
    for step, of_contexts in zip(steps, places, strict=True):
        for contexts, groups in zip(step.contexts, step.targets, strict=True):
            parts = sizes[contexts] / sizes[contexts].sum()
            hidden = parts @ (inputs[contexts] * weights[of_contexts])
            gradient, more = train_mean(hidden, outputs, groups, rate)
            loss += more
            if not whole_gradient:
                gradient /= len(contexts)
            for context, place in zip(contexts, of_contexts, strict=True):
                row = inputs[context].copy()
                inputs[context] += gradient * weights[place]
                weights[place] += gradient * row
    return loss


def tree_paths(counts: list[int]) -> list[list[tuple[int, int]]]:
    """(inner node, label) from each leaf to the root, as facebookresearch/fastText, src/loss.cc builds the tree."""
    size = len(counts)
    weights = counts + [10**15] * (size - 1)
    parents, labels = [-1] * len(weights), [0] * len(weights)
    leaf, node = size - 1, size
    for inner in range(size, 2 * size - 1):
        children = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children.append(leaf)
                leaf -= 1
            else:
                children.append(node)
                node += 1
        weights[inner] = sum(weights[child] for child in children)
        for label, child in enumerate(children):
            parents[child], labels[child] = inner, label
    paths = []
    for start in range(size):
        path, at = [], start
        while parents[at] >= 0:
            path.append((parents[at] - size, labels[at]))
            at = parents[at]
        paths.append(path)
    return paths
