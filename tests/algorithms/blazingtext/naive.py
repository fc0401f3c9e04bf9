"""fastText's supervised mode as one would write it down: the slow truth that kernels are held against."""

from __future__ import annotations

import re
from collections import Counter

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
        self, table: NDArray[np.float64], epochs: int, rate: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Change the input rows, one a feature; returns the output rows and each epoch's loss. One label a line."""
        output = np.zeros((len(self.labels), table.shape[1]))
        examples = self.examples()
        total = epochs * sum(tokens for _, _, tokens in examples)
        done, losses = 0, []
        for _ in range(epochs):
            loss = 0.0
            for features, labels, tokens in examples:
                step = rate * (1 - done / total)
                hidden = table[features].mean(axis=0)
                scores = np.exp(output @ hidden - (output @ hidden).max())
                scores /= scores.sum()
                loss -= np.log(scores[labels[0]] + 1e-5)
                errors = step * ((np.arange(len(output)) == labels[0]) - scores)
                gradient = errors @ output / len(features)
                output += np.outer(errors, hidden)
                np.add.at(table, features, gradient)
                done += tokens
            losses.append(loss / len(examples))
        return output, np.array(losses)
