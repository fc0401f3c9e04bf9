"""fastText's supervised mode as one would write it down: the slow truth that kernels are held against."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PREFIX = b"__label__"


def tokens_of(data: bytes) -> list[list[bytes]]:
    """The tokens of each line, by facebookresearch/fastText, src/dictionary.cc, readWord and getLine."""
    lines: list[list[bytes]] = [[]]
    for piece in re.findall(rb"\n|[^ \t\n\v\f\r\0]+", data):
        word = b"</s>" if piece == b"\n" else piece
        lines[-1].append(word)
        if word == b"</s>":
            lines.append([])
    return lines if lines[-1] else lines[:-1]


def unquoted(line: bytes) -> bytes:
    """A line whose text is in quotes, without them; `line` has no newline."""
    found = re.fullmatch(rb"((?:\s*__label__\S+(?=\s))*\s*)(.*?)((?:\s+__label__\S+)*\s*)", line, re.DOTALL)
    if found is None:
        return line
    before, text, after = found.groups()
    if len(text) < 3 or text[:1] != b'"' or text[-1:] != b'"' or text[1:2].isspace() or text[-2:-1].isspace():
        return line
    inner = text[1:-1]
    return line if b'"' in inner.replace(b'""', b"") else before + inner.replace(b'""', b'"') + after


def word_hash(word: bytes) -> int:
    """32-bit FNV-1a over signed bytes, sign-extended to 64 bits."""
    value = 2166136261
    for byte in word:
        value = ((value ^ (byte | (0xFFFFFF00 if byte > 127 else 0))) * 16777619) & 0xFFFFFFFF
    return value | (0xFFFFFFFF00000000 if value >> 31 else 0)


class Naive:
    """Vocabulary, features and training, line by line."""

    def __init__(self, data: bytes, min_count: int, ngrams: int, buckets: int) -> None:
        self.lines = tokens_of(data)
        counts = Counter(word for line in self.lines for word in line)  # keeps first sight
        ordered = sorted(counts, key=lambda word: -counts[word])
        self.words = [word for word in ordered if not word.startswith(PREFIX) and counts[word] >= min_count]
        self.labels = [word for word in ordered if word.startswith(PREFIX)]
        self.counts, self.ngrams, self.buckets = counts, ngrams, buckets
        self.word_ids = {word: number for number, word in enumerate(self.words)}
        self.label_ids = {label: number for number, label in enumerate(self.labels)}

    def features(self, line: list[bytes]) -> list[int]:
        """Words, then n-grams in fastText's order."""
        plain = [word for word in line if not word.startswith(PREFIX)]
        found = [self.word_ids[word] for word in plain if word in self.word_ids]
        hashes = [word_hash(word) for word in plain]
        for first in range(len(hashes)):
            mixed = hashes[first]
            for second in range(first + 1, min(len(hashes), first + self.ngrams)):
                mixed = (mixed * 116049371 + hashes[second]) % 2**64
                found.append(len(self.words) + mixed % self.buckets)
        return found

    def labels_of(self, line: list[bytes]) -> list[int]:
        return [self.label_ids.get(word, -1) for word in line if word.startswith(PREFIX)]

    def examples(self) -> list[tuple[list[int], list[int], int]]:
        """(features, labels, tokens) of each line that has both."""
        made = [(self.features(line), self.labels_of(line), len(line)) for line in self.lines]
        return [example for example in made if example[0] and example[1]]

    def train(
        self,
        table: NDArray[np.float64],
        epochs: int,
        rate: float,
        loss: str = "softmax",
        negatives: int = 0,
        state: int = 1,
        draw: Callable[[int], int] = int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Change the input rows, one a feature; returns the output rows and each epoch's loss.

        state: of the draws; draw: turns it into a label.
        """
        output = np.zeros((len(self.labels), table.shape[1]))
        paths = tree_paths([self.counts[label] for label in self.labels])
        examples = self.examples()
        total = epochs * sum(tokens for _, _, tokens in examples)
        done, losses = 0, []
        for _ in range(epochs):
            summed = 0.0
            for features, labels, tokens in examples:
                step = rate * (1 - done / total)
                hidden = table[features].mean(axis=0)
                state = advanced(state)
                label = labels[state % len(labels)]
                if loss == "softmax":
                    scores = np.exp(output @ hidden - (output @ hidden).max())
                    scores /= scores.sum()
                    summed -= np.log(scores[label] + 1e-5)
                    errors = step * ((np.arange(len(output)) == label) - scores)
                    gradient = errors @ output
                    output += np.outer(errors, hidden)
                else:
                    targets = paths[label] if loss == "hs" else [(row, row in labels) for row in range(len(output))]
                    if loss == "ns":
                        targets = [(label, True)]
                        while len(targets) <= negatives:
                            state = advanced(state)
                            drawn = draw(state)
                            targets += [] if drawn == label else [(drawn, False)]
                    gradient = np.zeros(table.shape[1])
                    for row, positive in targets:
                        chance = 1 / (1 + np.exp(-output[row] @ hidden))
                        summed -= np.log((chance if positive else 1 - chance) + 1e-5)
                        error = step * (positive - chance)
                        gradient += error * output[row]
                        output[row] += error * hidden
                np.add.at(table, features, gradient / len(features))
                done += tokens
            losses.append(summed / len(examples))
        return output, np.array(losses)


def advanced(state: int) -> int:
    """xorshift64."""
    state ^= state << 13 & (2**64 - 1)
    state ^= state >> 7
    return state ^ (state << 17 & (2**64 - 1))


def tree_paths(counts: list[int]) -> list[list[tuple[int, bool]]]:
    """(inner node, whether its second child) of each label, by facebookresearch/fastText, src/loss.cc, buildTree."""
    size = len(counts)
    nodes = [(count, -1, False) for count in counts] + [(10**15, -1, False)] * (size - 1)
    weights, parents, second = ([node[k] for node in nodes] for k in range(3))
    leaf, node = size - 1, size
    for inner in range(size, 2 * size - 1):
        chosen = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                chosen.append(leaf)
                leaf -= 1
            else:
                chosen.append(node)
                node += 1
        weights[inner] = weights[chosen[0]] + weights[chosen[1]]
        parents[chosen[0]] = parents[chosen[1]] = inner
        second[chosen[1]] = True
    paths = []
    for label in range(size):
        path, place = [], label
        while parents[place] != -1:
            path.append((parents[place] - size, second[place]))
            place = parents[place]
        paths.append(path)
    return paths
