"""A trained text classifier: saves to and loads from fastText's own file, and answers texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from wildsage.algorithms.base import Model
from wildsage.algorithms.blazingtext import fasttext_file
from wildsage.algorithms.blazingtext.fasttext_file import CBOW, SKIP_GRAM, FastTextFile, dense
from wildsage.algorithms.blazingtext.kernels.predict import (
    BLOCK,
    HIERARCHICAL,
    SOFTMAX,
    answer_texts,
    list_features,
    scratch_size,
)
from wildsage.algorithms.blazingtext.tables import Tables
from wildsage.contract.errors import ClientError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.fasttext_file import FastTextSettings, TableRows

MODEL_FILE, QUANTISED_FILE = "model.bin", "model.ftz"
ALL_LABELS = -1  # fastText's word for it, as k
END_OF_LINE = b" </s>"
HIERARCHICAL_FLOOR = 1e-5  # what fastText adds where it takes a logarithm

FLOAT, INTEGER, LONG = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.int64)


class Wish(NamedTuple):
    """What a request wants to know of one text."""

    k: int
    threshold: float
    explain: bool


class TextClassifier(Model):
    """Words, and n-grams of words, to the mean of their rows to the probability of each label.

    A text is one line: what separates words in it, newlines too, is a space. It answers as fastText does, but for two
    things: a probability is itself, where fastText adds 0.00001; of labels equally probable the more frequent is first.
    """

    fork_safe: ClassVar[bool] = True
    # The last two go beyond the contract: the first column of each row, or each line, is a text.
    request_types: ClassVar[tuple[str, ...]] = ("application/json", "application/jsonlines", "text/csv", "text/plain")

    def __init__(self, file: FastTextFile, path: Path | None = None) -> None:
        """Make a model of what a file holds. path: where it came from, for errors. Raises DataError if it cannot be."""
        if not file.supervised:
            raise DataError("word vectors, not a text classifier", file=path, byte=fasttext_file.MODEL_PLACE)
        self.file = file
        self.labels = file.labels()
        settings = file.settings
        self._tables = tables = Tables.of(file)
        self._tree = np.empty((0, 2), np.int32)
        if settings.loss == HIERARCHICAL:
            try:
                self._tree = label_tree(file.label_counts())
            except ValueError as error:
                raise DataError(str(error), file=path) from error
        self._scratch_size = scratch_size(settings.word_ngrams, len(self.labels), settings.dim)
        self._arguments = (
            tables.slots,
            tables.entries,
            tables.word_bytes,
            tables.bucket_bytes,
            tables.bucket_at,
            tables.output_bytes,
            tables.centroids,
            self._tree,
            tables.orders,
        )

    @classmethod
    def from_training(
        cls,
        *,
        words: list[bytes],
        word_counts: NDArray[np.int64],
        labels: list[bytes],
        label_counts: NDArray[np.int64],
        settings: FastTextSettings,
        word_rows: NDArray[np.float32],
        bucket_ids: NDArray[np.int64],
        bucket_rows: NDArray[np.float32] | TableRows,
        output: NDArray[np.float32],
    ) -> Self:
        """Make a model of what training leaves, "</s>" among the words; see FastTextFile.from_rows for the shapes."""
        return cls(
            FastTextFile.from_rows(
                words=words,
                word_counts=word_counts,
                labels=labels,
                label_counts=label_counts,
                settings=settings,
                word_rows=word_rows,
                bucket_ids=bucket_ids,
                bucket_rows=bucket_rows,
                output=output,
            )
        )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the folder holds a classifier of fastText's format, under whatever name."""
        path = find_file(folder)
        return path is not None and fasttext_file.model_kind(path) not in (None, CBOW, SKIP_GRAM)

    def save(self, folder: Path) -> None:
        """Write model.bin, or model.ftz if it is quantised; the fastText package loads both, too."""
        fasttext_file.write(folder / (QUANTISED_FILE if self.file.quantised else MODEL_FILE), self.file)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map model.bin or model.ftz, or the only .bin or .ftz of the folder."""
        path = find_file(folder)
        if path is None:
            found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            raise DataError(
                f"no {MODEL_FILE}, nor just one other .bin or .ftz, but {', '.join(found) or 'nothing'}", file=folder
            )
        return cls(fasttext_file.read(path), path)

    def predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Answer texts, each with {"label": [...], "prob": [...]}, best first.

        instances: str. options, each as fastText has it: "k", how many labels: an integer from 1 on, above their number
        as good as their number, or -1 for all; 1 if it is left out. "threshold": only labels at least as probable, from
        0 to 1. "explain": true adds "explanation", see explain.
        A text without a single feature, which takes a model that never saw a line end, has no label, as in fastText.
        Raises ClientError with the instance's number.
        """
        wishes = self._wishes(options) if any(options) else None
        k = max(wish.k for wish in wishes) if wishes else 1
        number = len(instances)
        try:
            text = "\n".join(instances)
        except TypeError:
            raise _not_a_text(instances) from None
        if text.count("\n") >= number:
            text = "\n".join([instance.replace("\n", " ") for instance in instances])
        found, probable = self._answer(_encoded(text), number, k)
        labels = self.labels
        if wishes is None and -1 not in found:
            return [{"label": [labels[i]], "prob": [p]} for i, p in zip(found, probable, strict=True)]
        answers = []
        for i, wish in enumerate(wishes or [Wish(1, 0.0, False)] * number):
            floor = wish.threshold
            if floor > 0 and self.file.settings.loss == HIERARCHICAL:
                floor += HIERARCHICAL_FLOOR
            best = [j for j in range(i * k, i * k + wish.k) if found[j] >= 0 and probable[j] >= floor]
            answer: dict[str, Any] = {"label": [labels[found[j]] for j in best], "prob": [probable[j] for j in best]}
            if wish.explain:
                answer["explanation"] = self.explain(instances[i])
            answers.append(answer)
        return answers

    def explain(self, text: str) -> list[dict[str, Any]]:
        """What each word and n-gram of a text adds to its best label: [{"token": …, "weight": …}, …], in order.

        Exact, since the model is linear up to its last step: with softmax, the weights sum to the logarithm of the best
        label's probability over the second best's; with one-vs-all and negative sampling, to that of the label's
        probability over its complement's; in a label tree, to the sum of those of each branch taken. "</s>" is the end
        of the line, which is a word to fastText. A word's character n-grams count as the word's.
        """
        line = _encoded(text.replace("\n", " "))
        features, spans = self._features(line)
        if not features.size:
            return []
        best, _ = self._answer(line, 1, min(2, len(self.labels)))
        words = self.file.word_rows.shape[0]
        rows = np.zeros((features.size, self.file.settings.dim), FLOAT)
        for table, chosen in (
            (self.file.word_rows, (features >= 0) & (features < words)),
            (self.file.bucket_rows, features >= words),
        ):
            numbers = features[chosen] - (words if table is self.file.bucket_rows else 0)
            rows[chosen] = dense(table[numbers])
        weights = (rows @ self._direction(best) / features.size).tolist()
        data = line + END_OF_LINE
        explanation = []
        for (begin, end), same in groupby(zip(spans.tolist(), weights, strict=True), lambda pair: tuple(pair[0])):
            token = b" ".join(data[begin:end].replace(b"\0", b" ").split()).decode("utf-8", "replace")
            explanation.append({"token": token, "weight": sum(weight for _, weight in same)})
        return explanation

    def _features(self, line: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The features of a line, and the bytes that each is of; see list_features."""
        tables, ngrams = self._tables, max(1, self.file.settings.word_ngrams)
        count = 0
        while True:  # once to count them, once to write them down
            features, spans = np.empty(count, np.int64), np.empty((count, 2), np.int64)
            needed = list_features(
                line, len(line), tables.dictionary, tables.orders, tables.bucket_at, np.empty(ngrams, np.uint64),
                np.empty(ngrams, np.int64), np.empty(BLOCK, np.int64), features, spans,
            )  # fmt: skip
            if needed <= count:
                return features, spans
            count = int(needed)

    def _direction(self, best: list[int]) -> NDArray[np.float32]:
        """What a text's vector is multiplied with to see how far its best label, of ids `best`, is ahead."""
        output, loss = self.file.output, self.file.settings.loss

        def row(number: int) -> NDArray[np.float32]:
            return dense(output[number : number + 1]).reshape(-1)

        if loss == HIERARCHICAL:
            direction, node = np.zeros(self.file.settings.dim, np.float32), best[0]
            classes = len(self.labels)
            while node < 2 * classes - 2:
                inner, side = (int(place) for place in np.argwhere(self._tree == node)[0])
                direction += row(inner) if side else -row(inner)
                node = classes + inner
            return direction
        if loss == SOFTMAX and len(best) > 1 and best[1] >= 0:
            return row(best[0]) - row(best[1])
        return row(best[0])

    def _answer(self, text: bytes, number: int, k: int) -> tuple[list[int], list[float]]:
        """Ids and probabilities of the k best labels of each of `number` lines, one line after the other."""
        ids, probabilities = np.empty(number * k, INTEGER), np.empty(number * k, FLOAT)
        failed = answer_texts(text, *self._arguments, k, np.empty(self._scratch_size, LONG), ids, probabilities)
        if failed >= 0:
            raise ClientError(f"instance {failed}: the model's answer is not a number; its rows are not finite")
        return ids.tolist(), probabilities.tolist()

    def warm_up(self) -> None:
        """Load the kernel, and touch the rows of words and labels."""
        self.predict(["a first text"], [{}])
        for rows in (self._tables.word_bytes, self._tables.output_bytes):
            rows[:, :: fasttext_file.PAGE_BYTES].sum()

    def _wishes(self, options: Sequence[Mapping[str, Any]]) -> list[Wish]:
        """What each instance's options ask for; k at most the number of labels."""
        wishes = []
        for number, option in enumerate(options):
            k, threshold, explain = option.get("k", 1), option.get("threshold", 0.0), option.get("explain", False)
            if not isinstance(k, int) or isinstance(k, bool) or (k < 1 and k != ALL_LABELS):
                allowed = "an integer, 1 or more, or -1 for all labels"
                raise ClientError(f"instance {number}: k = {k!r} is not allowed: {allowed}")
            if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
                raise ClientError(f"instance {number}: threshold = {threshold!r} is not allowed: a number from 0 to 1")
            if not isinstance(explain, bool):
                raise ClientError(f"instance {number}: explain = {explain!r} is not allowed: true or false")
            labels = len(self.labels)
            wishes.append(Wish(labels if k == ALL_LABELS else min(k, labels), threshold, explain))
        return wishes


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can smuggle in
        return text.encode("utf-8", "surrogatepass")


def _not_a_text(instances: Sequence[Any]) -> ClientError:
    number, value = next((i, value) for i, value in enumerate(instances) if not isinstance(value, str))
    names = {dict: "an object", list: "an array", bool: "true or false", int: "a number", float: "a number"}
    kind = "null" if value is None else names.get(type(value), type(value).__name__)
    return ClientError(f"instance {number} is {kind}, where a text is wanted")


def find_file(folder: Path) -> Path | None:
    """The folder's model.bin, or model.ftz, or its only .bin, or its only .ftz."""
    for name in (MODEL_FILE, QUANTISED_FILE):
        if (folder / name).is_file():
            return folder / name
    for ending in ("*.bin", "*.ftz"):
        found = [path for path in folder.glob(ending) if path.is_file() and not path.name.startswith(".")]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def label_tree(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """The Huffman tree of fastText's hierarchical softmax: int32 (C - 1, 2), the children of inner nodes C, C + 1, …

    counts: int64 (C,), by descending count; a node below C is a label. Raises ValueError for what are no counts.
    Source: facebookresearch/fastText, src/loss.cc (buildTree); it merges from two queues, leaves from the last on.
    """
    weights: list[int] = counts.tolist()
    classes = len(weights)
    if min(weights) < 0 or sum(weights) >= 10**15:
        raise ValueError("the counts of its labels are not counts")
    tree = np.empty((classes - 1, 2), np.int32)
    leaf, node = classes - 1, classes
    for inner in range(classes - 1):
        for side in range(2):
            if leaf >= 0 and (node >= len(weights) or weights[leaf] < weights[node]):
                tree[inner, side], leaf = leaf, leaf - 1
            else:
                tree[inner, side], node = node, node + 1
        weights.append(weights[tree[inner, 0]] + weights[tree[inner, 1]])
    return tree
